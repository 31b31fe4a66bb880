"""Bare ASGI: the ceiling of uvicorn on a machine. MODE=read reads the body, MODE=hmac checks it too."""

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.peers.common import SECRET

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY: Message = {"type": "http.response.body", "body": b"ok"}
DENIED: Message = {"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]}
EMPTY: Message = {"type": "http.response.body", "body": b""}
CHECKS = os.environ.get("MODE", "hmac") == "hmac"
done = 0


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["method"] == "GET":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(done).encode()})
    else:
        await webhook(scope, receive, send)


async def webhook(scope: Message, receive: Receive, send: Send) -> None:
    global done
    message = await receive()
    body = message.get("body", b"")
    if message.get("more_body"):
        parts = [body]
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
        body = b"".join(parts)
    if CHECKS and not is_signed(scope, body):
        await send(DENIED)
        await send(EMPTY)
        return
    done += 1
    await send(START)
    await send(BODY)


def is_signed(scope: Message, body: bytes) -> bool:
    signature = next((value for key, value in scope["headers"] if key == b"x-hub-signature-256"), b"")
    wanted = b"sha256=" + hmac.digest(SECRET, body, "sha256").hex().encode()
    return hmac.compare_digest(signature, wanted)


async def lifespan(receive: Receive, send: Send) -> None:
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
