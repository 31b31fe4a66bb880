"""What comes for each subscription is gathered in memory and written down in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime import records as r
from trigflow.runtime.health.activity import Activities
from trigflow.stores.memory import MemoryStore
from trigflow.testing import VirtualClock

HALF_A_MINUTE = timedelta(seconds=30)


class Kept(MemoryStore):
    """A store whose writes are seen, and which may refuse them."""

    def __init__(self) -> None:
        super().__init__(store_id="store")
        self.written: list[r.Activity] = []
        self.batches: list[int] = []
        self.refuses_after: int | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    async def note_activity(self, activities: Sequence[r.Activity]) -> None:
        await anyio.lowlevel.checkpoint()
        self.meanwhile()
        if self.refuses_after is not None and len(self.batches) >= self.refuses_after:
            raise StoreUnavailable("full")
        self.batches.append(len(activities))
        self.written += activities


def gathered(store: Kept, subscription: str) -> tuple[int, int, int, set[int]]:
    """First, last, count and keys of what was written of one subscription."""
    rows = [one for one in store.written if one.subscription_id == subscription]
    serials = set[int]().union(*(one.key_serials for one in rows))
    return (
        min(one.first_at for one in rows),
        max(one.last_at for one in rows),
        sum(one.count for one in rows),
        serials,
    )


notes = st.tuples(st.sampled_from(["sub_a", "sub_b"]), st.integers(0, 1000), st.none() | st.integers(1, 3))
Note = tuple[str, int, int | None]
steps = st.lists(notes | st.sampled_from(["flush", "refused flush"]), max_size=30)


@given(steps)
def test_nothing_noted_is_lost_or_counted_twice_whatever_the_store_refuses(steps: list[Note | str]) -> None:
    async def run() -> None:
        store = Kept()
        activities = Activities(store, VirtualClock())
        noted: list[Note] = []
        for step in steps:
            if isinstance(step, tuple):
                subscription, at, serial = step
                activities.note(subscription, "end", at, serial)
                noted.append((subscription, at, serial))
            elif step == "flush":
                store.refuses_after = None
                await activities.flush()
            elif len(activities):
                store.refuses_after = 0
                with pytest.raises(StoreUnavailable):
                    await activities.flush()
        store.refuses_after = None
        await activities.flush()
        for name in {name for name, _, _ in noted}:
            mine = [(at, serial) for other, at, serial in noted if other == name]
            moments = [at for at, _ in mine]
            serials = {serial for _, serial in mine if serial is not None}
            assert gathered(store, name) == (min(moments), max(moments), len(mine), serials)

    anyio.run(run)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=20).map(sorted), st.data())
def test_the_longest_time_between_two_is_kept_also_over_a_refused_write(
    moments: list[int], data: st.DataObject
) -> None:
    refused_after = data.draw(st.integers(0, len(moments)))

    async def run() -> int:
        store = Kept()
        activities = Activities(store, VirtualClock())
        for number, at in enumerate(moments):
            note = partial(activities.note, "sub", "end", at, None)
            if number == refused_after and number:
                store.refuses_after, store.meanwhile = 0, note
                with pytest.raises(StoreUnavailable):
                    await activities.flush()
                store.refuses_after, store.meanwhile = None, lambda: None
            else:
                note()
        await activities.flush()
        (written,) = store.written
        return written.gap

    longest = max((b - a for a, b in pairwise(moments)), default=0)
    assert anyio.run(run) == longest


@pytest.mark.anyio
async def test_it_is_written_every_half_minute_and_when_the_app_is_closed() -> None:
    store, clock = Kept(), VirtualClock()
    activities = Activities(store, clock)
    async with anyio.create_task_group() as group:
        group.start_soon(activities.keep_noting)
        await anyio.wait_all_tasks_blocked()
        activities.note("sub", "end", 1, 7)
        assert not store.written
        clock.advance(HALF_A_MINUTE)
        await anyio.wait_all_tasks_blocked()
        assert [(one.count, one.key_serials) for one in store.written] == [(1, frozenset({7}))]
        activities.note("sub", "end", 2, None)
        group.cancel_scope.cancel()
    assert [one.count for one in store.written] == [1, 1]


@pytest.mark.anyio
async def test_a_full_memory_is_written_early() -> None:
    store, clock = Kept(), VirtualClock()
    activities = Activities(store, clock, most=3)
    async with anyio.create_task_group() as group:
        group.start_soon(activities.keep_noting)
        await anyio.wait_all_tasks_blocked()
        for number in range(4):
            activities.note(f"sub_{number}", "end", 1, None)
        await anyio.wait_all_tasks_blocked()
        assert len(store.written) == 4
        assert len(activities) == 0
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_memory_stays_bounded_while_the_store_refuses_and_known_ones_still_count() -> None:
    store = Kept()
    activities = Activities(store, VirtualClock(), most=10)
    for number in range(1000):
        activities.note(f"sub_{number}", "end", 1, None)
    activities.note("sub_0", "end", 5, None)
    assert len(activities) == 20
    await activities.flush()
    assert gathered(store, "sub_0") == (1, 5, 2, set())


@pytest.mark.anyio
async def test_many_subscriptions_are_written_in_transactions_of_a_bounded_size() -> None:
    store = Kept()
    activities = Activities(store, VirtualClock())
    for number in range(2_500):
        activities.note(f"sub_{number}", "end", 1, None)
    store.refuses_after = 1
    with pytest.raises(StoreUnavailable):
        await activities.flush()
    assert (sum(store.batches), len(activities)) == (1000, 1500)
    store.refuses_after = None
    await activities.flush()
    assert (max(store.batches), len({one.subscription_id for one in store.written})) == (1000, 2_500)
