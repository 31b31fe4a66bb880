"""Processes that are killed in the middle, and several that find the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from tests.runtime.logged import Logged, Sent, app_of
from trigflow.testing import VirtualClock

ROOT = Path(__file__).parents[3]
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEADLINE = 60.0  # seconds
KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
import anyio
from tests.runtime.logged import Logged, Sent, app_of
from trigflow.testing import VirtualClock

async def run():
    clock = VirtualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    start = clock.now()
    provider = Logged(
        [Sent(f"e{n}", start + n) for n in range(6)], order="newest", stops_after=int(sys.argv[2]),
        on_stop=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    app = app_of(provider, sys.argv[1], clock, [])
    async with app.inspect():
        await app.apply()
        (endpoint,) = await app.opened.store.endpoints()
        clock.advance(timedelta(hours=1))
        await app.opened.upkeep.recoverer.recover(
            endpoint, endpoint.subscriptions[0], datetime.fromtimestamp(start, UTC)
        )

anyio.run(run)
"""
TELLING = """
import sys
import anyio
from trigflow import App

app = App([], store=sys.argv[1], register="off")

@app.on_alert
def tell(alert):
    with open(sys.argv[2], "a") as file:
        file.write(f"{alert.subject}: {alert.cause}\\n")

async def run():
    async with app:
        for number in range(20):
            await app.opened.upkeep.alerts.raise_("a", f"refused {number} times", "mend")
            await app.opened.upkeep.alerts.raise_(f"b{number}", "broken", "mend")
        while any(row.told_at is None for row in await app.opened.store.alerts()):
            await anyio.sleep(0.01)

anyio.run(run)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)


def test_wherever_a_reading_is_killed_the_next_process_reads_what_was_left(tmp_path: Path) -> None:
    for stops_after in (0, 3, 5):
        store = tmp_path / f"{stops_after}.db"
        with started(KILLED, store, stops_after) as process:
            assert process.wait(DEADLINE) == -signal.SIGKILL
        anyio.run(_go_on, str(store))


async def _go_on(store: str) -> None:
    clock = VirtualClock(START)
    provider = Logged([Sent(f"e{n}", clock.now() + n) for n in range(6)], order="newest")
    clock.advance(timedelta(hours=3))
    app = app_of(provider, store, clock, [])
    async with app.inspect():
        (endpoint,) = await app.opened.store.endpoints()
        row = await app.opened.upkeep.recoverer.recover(endpoint, endpoint.subscriptions[0])
        assert (row.since, row.error) == (int(START.timestamp() * 1000), "")
        kept = await app.opened.store.deliveries(limit=100)
        events = [one.event_id for delivery in kept for one in await app.opened.store.events(delivery.id)]
        assert sorted(events) == [f"e{n}" for n in range(6)]


def test_processes_that_find_the_same_tell_it_once_together(tmp_path: Path) -> None:
    store, told = tmp_path / "t.db", tmp_path / "told.txt"
    with started(TELLING, store, told) as one, started(TELLING, store, told) as other:
        assert (one.wait(DEADLINE), other.wait(DEADLINE)) == (0, 0)
    with started(TELLING, store, told) as later:
        assert later.wait(DEADLINE) == 0
    expected = ["a: refused … times", *(f"b{n}: broken" for n in range(20))]
    assert sorted(told.read_text().splitlines()) == sorted(expected)
