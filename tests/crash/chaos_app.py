"""The app of the chaos test: it registers itself, and dies at the step that it is told to die at.

CHAOS_FOLDER, CHAOS_PORT: where the store is, and the port that all instances share.
CHAOS_GITHUB: base URL of the fake. CHAOS_WANTS: such as "acme/web=issues,push acme/api=star".
CHAOS_KILL: the number of the step to die at: each request to GitHub and each write to the
    store is two, before it and after it. Nothing: it lives.

Times that would make a test wait are short here: a claim lasts 3 s, a dead instance's wants
count for 4 s, a refusal is waited out for a third of a second.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn

from trigflow import App, opened, trigger
from trigflow.core import settings, waits
from trigflow.runtime.registration import claims, reconcile, timely
from trigflow.stores.sqlite.database import Database
from trigflow_github import GitHub
from trigflow_github.client.connection import Connection

FOLDER, PORT = Path(os.environ["CHAOS_FOLDER"]), int(os.environ["CHAOS_PORT"])
GRACE = timedelta(seconds=4)
steps = count(1)
last = int(os.environ.get("CHAOS_KILL") or 0)


def step(where: str) -> None:
    """Die if this is the step, and leave word where that was; the first one says that there are steps."""
    number = next(steps)
    if number == 1:
        (FOLDER / f"{os.getpid()}.begun").touch()
    if number == last:
        (FOLDER / f"{os.getpid()}.died").write_text(where)
        os.kill(os.getpid(), signal.SIGKILL)


def dying(work: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Make a step of the moment before something, and of the moment after it."""

    async def stepped(*args: Any, **options: Any) -> Any:
        step(f"before a {what}")
        try:
            return await work(*args, **options)
        finally:
            step(f"after a {what}")

    return stepped


def hasten() -> None:
    """Make short what would take minutes."""
    for place, name in ((claims, "CLAIM"), (timely, "SLOWEST"), (waits, "FIRST_WAIT")):
        assert hasattr(place, name)
    assert hasattr(opened, "REMEMBER")
    claims.CLAIM, timely.SLOWEST = timedelta(seconds=3), 2.0
    waits.FIRST_WAIT, waits.LONGEST_WAIT = timedelta(seconds=0.3), timedelta(seconds=2)
    opened.REMEMBER = 0.5
    look = reconcile.Reconciler.look
    assert look.__kwdefaults__ is not None
    look.__kwdefaults__["grace"] = GRACE


def build() -> App:
    """Make the app that wants what it was told to."""
    hub = GitHub(base_url=os.environ["CHAOS_GITHUB"])
    triggers = [
        getattr(hub, name)(repo=repo)
        for repo, _, names in (told.partition("=") for told in os.environ["CHAOS_WANTS"].split())
        for name in names.split(",")
    ]
    settings.LEAST_CHECK = timedelta(seconds=1)

    async def job(payload: dict[str, Any]) -> None:
        return None

    return App(
        [trigger(*triggers, id="job")(job)] if triggers else [],
        url=f"http://127.0.0.1:{PORT}",
        store=str(FOLDER / "s.db"),
        check_every=timedelta(seconds=2),
        connections={hub: "fake-token"},
    )


app = build()


def main() -> None:
    hasten()
    Connection.request = dying(Connection.request, "request")  # type: ignore[method-assign]
    Database.write = dying(Database.write, "write")  # type: ignore[method-assign]
    shared = socket.socket()
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind(("127.0.0.1", PORT))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    server.run(sockets=[shared])


if __name__ == "__main__":
    main()
