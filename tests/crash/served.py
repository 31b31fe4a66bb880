"""The app that is killed, frozen and starved of disk; served by uvicorn.

argv: a folder, a port, and the loop ("uvloop" with httptools, "asyncio" with h11).
The folder gets the store, `endpoint.json` (where to send to, with the secret) and
`effects`: one line for each time that a task did something, so that a test can
count what really happened.

CRASH_CLAIM: seconds until a process that gives no sign counts as dead.
CRASH_STORE: path of the store, if it is not in the folder.
CRASH_PAGES: how many pages the store may have (a full disk).
CRASH_DRAIN: seconds that running jobs get to end when the process is asked to stop.
CRASH_HOLD: seconds that the task of a `slow` job takes.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from trigflow import IO, App, Retry, SyncIO, trigger
from trigflow.core.runs import FINAL
from trigflow.engines import embedded
from trigflow.stores.sqlite import SqliteStore
from trigflow.web.answers import Message, Receive, Scope, Send
from trigflow_github import github

FOLDER = Path(sys.argv[1])
LIFE = secrets.token_hex(4)  # of this process; a pid comes again
HOLD = float(os.environ.get("CRASH_HOLD", "1"))
SOON = timedelta(milliseconds=20)
effects = os.open(FOLDER / "effects", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)


class Weak(Exception):
    """What fails now and then."""


def effect(run: str, key: str, given: str) -> str:
    """Do something that can be seen from outside; say something new each time."""
    said = f"{key}.{secrets.token_hex(4)}<{given}"
    line = {"run": run, "key": key, "said": said, "life": LIFE, "at": time.monotonic()}
    os.write(effects, json.dumps(line).encode() + b"\n")
    return said


async def slow_effect(run: str, key: str, given: str) -> str:
    await anyio.sleep(random.random() * 0.02)
    return effect(run, key, given)


def weak_effect(run: str, key: str, given: str) -> str:
    if random.random() < 0.4:
        raise Weak
    return effect(run, key, given)


def issues(title: str) -> Any:
    return {"issue": {"title": [title]}}


OPENED = github.issues(repo="acme/web", actions=["opened"])


@trigger(OPENED, id="chain", filter=issues("chain"))
async def chain(payload: dict[str, Any], io: IO) -> list[str]:
    one = await io.task("one", effect, io.run.id, "one", "")
    two = await io.task("two", slow_effect, io.run.id, "two", one)
    weak = io.options(retry=Retry(times=40, first=SOON, factor=1))
    three = await weak.task("three", weak_effect, io.run.id, "three", two)
    return [one, two, three]


@trigger(OPENED, id="plain", filter=issues("chain"))
def plain(payload: dict[str, Any], io: SyncIO) -> list[str]:
    one = io.task("one", effect, io.run.id, "one", "")
    two = io.task("two", slow_effect, io.run.id, "two", one)
    return [one, two]


@trigger(OPENED, id="flaky", filter=issues("flaky"), retry=Retry(times=2, first=SOON))
async def flaky(payload: dict[str, Any], io: IO) -> list[str]:
    one = await io.task("one", effect, io.run.id, "one", "")
    if io.run.attempt < 3:
        raise Weak
    two = await io.task("two", slow_effect, io.run.id, "two", one)
    return [one, two]


@trigger(OPENED, id="broken", filter=issues("broken"))
async def broken(payload: dict[str, Any], io: IO) -> list[str]:
    await io.task("one", effect, io.run.id, "one", "")
    raise Weak


@trigger(OPENED, id="slow", filter=issues("slow"))
async def slow(payload: dict[str, Any], io: IO) -> list[str]:
    effect(io.run.id, "begin", "")  # no task: once for each time that the job is called
    one = await io.task("one", effect, io.run.id, "one", "")
    await anyio.sleep(HOLD)
    two = await io.task("two", effect, io.run.id, "two", one)
    return [one, two]


@trigger(
    github.issues(repo="acme/web"),
    github.issue_comment(repo="acme/web"),
    id="either",
    filter={"issue": {"title": ["chain", "comment"]}},
)
async def either(payload: dict[str, Any], io: IO) -> list[str]:
    return [await io.task("one", slow_effect, io.run.id, "one", "")]


class Served:
    """The app, and what a test asks of it: where its endpoint is, which runs are left, less or more room."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._telling(send))
        elif scope["path"] == "/left":
            await self._left(send)
        elif scope["path"] == "/runs":
            await self._runs(send)
        elif scope["path"] == "/pages":
            await self._limit(int(scope["query_string"]))
            await self._say(send, "done")
        else:
            await self._app(scope, receive, send)

    def _telling(self, send: Send) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._started()
            await send(message)

        return tell

    async def _started(self) -> None:
        opened = self._app.opened
        (endpoint,) = await opened.store.endpoints()
        (key,) = opened.routes.keys_of(endpoint)
        told = {"path": f"{opened.mark}{endpoint.token}", "secret": key.secret.decode()}
        unfinished = FOLDER / f"endpoint.{LIFE}"
        unfinished.write_text(json.dumps(told))
        unfinished.replace(FOLDER / "endpoint.json")
        if pages := os.environ.get("CRASH_PAGES"):
            await self._limit(int(pages))

    async def _limit(self, pages: int) -> None:
        store = self._app.opened.store
        assert isinstance(store, SqliteStore)
        await store.write(lambda connection: connection.pragma("max_page_count", pages))

    async def _left(self, send: Send) -> None:
        runs = await self._app.opened.store.runs(limit=1_000_000)
        left = [(run.id, run.job, run.state) for run in runs if run.state not in FINAL]
        await self._say(send, left)

    async def _runs(self, send: Send) -> None:
        store = self._app.opened.store
        found = [await store.run(run.id) for run in await store.runs(limit=1_000_000)]
        runs = [
            {"id": one.row.id, "ended_at": one.row.ended_at, "result": (one.result or b"").decode()}
            for one in found
            if one is not None
        ]
        await self._say(send, runs)

    async def _say(self, send: Send, value: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(value).encode()})


app = App(
    jobs=[chain, plain, flaky, broken, slow, either],
    store=os.environ.get("CRASH_STORE", str(FOLDER / "s.db")),
    register="off",
)
served = Served(app)


def main() -> None:
    import uvicorn

    if claim := os.environ.get("CRASH_CLAIM"):
        assert hasattr(embedded, "CLAIM_LASTS")
        assert hasattr(embedded, "BEAT")
        embedded.CLAIM_LASTS, embedded.BEAT = float(claim), float(claim) / 4
    if drain := os.environ.get("CRASH_DRAIN"):
        assert hasattr(embedded, "DRAIN")
        embedded.DRAIN = float(drain)
    fast = sys.argv[3] == "uvloop"
    uvicorn.run(
        served,
        port=int(sys.argv[2]),
        loop="uvloop" if fast else "asyncio",
        http="httptools" if fast else "h11",
        log_level="warning",
        lifespan="on",
    )


if __name__ == "__main__":
    main()
