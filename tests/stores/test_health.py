"""How subscriptions do: what is counted, and what is known of a process that is gone."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from trigflow.core.ids import Ids
from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore, health

HOUR = 3_600_000
BEGAN = 1_700_000_000_000  # unix milliseconds


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore(store_id="abc")
    return SqliteStore(tmp_path / "s.db", store_id=lambda: "abc")


class Sender:
    """Sends deliveries at given times."""

    def __init__(self, store: Store) -> None:
        self.now = float(BEGAN)
        self.store = store
        self.ids = Ids(lambda: self.now / 1000, bytes)

    async def send(self, at: int, outcome: r.DeliveryOutcome = "accepted", *, to: str | None = "s1") -> None:
        self.now = at
        name = self.ids.new("dlv")
        await self.store.accept(r.NewDelivery(name, "ep", to, at, outcome, "", 200, "POST", b"[]", b"{}"))


@pytest.mark.anyio
async def test_deliveries_of_a_time_are_counted_but_not_what_nobody_verified(store: Store) -> None:
    async with store:
        sender = Sender(store)
        counted: tuple[r.DeliveryOutcome, ...] = ("accepted", "duplicate", "ignored")
        others: tuple[r.DeliveryOutcome, ...] = ("rejected", "handshake", "failed")
        for hour in range(4):
            for outcome in (*counted, *others):
                await sender.send(BEGAN + hour * HOUR, outcome)
            await sender.send(BEGAN + hour * HOUR, to="s2")
            await sender.send(BEGAN + hour * HOUR, to=None)
        count = {
            (since, until): await store.received("s1", since=BEGAN + since * HOUR, until=BEGAN + until * HOUR)
            for since in range(5)
            for until in range(since, 5)
        }
        assert count == {(since, until): 3 * len(range(since, min(until, 4))) for since, until in count}, (
            "from the first moment on, until before the last"
        )
        assert await store.received("s1", since=0, until=BEGAN) == 0
        assert await store.received("s3", since=0, until=BEGAN + 9 * HOUR) == 0


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_a_little_loses_no_delivery_from_the_count(store: Store) -> None:
    """Names go on from where they were, although the time of the delivery is earlier."""
    async with store:
        sender = Sender(store)
        await sender.send(BEGAN + 30_000)
        await sender.send(BEGAN)
        assert await store.received("s1", since=BEGAN, until=BEGAN + 1) == 1


@pytest.mark.anyio
async def test_no_more_deliveries_are_looked_at_than_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST_COUNTED", 5)
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        sender = Sender(store)
        for number in range(9):
            await sender.send(BEGAN + number)
        assert await store.received("s1", since=BEGAN, until=BEGAN + 9) == 5


KILLED = """
import os, signal, sys
import anyio
from trigflow.stores.sqlite import SqliteStore

async def main():
    async with SqliteStore(sys.argv[1], store_id=lambda: "abc") as store:
        await store.beat("me.1", now=1_000)
        await store.beat("me.1", now=7_000)
        os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
async def test_the_last_beat_of_a_killed_process_is_known_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await anyio.run_process([sys.executable, "-c", KILLED, str(path)], check=False)
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        assert await store.last_beat() == 7_000


@pytest.mark.anyio
async def test_the_last_beat_of_a_process_that_left_is_known_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        assert await store.last_beat() is None
        await store.beat("me.1", now=7_000)
        await store.leave("me.1")
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        assert await store.last_beat() == 7_000
        await store.beat("me.2", now=5_000)  # the clock was set back
        assert await store.last_beat() == 5_000


@pytest.mark.anyio
async def test_a_connection_has_as_many_subscribers_as_it_may_and_no_more(store: Store) -> None:
    async with store:
        told: list[bool] = []
        for key in ("u1", "u2", "u3", "u1"):
            endpoint = r.Endpoint(f"ep_{key}", f"t{key}", "hub", "pending", b"{}")
            one = r.Subscription(f"sub_{key}", endpoint.id, "hub", key, "hub/acme", b"{}")
            new = r.Subscriber("repos", key, "hub", key, "hub/acme", b"{}", ("push",))
            told.append(await store.subscribe(new, endpoint, one, most=2))
        assert told == [True, True, False, True], "one that is there already may subscribe again"
        assert await store.subscription("sub_u3") is None
