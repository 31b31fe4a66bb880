"""ASGI's words, and how an answer is sent: all that an app needs of the web before it is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, TypeAlias

from trigflow.core.http import Response

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PLAIN = (("content-type", "text/plain"),)
NOT_OPEN = Response(503, b"trigflow: the app is not open", (*PLAIN, ("retry-after", "5")))


async def send_answer(send: Send, response: Response) -> None:
    """Send a whole response."""
    headers = [*_encoded(response.headers), (b"content-length", b"%d" % len(response.body))]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


@lru_cache(maxsize=64)  # nearly all answers are the same few
def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
