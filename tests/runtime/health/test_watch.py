"""Knowing whether the store takes writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import attrs
import pytest

from trigflow.core.errors import StoreStopped, StoreUnavailable, StoreUnusable
from trigflow.runtime.health import watch
from trigflow.runtime.health.watch import AGAIN, GIVEN_UP, LOOK, StoreWatch
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


@attrs.define
class Disk:
    """What is written to."""

    clock: VirtualClock = attrs.field(factory=VirtualClock)
    error: Exception | None = None
    hangs: bool = False
    writes: int = 0
    silences: int = 0

    async def write(self) -> None:
        self.writes += 1
        if self.hangs:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error

    def silence(self) -> None:
        self.silences += 1

    async def turn(self, seconds: float) -> None:
        await settle()
        self.clock.advance(timedelta(seconds=seconds))
        await settle()


@asynccontextmanager
async def watched(disk: Disk) -> AsyncIterator[StoreWatch]:
    made = StoreWatch(disk.write, disk.clock, on_silence=disk.silence)
    async with anyio.create_task_group() as group:
        group.start_soon(made.watch)
        await settle()
        yield made
        group.cancel_scope.cancel()


async def test_a_store_that_is_not_used_is_asked_now_and_then() -> None:
    disk = Disk()
    async with watched(disk) as made:
        await disk.turn(LOOK - 1)
        assert disk.writes == 1
        await disk.turn(1)
        assert disk.writes == 2
        assert made.part().state == "running"


@pytest.mark.parametrize("error", [StoreUnavailable("s3cret path"), OSError("s3cret path")])
async def test_a_store_that_refuses_is_down_until_a_write_works(error: Exception) -> None:
    disk = Disk(error=error)
    async with watched(disk) as made:
        part = made.part()
        assert part.state == "restarting"
        assert "s3cret" not in part.cause
        await disk.turn(100 * GIVEN_UP)
        assert made.part().state == "restarting"  # a full disk may be freed at any time
        disk.error = None
        await disk.turn(AGAIN)
        assert made.part().state == "running"


@pytest.mark.parametrize("error", [StoreUnusable("damaged"), StoreStopped("ended")])
async def test_a_store_that_this_process_can_not_get_back_has_failed(error: Exception) -> None:
    async with watched(Disk(error=error)) as made:
        assert made.part().state == "failed"


async def test_what_the_intake_could_not_keep_is_known_at_once_and_looked_into() -> None:
    disk = Disk()
    async with watched(disk) as made:
        disk.error = StoreUnavailable("full")
        made.note_refusal()
        assert made.part().state == "restarting"
        await settle()
        assert disk.writes == 2
        disk.error = None
        await disk.turn(AGAIN)
        assert made.part().state == "running"


async def test_a_store_that_does_not_answer_is_silent_and_fails_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "SILENT", 0.01)
    disk = Disk(hangs=True)
    async with watched(disk) as made:
        with anyio.fail_after(10):
            while not made.silent:
                await anyio.sleep(0.005)
        assert (made.part().state, disk.silences) == ("restarting", 1)
        await disk.turn(GIVEN_UP)
        assert made.part().state == "failed"
        disk.hangs = False
        with anyio.fail_after(10):
            while made.part().state != "running":
                await disk.turn(AGAIN)
                await anyio.sleep(0.005)
