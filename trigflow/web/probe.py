"""Does the public URL lead to this app? Asked by calling it from outside, over the provider's way in."""

from __future__ import annotations

import secrets

import httpx
from itsdangerous import BadSignature, URLSafeSerializer

from trigflow.core.errors import SetupError

SALT = "trigflow.probe"
TIMEOUT = 10.0  # seconds


class Unreachable(SetupError):
    """The public URL does not lead to this app; the text says what was found there."""


class Prober:
    """Asks and answers probes of one app."""

    def __init__(self, secret: str) -> None:
        """Take the secret that answers are signed with."""
        self._serializer = URLSafeSerializer(secret, salt=SALT)

    def prove(self, nonce: str, root: str, store_id: str) -> dict[str, str]:
        """Answer a probe: signed, so that nobody else can."""
        proof = self._serializer.dumps([nonce, store_id])
        return {"proof": proof if isinstance(proof, str) else proof.decode(), "root": root}

    async def check(self, url: str, store_id: str, client: httpx.AsyncClient) -> None:
        """Return if a public URL leads to the app with this store; raise Unreachable that says what to mend."""
        nonce = secrets.token_urlsafe(16)
        target = f"{url.rstrip('/')}/probe/{nonce}"
        try:
            answer = await client.get(target, timeout=TIMEOUT, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{url} can't be reached: {type(error).__name__} {error}".rstrip()) from error
        if answer.status_code != httpx.codes.OK:
            raise Unreachable(_not_ours(url, answer))
        try:
            said = answer.json()
            proven = self._serializer.loads(said["proof"])
        except (ValueError, KeyError, TypeError, BadSignature) as error:
            raise Unreachable(f"{url} is answered by something else than this app") from error
        if proven != [nonce, store_id]:
            raise Unreachable(f"{url} is answered by a trigflow app with another store")


def _not_ours(url: str, answer: httpx.Response) -> str:
    problem = f"{url} answers {answer.status_code}, but not as this app"
    if answer.is_redirect:
        return f"{problem}: it redirects to {answer.headers.get('location', '')!r}; set url to where it leads"
    if b"trigflow: no such endpoint" in answer.content:
        return f"{problem}: the app is there, but below another path; take the last path segment out of url, or mount it there"
    return f"{problem}: is the app mounted under another prefix? url must end with the mount prefix, such as {url.rstrip('/')}/hooks"
