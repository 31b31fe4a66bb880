"""Does the public URL lead to this app? Asked by calling it from outside, over the provider's way in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from time import monotonic
from urllib.parse import urlsplit

import attrs
import httpx
from itsdangerous import BadSignature, URLSafeSerializer

from trigflow.core.errors import SetupError
from trigflow.core.http import Headers
from trigflow.core.redact import redacted_text

SALT = "trigflow.probe"
TIMEOUT = 10.0  # seconds
OK = 200
PROBED = ("content-type", "x-trigflow-probe", "user-agent")  # header fields that a probe asks about


class Unreachable(SetupError):
    """The public URL does not lead to this app; the text says what was found there."""


@attrs.frozen
class Arrived:
    """What arrived of a body that was sent through the public URL.

    is_same: byte for byte. length: in bytes, as it arrived. changed: header fields that were not kept.
    took: seconds until the answer. date: the Date field of the answer, if there was one.
    """

    is_same: bool
    length: int
    changed: tuple[str, ...]
    took: float
    date: str | None


class Prober:
    """Asks and answers probes of one app."""

    def __init__(self, *ring: str) -> None:
        """Take the keys: the first signs, and answers signed with any are believed."""
        self._serializer = URLSafeSerializer(list(reversed(ring)), salt=SALT)  # it signs with the last

    def prove(self, nonce: str, store_id: str) -> dict[str, str]:
        """Answer a probe: signed, so that nobody else can."""
        return {"proof": self._serializer.dumps([nonce, store_id])}

    def prove_body(self, nonce: str, store_id: str, body: bytes, headers: Headers) -> dict[str, str]:
        """Answer a probe that has a body: what arrived of it and of its header fields, signed.

        Of other fields than PROBED only those are named whose value is the nonce: nothing that a proxy
        adds is told.
        """
        marked = sorted({name for name, value in headers if value == nonce})
        arrived = [sha256(body).hexdigest(), len(body), [headers.get(name) for name in PROBED], marked]
        return {"proof": self._serializer.dumps([nonce, store_id, arrived])}

    async def send(
        self,
        url: str,
        store_id: str,
        client: httpx.AsyncClient,
        body: bytes,
        fields: Mapping[str, str],
        marked: Collection[str] = (),
    ) -> Arrived:
        """Send a body through a public URL and return what arrived; raises Unreachable.

        fields: header fields of PROBED to send along. marked: names of others, which are sent with the nonce.
        """
        nonce = secrets.token_urlsafe(16)
        target = f"{url.rstrip('/')}/probe/{nonce}"
        started = monotonic()
        try:
            answer = await client.post(
                target,
                content=body,
                headers={**dict.fromkeys(marked, nonce), **fields},
                timeout=TIMEOUT,
                follow_redirects=False,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{url} can't be reached: {type(error).__name__} {error}".rstrip()) from error
        took = monotonic() - started
        if answer.status_code != OK:
            raise Unreachable(f"{url} answers {answer.status_code} to a POST: does a proxy take GET alone?")
        try:
            said_nonce, said_store, (digest, length, values, kept) = self._serializer.loads(
                answer.json()["proof"]
            )
        except (ValueError, KeyError, TypeError, BadSignature) as error:
            raise Unreachable(f"{url} answers a POST as something else than this app") from error
        if (said_nonce, said_store) != (nonce, store_id):
            raise Unreachable(f"{url} is answered by a trigflow app with another store")
        changed = [name for name, value in zip(PROBED, values, strict=True) if value != fields.get(name)]
        changed += sorted({name.lower() for name in marked} - set(kept) - set(PROBED))
        same = digest == sha256(body).hexdigest()
        return Arrived(same, length, tuple(changed), took, answer.headers.get("date"))

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
            proven = self._serializer.loads(answer.json()["proof"])
        except (ValueError, KeyError, TypeError, BadSignature) as error:
            raise Unreachable(
                f"{url} is answered by something else than this app, or by one with another secret key; "
                "set url= or TRIGFLOW_URL to where this app is, or start it again with this key"
            ) from error
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
