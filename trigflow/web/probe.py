"""Does the public URL lead to this app? Asked by calling it from outside, over the provider's way in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
from itsdangerous import BadSignature, URLSafeSerializer

from trigflow.core.errors import SetupError
from trigflow.core.redact import redacted_text

SALT = "trigflow.probe"
TIMEOUT = 10.0  # seconds
OK = 200


class Unreachable(SetupError):
    """The public URL does not lead to this app; the text says what was found there."""


class Prober:
    """Asks and answers probes of one app."""

    def __init__(self, secret: str) -> None:
        """Take the secret that answers are signed with."""
        self._serializer = URLSafeSerializer(secret, salt=SALT)

    def prove(self, nonce: str, root: str, store_id: str) -> dict[str, str]:
        """Answer a probe: signed, so that nobody else can."""
        return {"proof": self._serializer.dumps([nonce, store_id]), "root": root}

    async def check(
        self, url: str, store_id: str, client: httpx.AsyncClient, mounted_at: Callable[[], str | None]
    ) -> None:
        """Return if a public URL leads to the app with this store; raise Unreachable that says what to mend.

        mounted_at: tells the mount prefix once a request has come in under it;
            asked after the probe, which may have been that request.
        """
        nonce = secrets.token_urlsafe(16)
        target = f"{url.rstrip('/')}/probe/{nonce}"
        try:
            answer = await client.get(target, timeout=TIMEOUT, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{url} can't be reached: {type(error).__name__} {error}".rstrip()) from error
        if answer.status_code != OK:
            raise Unreachable(_not_ours(url, answer, mounted_at()))
        try:
            said = answer.json()
            proven = self._serializer.loads(said["proof"])
        except (ValueError, KeyError, TypeError, BadSignature) as error:
            raise Unreachable(f"{url} is answered by something else than this app") from error
        if proven != [nonce, store_id]:
            raise Unreachable(f"{url} is answered by a trigflow app with another store")


def _not_ours(url: str, answer: httpx.Response, mounted_at: str | None) -> str:
    problem = f"{url} answers {answer.status_code}, but not as this app"
    if answer.is_redirect:
        location = redacted_text(answer.headers.get("location", ""))
        return f"{problem}: it redirects to {location!r}; set url to where it leads"
    if b"trigflow: the app is not open" in answer.content:
        return f"{problem}: the app is there but closed; open it in the host's lifespan with `async with`"
    return f"{problem}: {_remedy(url, answer, mounted_at)}"


def _remedy(url: str, answer: httpx.Response, mounted_at: str | None) -> str:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    # A proxy may put a prefix of its own before the mount's: only the end tells.
    if mounted_at is not None and (not path.endswith(mounted_at) if mounted_at else path):
        where = f"under {mounted_at!r}" if mounted_at else "without a prefix"
        return f"the app is mounted {where}; set url (TRIGFLOW_URL) to {origin + mounted_at!r}"
    if b"trigflow: no such endpoint" in answer.content:
        return "the app is there, but below another path; url (TRIGFLOW_URL) must end with its mount prefix"
    return (
        "is the app mounted under another prefix? url (TRIGFLOW_URL) must end with the mount prefix, "
        f"such as {origin}/hooks"
    )
