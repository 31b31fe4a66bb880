"""An app whose provider does not answer, or does: python claiming.py FOLDER PORT stuck|works.

The provider writes into FOLDER what it is called for: a line "begin" and, once it has answered, "made".
One that is stuck is called for the place "a"; one that works for "a" and "b". All times are those of
production.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import uvicorn

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    Registered,
    Registration,
    event,
    hmac_sha256,
    trigger,
)

FOLDER, PORT, HOW = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Client:
    """An API that can't list what it has."""

    base_url = "http://127.0.0.1"


def note(what: str) -> None:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{HOW} {what}\n")


def source_of(place: str) -> ExternalSource[str, Client, int]:
    """Make the source of one place; a process that does not have it leaves the place to others."""
    source: ExternalSource[str, Client, int] = ExternalSource(
        f"stuck.{place}", params=str, client=Client, data=int, verify=hmac_sha256("X-Sig")
    )

    @source.register
    async def register(reg: Registration[str, int], client: Client) -> Registered[int] | None:
        note(f"begin {place}")
        if HOW == "stuck":
            await anyio.sleep_forever()
        note(f"made {place}")
        return Registered(1)

    @source.handler
    def handle(delivery: Delivery[str, int]) -> list[Event]:
        return []

    return source


class Stuck(Integration, id="stuck"):
    def client(self, credentials: object) -> Client:
        return Client()

    def credentials(self, environ: object) -> object:  # type: ignore[override]
        return {"token": "x"}

    @event("a", dict[str, object], source=source_of("a"))
    def a(self) -> str:
        """Something at the first place."""
        return "a"

    @event("b", dict[str, object], source=source_of("b"))
    def b(self) -> str:
        """Something at the second place."""
        return "b"


stuck = Stuck()


@trigger(*([stuck.a()] if HOW == "stuck" else [stuck.a(), stuck.b()]), id="job")
async def job(payload: dict[str, object]) -> None: ...


if __name__ == "__main__":
    app = App([job], url=f"http://127.0.0.1:{PORT}", store=str(FOLDER / "s.db"))
    uvicorn.run(app, port=PORT, log_level="warning", lifespan="on")
