"""Only processes that take deliveries end an outage of the intake, and only they hide one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.logged import Logged, app_of
from trigflow import App
from trigflow.runtime import records as r
from trigflow.runtime.intake.recover import EVERYONE
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)


def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))


def ms(time: VirtualClock) -> int:
    return int(time.now() * 1000)


async def until_listening(app: App) -> r.Listened:
    with anyio.fail_after(10):
        while not app.opened.upkeep.outages.listens:
            await anyio.sleep(0.005)
    found = await app.opened.store.listened()
    assert found is not None
    return found


async def request(app: App, path: str = "/healthz") -> None:
    """Ask what a mounted app, or one behind a server, is asked."""
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        "query_string": b"",
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        return None

    await app(scope, receive, send)


async def served(store: str, time: VirtualClock) -> int:
    """Serve for a moment; return when it was."""
    app = app_of(Logged(), store, time, [])
    async with app:
        await request(app)
        assert (await until_listening(app)).until == ms(time)
    return ms(time)


async def outages(app: App) -> list[tuple[int, int]]:
    rows = await app.opened.store.recoveries(EVERYONE)
    return [(row.since, row.at) for row in reversed(rows) if row.error]


async def test_a_worker_hides_no_outage_of_the_intake_and_ends_none(tmp_path: Path) -> None:
    time, store = clock(), str(tmp_path / "t.db")
    ended = await served(store, time)
    for _ in range(5):  # it works, and beats, all the while
        time.advance(MINUTE)
        worker = app_of(Logged(), store, time, [])
        async with worker:
            await anyio.wait_all_tasks_blocked()
            assert await worker.opened.store.last_beat() == ms(time)
            assert await outages(worker) == []
    web = app_of(Logged(), store, time, [])
    async with web:
        await request(web)
        listened = await until_listening(web)
        assert await outages(web) == [(ended, ms(time))]
        assert listened == r.Listened(ms(time), ms(time))


async def test_a_process_that_is_first_asked_late_has_listened_since_it_was_opened(tmp_path: Path) -> None:
    time, store = clock(), str(tmp_path / "t.db")
    ended = await served(store, time)
    time.advance(MINUTE * 10)
    opened = ms(time)
    mounted = app_of(Logged(), store, time, [])
    async with mounted:
        await anyio.wait_all_tasks_blocked()
        assert await outages(mounted) == []
        time.advance(MINUTE * 30)
        await request(mounted)
        await until_listening(mounted)
        assert await outages(mounted) == [(ended, opened)]


async def test_the_second_of_two_that_serve_sees_no_outage_and_judges_silence_from_its_end(
    tmp_path: Path,
) -> None:
    time, store = clock(), str(tmp_path / "t.db")
    await served(store, time)
    time.advance(MINUTE * 10)
    first, second = (app_of(Logged(), store, time, []) for _ in range(2))
    async with first:
        await request(first)
        since = (await until_listening(first)).since
        time.advance(timedelta(seconds=5))
        async with second:
            await request(second)
            assert (await until_listening(second)).since == since == ms(time) - 5_000
            assert len(await outages(second)) == 1


async def test_the_lifespan_of_a_server_is_enough(tmp_path: Path) -> None:
    app = app_of(Logged(), str(tmp_path / "t.db"), clock(), [])
    begun, ending = anyio.Event(), anyio.Event()

    async def receive() -> dict[str, str]:
        if begun.is_set():
            await ending.wait()
        return {"type": "lifespan"}

    async def send(message: Any) -> None:
        assert not message["type"].endswith("failed")
        begun.set()

    async with anyio.create_task_group() as group:
        group.start_soon(app, {"type": "lifespan"}, receive, send)
        await begun.wait()
        await until_listening(app)
        ending.set()
