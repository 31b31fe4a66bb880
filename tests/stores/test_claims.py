"""The right to change a subscription, and the deaths of those who have it: stores on one file."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trigflow.runtime import records as r
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
NOW, LATER = 1_000_000, 1_120_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a death is not told from slowness")


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[SqliteStore, None]:
    async with SqliteStore(folder / "s.db", store_id=lambda: "abcdefgh") as store:
        yield store


async def keep(store: SqliteStore | MemoryStore, name: str = "sub_a") -> None:
    endpoint = r.Endpoint(f"end_{name}", f"token_{name}", "model.webhook", "pending", b"{}", ())
    one = r.Subscription(name, endpoint.id, "model.webhook", name, "model", b"{}")
    await store.create_subscriptions([(endpoint, one)])


async def claims(
    store: SqliteStore | MemoryStore, owner: str, name: str = "sub_a", *, now: int = NOW
) -> bool:
    return await store.claim_subscription(name, owner, now=now, until=now + 120_000)


async def test_who_is_alone_has_what_others_held(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        await keep(first)
        assert await claims(first, "first.1")
    async with opened(tmp_path) as second:
        assert await claims(second, "second.1")


@linux
async def test_a_claim_ends_with_its_holder_while_others_work(tmp_path: Path) -> None:
    async with opened(tmp_path) as stays, AsyncExitStack() as dying:
        await keep(stays)
        dies = await dying.enter_async_context(opened(tmp_path))
        assert await claims(dies, "dies.1")
        assert not await claims(stays, "stays.1")
        await dying.aclose()
        assert await claims(stays, "stays.1")


async def test_nobody_takes_it_from_one_that_lives_however_many_come_and_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as holder:
        await keep(holder)
        assert await claims(holder, "holder.1")
        for n in range(3):
            async with opened(tmp_path) as other:
                assert not await claims(other, f"other{n}.1", now=LATER - 1)
        assert not await claims(holder, "holder.2"), "two tasks of one process exclude each other, too"
        assert await claims(holder, "holder.1")


@linux
async def test_what_was_taken_from_the_dead_is_the_takers_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as two:
        await keep(one)
        async with opened(tmp_path) as dies:
            assert await claims(dies, "dies.1")
        assert await claims(one, "one.1")
        assert not await claims(two, "two.1")
        await one.release_subscription("sub_a", "one.1")
        assert await claims(two, "two.1")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_claim_from_before_the_clock_was_set_back_keeps_nobody_out_for_longer_than_a_claim_lasts(
    kind: str, tmp_path: Path
) -> None:
    made: Any = opened(tmp_path) if kind == "sqlite" else MemoryStore(store_id="abcdefgh")
    async with made as store:
        await keep(store)
        assert await claims(store, "before.1", now=NOW + 3_600_000)
        assert await claims(store, "since.1"), "the clock was an hour ahead"
        assert not await claims(store, "other.1", now=NOW - 5), "a clock that is corrected by little"
        assert not await claims(store, "other.1", now=NOW - 119_000)


async def test_what_a_dead_process_was_reading_is_read_by_the_next_one_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        assert await first.claim_chore("recover", now=NOW, until=NOW + 900_000)
        async with opened(tmp_path) as beside:
            assert not await beside.claim_chore("recover", now=NOW + 1, until=NOW + 900_001)
    async with opened(tmp_path) as second:
        assert await second.claim_chore("recover", now=NOW + 1, until=NOW + 900_001)


async def test_a_claim_that_ran_out_is_anybodys_though_its_holder_lives(tmp_path: Path) -> None:
    async with opened(tmp_path) as frozen, opened(tmp_path) as other:
        await keep(frozen)
        assert await claims(frozen, "frozen.1")
        assert await claims(other, "other.1", now=LATER + 1)
        assert not await claims(frozen, "frozen.1", now=LATER + 2)
