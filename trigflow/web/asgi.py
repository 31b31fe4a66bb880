"""The intake as an ASGI application: no framework between the socket and the path of a delivery.

{mount}/e/{store id}/{token}      deliveries and handshakes
{mount}/probe/{nonce}             proves that the public URL leads here
{mount}/oauth/start, /callback    a person's consent, see trigflow.web.oauth
{mount}/healthz, /readyz          liveness and readiness, see trigflow.web.health
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from time import monotonic
from typing import Protocol

import msgspec

from trigflow.core.errors import StoreError
from trigflow.core.http import Headers, Request, Response
from trigflow.runtime.health.supervise import Part
from trigflow.runtime.intake.limits import STRANGERS, Rates, Room
from trigflow.runtime.intake.receive import NOT_FOUND, UNAVAILABLE
from trigflow.web.answers import PLAIN, Receive, Scope, Send, send_answer
from trigflow.web.health import LIVENESS, READINESS, health_answer
from trigflow.web.patience import BodyTooSlow, Patience

LAST = (*PLAIN, ("connection", "close"))  # nothing more is read of this client
TOO_LARGE = Response(413, b"trigflow: the body is too large", LAST)
TOO_MUCH_HEAD = Response(431, b"trigflow: header fields or query too large", LAST)
TOO_SLOW = Response(408, b"trigflow: the body took too long", LAST)
GONE = Response(400, b"trigflow: the body did not come whole", LAST)  # nobody reads it
BAD_LENGTH = Response(400, b"trigflow: content-length is not the length of the body", LAST)
# These leave the connection open: whoever is told to come again reads that more surely.
FULL = Response(503, b"trigflow: too much is coming in", (*PLAIN, ("retry-after", "1")))

LARGEST_HEAD = 64 * 1024  # bytes of all names and values of header fields
MOST_HEADERS = 256
LARGEST_QUERY = 16 * 1024  # bytes
LARGEST_PROBE = 64 * 1024  # bytes
LONGEST_TOKEN = 64  # characters; ours have 32, with a time to live 43
# Bytes of a declared body that are held before they come. Not all of it: a few connections that only
# declare large bodies would shut out everyone.
AHEAD = 1024 * 1024


class Inside(Protocol):
    """What the intake needs of an open app."""

    mark: str
    body_limit: int
    rates: Rates
    room: Room
    patience: Patience
    mounted_at: str | None  # the mount prefix that requests came in under; None before the first

    def knows(self, token: str) -> bool:
        """Tell whether an endpoint was found under this token before; asks nobody."""
        ...

    async def exists(self, token: str) -> bool:
        """Tell whether there is an endpoint; raises StoreError where that can't be known now."""
        ...

    async def receive(self, token: str, request: Request) -> Response:
        """Answer a request at an endpoint."""
        ...

    def public_url(self, path: str, query: str) -> str:
        """Return the URL as the provider knows it."""
        ...

    def prove(self, nonce: str) -> dict[str, str]:
        """Answer a probe."""
        ...

    def prove_body(self, nonce: str, body: bytes, headers: Headers) -> dict[str, str]:
        """Answer a probe that has a body."""
        ...

    def parts(self) -> Sequence[Part]:
        """Tell how each part is."""
        ...

    async def consent(self, path: str, scope: Scope) -> Response:
        """Answer the pages of a consent."""
        ...


def local_path(scope: Scope, mark: str) -> str:
    """Return the path below the mount prefix, without a slash at its end.

    ASGI wants `path` whole, with `root_path` in front, as Starlette leaves it; hosts that take
    the prefix off, or add a slash at the end as Litestar does, are understood too. A path that
    starts with the mark has no prefix: the mark is random, so no prefix looks like it.
    """
    path: str = scope["path"].rstrip("/")
    root: str = scope.get("root_path", "").rstrip("/")
    if not root or path.startswith(mark) or not path.startswith(root):
        return path
    below = path[len(root) :]
    return below if below[:1] in ("", "/") else path


def mount_prefix(scope: Scope, path: str) -> str:
    """Return what stands in front of the local path, also where the host took it off without saying so."""
    root: str = scope.get("root_path", "").rstrip("/")
    raw = (scope.get("raw_path") or b"").decode("latin-1").rstrip("/")
    return root or (raw.removesuffix(path) if raw.endswith(path) else "")


async def serve_http(inside: Inside, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    path = local_path(scope, inside.mark)
    if inside.mounted_at is None or not path.startswith(inside.mark):
        inside.mounted_at = mount_prefix(scope, path)
    if path.startswith(inside.mark):
        return await send_answer(send, await _delivery(inside, path, scope, receive))
    # No other path of ours needs more than ASCII; what else comes may hold what no encoder takes.
    if not path.isascii():
        return await send_answer(send, NOT_FOUND)
    if path.startswith("/oauth/"):
        return await send_answer(send, await inside.consent(path, scope))
    if path.startswith("/probe/") and scope["method"] == "POST":
        return await send_answer(send, await _probed(inside, path, scope, receive))
    return await send_answer(send, _other(inside, path))


async def _delivery(inside: Inside, path: str, scope: Scope, receive: Receive) -> Response:
    """Read a delivery as far as the limits allow and hand it in; what can be refused unread is."""
    token = path[len(inside.mark) :]
    known = inside.knows(token)
    wait = inside.rates.wait(token if known else STRANGERS, now=monotonic())
    if wait:
        return _too_often(wait)
    declared = _declared(scope, inside.body_limit)
    if isinstance(declared, Response):
        return declared
    try:
        if not known and not await _exists(inside, token):
            return NOT_FOUND
    except StoreError:
        return UNAVAILABLE
    return await _held(inside, token, path, declared, scope, receive)


async def _held(
    inside: Inside, token: str, path: str, declared: int, scope: Scope, receive: Receive
) -> Response:
    """Hold room for a body from before its first byte until it is answered."""
    room = inside.room
    held = min(max(declared, 0), AHEAD)
    if not room.enter(held):
        return FULL
    try:
        body = await inside.patience.read(_body(receive, declared, inside.body_limit, room))
        if isinstance(body, Response):
            return body
        held = max(held, len(body))
        query = scope.get("query_string", b"").decode("latin-1")
        request = Request(
            scope["method"], inside.public_url(path, query), Headers(scope["headers"]), body, query
        )
        return await inside.receive(token, request)
    except BodyTooSlow:
        return TOO_SLOW
    finally:
        room.leave(held)


async def _exists(inside: Inside, token: str) -> bool:
    # Tokens are short and ASCII: what else is asked for is neither looked up nor remembered.
    return len(token) <= LONGEST_TOKEN and token.isascii() and await inside.exists(token)


def _declared(scope: Scope, limit: int) -> int | Response:
    """Return the bytes that the body must have, -1 if that is not said; or why the request is refused."""
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or len(scope.get("query_string", b"")) > LARGEST_QUERY:
        return TOO_MUCH_HEAD
    head, declared = 0, -1
    for name, value in headers:
        head += len(name) + len(value)
        if name == b"content-length":
            if not value.isdigit() or len(value) > 15 or declared not in (-1, int(value)):
                return BAD_LENGTH
            declared = int(value)
    if head > LARGEST_HEAD:
        return TOO_MUCH_HEAD
    return declared if declared <= limit else TOO_LARGE


async def _body(receive: Receive, declared: int, limit: int, room: Room) -> bytes | Response:
    """Read the whole body, or say why not: too large, another size than declared, no room, client gone.

    `room` holds AHEAD of what was declared. Afterwards it holds as much of a body as was read whole.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        return GONE
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        return await _rest(receive, body, declared, limit, room)
    size = len(body)
    if size > limit:
        return TOO_LARGE
    if size != declared and declared >= 0:
        return BAD_LENGTH
    more = size - min(max(declared, 0), AHEAD)
    return body if more <= 0 or room.grow(more) else FULL


async def _rest(receive: Receive, first: bytes, declared: int, limit: int, room: Room) -> bytes | Response:
    """Go on with a body that does not come at once."""
    body = bytearray(first)  # not a list of parts: they may be many and tiny
    kept = held = min(max(declared, 0), AHEAD)
    more = True
    try:
        while True:
            if len(body) > limit:
                return TOO_LARGE
            if len(body) > held:
                if not room.grow(len(body) - held):
                    return FULL
                held = len(body)
            if not more:
                break
            message = await receive()
            if message["type"] == "http.disconnect":
                return GONE
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if declared >= 0 and len(body) != declared:
            return BAD_LENGTH
        kept = held
        return bytes(body)
    finally:
        room.shrink(held - kept)


def _too_often(wait: float) -> Response:
    return Response(429, b"trigflow: too often", (*PLAIN, ("retry-after", str(ceil(wait)))))


async def _probed(inside: Inside, path: str, scope: Scope, receive: Receive) -> Response:
    """Tell what arrived of a probe's body."""
    wait = inside.rates.wait(STRANGERS, now=monotonic())
    if wait:
        return _too_often(wait)
    declared = _declared(scope, LARGEST_PROBE)
    if isinstance(declared, Response):
        return declared
    held = max(declared, 0)
    if not inside.room.enter(held):
        return FULL
    try:
        body = await inside.patience.read(_body(receive, declared, LARGEST_PROBE, inside.room))
        if isinstance(body, Response):
            return body
        held = max(held, len(body))
        nonce = path.removeprefix("/probe/")[:64]
        return _json(inside.prove_body(nonce, body, Headers(scope["headers"])))
    except BodyTooSlow:
        return TOO_SLOW
    finally:
        inside.room.leave(held)


def _other(inside: Inside, path: str) -> Response:
    if path.startswith("/probe/"):
        return _json(inside.prove(path.removeprefix("/probe/")[:64]))
    if path in (LIVENESS, READINESS):
        return health_answer(path, inside.parts())
    return NOT_FOUND


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value), (("content-type", "application/json"),))
