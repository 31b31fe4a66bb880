"""A loop that is supervised: it is started again, its state is told, its cause is logged once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime.health.supervise import FIRST_WAIT, LONGEST_WAIT, STEADY, TRIES, Supervision, _backoff
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


@attrs.define
class Patient:
    """A loop that raises whatever it is told to, and otherwise runs."""

    error: Exception | None = None
    starts: int = 0
    go: anyio.Event = attrs.field(factory=anyio.Event)

    async def loop(self) -> None:
        self.starts += 1
        if self.error is None:
            await self.go.wait()
        if self.error is not None:
            raise self.error

    def break_down(self, error: Exception) -> None:
        self.error = error
        self.go.set()


@attrs.define
class Ward:
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    patient: Patient = attrs.field(factory=Patient)
    hopeless: list[int] = attrs.field(factory=list[int])
    loops: Supervision = attrs.field()

    @loops.default
    def _loops(self) -> Supervision:
        return Supervision(self.clock, lambda: 1.0, on_failed=lambda: self.hopeless.append(1))

    @property
    def state(self) -> str:
        return self.loops.parts()["it"].state

    async def turn(self, seconds: float) -> None:
        await settle()
        self.clock.advance(timedelta(seconds=seconds))
        await settle()


@asynccontextmanager
async def ward() -> AsyncIterator[Ward]:
    made = Ward()
    async with anyio.create_task_group() as group:
        group.start_soon(made.loops.keep, "it", made.patient.loop)
        await settle()
        yield made
        group.cancel_scope.cancel()


async def test_a_loop_that_raised_is_started_again_after_a_wait() -> None:
    async with ward() as made:
        assert made.state == "running"
        made.patient.break_down(KeyError("x"))
        await settle()
        assert (made.state, made.patient.starts) == ("restarting", 1)
        made.patient.error, made.patient.go = None, anyio.Event()
        await made.turn(FIRST_WAIT)
        assert (made.state, made.patient.starts) == ("running", 2)
        await made.turn(STEADY)
        assert made.loops.parts()["it"].cause == ""


async def test_what_keeps_raising_is_failed_tried_on_and_forgiven_once_it_runs() -> None:
    async with ward() as made:
        made.patient.break_down(KeyError("x"))
        for _ in range(TRIES - 1):
            assert made.state != "failed"
            await made.turn(LONGEST_WAIT)
        assert (made.state, made.hopeless) == ("failed", [1])
        made.patient.error, made.patient.go = None, anyio.Event()
        await made.turn(LONGEST_WAIT)
        assert made.state == "failed"  # it has only just been started
        await made.turn(STEADY)
        assert made.state == "running"


async def test_a_store_that_is_down_makes_no_loop_failed() -> None:
    async with ward() as made:
        made.patient.break_down(ExceptionGroup("", [StoreUnavailable("full")]))
        for _ in range(3 * TRIES):
            await made.turn(LONGEST_WAIT)
        assert made.state == "restarting"
        assert made.hopeless == []


async def test_falls_that_lie_far_apart_do_not_add_up() -> None:
    async with ward() as made:
        for _ in range(3 * TRIES):
            made.patient.break_down(KeyError("x"))
            await settle()
            made.patient.error, made.patient.go = None, anyio.Event()
            await made.turn(LONGEST_WAIT)
            await made.turn(STEADY)
        assert made.state == "running"
        assert made.patient.starts == 1 + 3 * TRIES


async def test_a_cause_is_logged_once_and_told_without_the_text_of_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ward() as made:
        made.patient.break_down(ExceptionGroup("", [ExceptionGroup("", [KeyError("s3cret")])]))
        for _ in range(4):
            await made.turn(LONGEST_WAIT)
        made.patient.error = OSError("other")
        await made.turn(LONGEST_WAIT)
        assert [record.levelname for record in caplog.records] == ["CRITICAL", "CRITICAL"]
        cause = made.loops.parts()["it"].cause
    assert "OSError" in cause
    assert "other" not in cause


async def test_a_broken_clock_does_not_end_the_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigflow.runtime.health.supervise.FIRST_WAIT", 0.001)

    class Broken(VirtualClock):
        broken = True

        def now(self) -> float:
            if self.broken:
                raise OSError("no time")
            return super().now()

    made = Ward(Broken())
    clock = made.clock
    assert isinstance(clock, Broken)
    async with anyio.create_task_group() as group:

        async def loop() -> None:
            made.patient.starts += 1
            clock.now()
            await anyio.sleep_forever()

        group.start_soon(made.loops.keep, "it", loop)
        with anyio.fail_after(10):
            while made.patient.starts < 3:
                await anyio.sleep(0.001)
            clock.broken = False
            while made.state != "running":
                await anyio.sleep(0.001)
        group.cancel_scope.cancel()


async def test_a_loop_that_returns_is_off() -> None:
    loops = Supervision(VirtualClock(), lambda: 0.0)

    async def nothing() -> None: ...

    await loops.keep("it", nothing)
    assert loops.parts()["it"].state == "off"
    assert not loops.failed("it")
    assert not loops.failed("another")


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_have_jitter_and_are_capped(falls: int, chance: float) -> None:
    wait = _backoff(falls, chance)
    assert FIRST_WAIT / 2 <= wait <= LONGEST_WAIT
    assert wait <= _backoff(falls + 1, 1.0)
