"""An app in a real server in a process of its own, for senders that keep to no rule.

argv: a free port, the HTTP protocol of uvicorn ("httptools", "h11", or the place of a class), the key
of the endpoint, the settings as JSON. It prints a line of JSON once it is open: where the endpoint is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import uvicorn

from trigflow import App, Delivery, Event, ExternalSource, Integration, Secret, event, hmac_sha256, trigger


class Client:
    """What no job asks for."""


source: ExternalSource[str, Client, int] = ExternalSource(
    "hostile.webhook", params=str, client=Client, data=int, secret=Secret.APP,
    verify=hmac_sha256("X-Sig", key=sys.argv[3]),
)  # fmt: skip


@source.handler
def handle(delivery: Delivery[str, int]) -> Iterable[Event]:
    return [Event("thing", delivery.payload["id"], delivery.payload)]


class Hostile(Integration, id="hostile"):
    @event("thing", dict[str, object], source=source)
    def thing(self) -> str:
        """A thing."""
        return "params"


@trigger(Hostile().thing(), id="job")
async def job(payload: dict[str, Any]) -> None: ...


hooks = App([job], register="off", **json.loads(sys.argv[4]))


async def app(scope: Any, receive: Any, send: Any) -> None:
    async def send_and_tell(message: Any) -> None:
        await send(message)
        if message["type"] == "lifespan.startup.complete":
            (endpoint,) = await hooks.opened.store.endpoints()
            print(json.dumps({"path": f"{hooks.opened.mark}{endpoint.token}"}), flush=True)

    await hooks(scope, receive, send_and_tell if scope["type"] == "lifespan" else send)


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), http=sys.argv[2], loop="asyncio", log_level="critical", lifespan="on"
    )
