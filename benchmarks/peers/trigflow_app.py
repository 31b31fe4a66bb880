"""trigflow as an ASGI app of its own."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.peers.trigflow_job import hooks, tell

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    async def send_after_telling(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            await tell()
        await send(message)

    await hooks(scope, receive, send_after_telling if scope["type"] == "lifespan" else send)
