"""Clocks: the machine's, and one that a test turns."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from hypothesis import given, strategies as st

from trigflow.runtime.clock import SystemClock
from trigflow.runtime.ports import Clock
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()])
async def test_a_wait_ends_with_its_event_or_its_time(clock: Clock) -> None:
    event = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: clock.wait(event, until=clock.now() + 1_000))
        await anyio.sleep(0)
        event.set()
    with anyio.fail_after(1):
        await clock.wait(anyio.Event(), until=clock.now())


async def test_the_machines_time_goes_by_itself() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 1
    began = clock.now()
    await clock.wait(anyio.Event(), until=began + 0.01)
    assert clock.now() >= began + 0.009


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.lists(st.integers(0, 20), max_size=8))
def test_turning_the_clock_wakes_whoever_is_due_and_nobody_else(waits: list[int], turns: list[int]) -> None:
    async def main() -> None:
        clock = VirtualClock(START)
        woken: set[int] = set()

        async def wait(number: int, seconds: int) -> None:
            await clock.wait(anyio.Event(), until=START.timestamp() + seconds)
            woken.add(number)

        async def settle() -> None:
            for _ in range(20):
                await anyio.sleep(0)

        async with anyio.create_task_group() as group:
            for number, seconds in enumerate(waits):
                group.start_soon(wait, number, seconds)
            await settle()
            gone = 0
            for turn in turns:
                clock.advance(timedelta(seconds=turn))
                gone += turn
                await settle()
                assert clock.now() == START.timestamp() + gone
                assert woken == {n for n, seconds in enumerate(waits) if seconds <= gone}
                assert clock.waiting == len(waits) - len(woken)
            group.cancel_scope.cancel()
        assert clock.waiting == 0

    anyio.run(main)


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        VirtualClock(START).advance(timedelta(seconds=-1))
