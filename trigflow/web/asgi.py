"""The intake as an ASGI application: no framework between the socket and the path of a delivery.

{mount}/e/{store id}/{token}      deliveries and handshakes
{mount}/probe/{nonce}             proves that the public URL leads here
{mount}/healthz                   200 while runs are executed
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

import msgspec

from trigflow.core.http import Headers, Request, Response

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PLAIN = (("content-type", "text/plain"),)
NOT_FOUND = Response(404, b"trigflow: no such endpoint", PLAIN)
NOT_OPEN = Response(503, b"trigflow: the app is not open", (*PLAIN, ("retry-after", "5")))
TOO_LARGE = Response(413, b"trigflow: the body is too large", (*PLAIN, ("connection", "close")))
BAD_LENGTH = Response(400, b"trigflow: content-length is not a number", (*PLAIN, ("connection", "close")))


class Inside(Protocol):
    """What the intake needs of an open app."""

    mark: str
    body_limit: int
    mounted_at: str | None  # the mount prefix that requests came in under; None before the first

    async def receive(self, token: str, request: Request) -> Response:
        """Answer a request at an endpoint."""
        ...

    def public_url(self, path: str, query: str) -> str:
        """Return the URL as the provider knows it."""
        ...

    def prove(self, nonce: str, root: str) -> dict[str, str]:
        """Answer a probe."""
        ...

    @property
    def healthy(self) -> bool:
        """Tell whether runs are executed."""
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
    raw = scope.get("raw_path", b"").decode("latin-1").rstrip("/")
    return root or (raw.removesuffix(path) if raw.endswith(path) else "")


async def serve_http(inside: Inside | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    if inside is None:
        return await _answer(send, NOT_OPEN)
    path = local_path(scope, inside.mark)
    if inside.mounted_at is None or not path.startswith(inside.mark):
        inside.mounted_at = mount_prefix(scope, path)
    if path.startswith(inside.mark):
        return await _answer(send, await _delivery(inside, path, scope, receive))
    return await _answer(send, _other(inside, path))


async def _delivery(inside: Inside, path: str, scope: Scope, receive: Receive) -> Response:
    body = await _body(scope, receive, inside.body_limit)
    if isinstance(body, Response):
        return body
    query = scope["query_string"].decode("latin-1")
    request = Request(scope["method"], inside.public_url(path, query), Headers(scope["headers"]), body, query)
    return await inside.receive(path[len(inside.mark) :], request)


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | Response:
    """Read the whole body; stops reading as soon as it is too large."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 15:
                return BAD_LENGTH
            if int(value) > limit:
                return TOO_LARGE
    message = await receive()
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return first if len(first) <= limit else TOO_LARGE
    parts, size = [first], len(first)
    while message.get("more_body", False):
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return TOO_LARGE
        parts.append(part)
    return b"".join(parts)


def _other(inside: Inside, path: str) -> Response:
    if path.startswith("/probe/"):
        return _json(inside.prove(path.removeprefix("/probe/")[:64], inside.mounted_at or ""))
    if path == "/healthz":
        return _json({"status": "ok"}) if inside.healthy else _json({"status": "not executing runs"}, 503)
    return NOT_FOUND


def _json(value: object, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value), (("content-type", "application/json"),))


async def _answer(send: Send, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
