"""The embedded engine on a virtual clock: who runs what, in which order, and what stops it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from tests.runtime.bench import Bench, bench
from trigflow.core.errors import StoreUnavailable
from trigflow.core.retry import Retry
from trigflow.engines import embedded
from trigflow.engines.embedded import BEAT, CLAIM_LASTS, POLL, STORE_DOWN, EmbeddedEngine
from trigflow.runtime import records as r
from trigflow.runtime.execution.io import IO
from trigflow.runtime.ports import Again, Done, Item
from trigflow.stores.memory import MemoryStore
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio
Handle = Callable[[r.Claim], Awaitable[Done | Again]]


async def settle() -> None:
    """Let everybody act; anyio.wait_all_tasks_blocked sleeps 0.1 s on asyncio wherever somebody is busy."""
    for _ in range(40):
        await anyio.lowlevel.checkpoint()


@attrs.define
class Floor:
    """A store and a clock, on which engines work; `handle` only says what was done."""

    store: MemoryStore = attrs.field(factory=lambda: MemoryStore(store_id="x"))
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    order: list[str] = attrs.field(factory=list[str])
    serial: int = 0

    @property
    def now(self) -> int:
        return int(self.clock.now() * 1000)

    def engine(self, owner: str) -> EmbeddedEngine:
        return EmbeddedEngine(self.store, self.clock, owner=owner)

    async def handle(self, claim: r.Claim) -> Done:
        self.order.append(claim.run_id)
        await self.store.finish(claim, r.Finish("succeeded", None, None, self.now, 1), [])
        return Done()

    async def put(self, engine: EmbeddedEngine, *items: tuple[str, int, int]) -> None:
        """Put (name, seconds until due, priority) as an intake does: one transaction, then wake."""
        made = [Item(name, self.now + seconds * 1000, priority) for name, seconds, priority in items]
        self.serial += 1
        runs = [
            r.NewRun(item.run_id, "job", item.due_at, statements)
            for item, statements in zip(made, engine.put(made), strict=True)
        ]
        event = r.NewEvent(f"evt_{self.serial}", f"{self.serial}", "n", None, None, None, tuple(runs))
        await self.store.accept(
            r.NewDelivery(
                f"dlv_{self.serial}", "ep", "s", 0, "accepted", "", 200, "POST", b"", b"", events=(event,)
            )
        )
        for run in runs:
            engine.wake(run.statements)

    async def state(self, run: str) -> str:
        found = await self.store.run(run)
        assert found is not None
        return found.row.state

    async def turn(self, seconds: float) -> None:
        """Let time go by in steps that no engine can tell from real time, and let everybody act."""
        while seconds > 0:
            await settle()
            self.clock.advance(timedelta(seconds=min(seconds, POLL)))
            seconds -= POLL
        await settle()


@asynccontextmanager
async def serving(
    engine: EmbeddedEngine, handle: Handle, *, limit: int = 4
) -> AsyncIterator[anyio.abc.TaskGroup]:
    async with anyio.create_task_group() as group:

        async def serve() -> None:
            await engine.serve(handle, limit=limit)

        group.start_soon(serve)
        await settle()
        yield group
        group.cancel_scope.cancel()


async def test_a_run_that_is_due_starts_without_time_going_by() -> None:
    floor = Floor()
    engine = floor.engine("a")
    async with serving(engine, floor.handle):
        await floor.put(engine, ("r1", 0, 0))
        await settle()
        assert await floor.state("r1") == "succeeded"


async def test_higher_priority_starts_first_wherever_a_run_comes_from() -> None:
    floor = Floor()
    engine = floor.engine("a")
    await floor.put(engine, ("delayed high", 5, 9), ("delayed low", 5, 0))  # not claimed: nobody serves
    busy = anyio.Event()

    async def handle(claim: r.Claim) -> Done:
        if claim.run_id == "blocks":
            await busy.wait()
        return await floor.handle(claim)

    async with serving(engine, handle, limit=1):
        await floor.put(engine, ("blocks", 0, 0))
        await settle()
        await floor.put(engine, ("low", 0, 0), ("middle", 0, 5))
        await floor.turn(6)
        busy.set()
        await floor.turn(1)
    assert floor.order == ["blocks", "delayed high", "middle", "low", "delayed low"]


async def test_a_held_run_is_nobodys_and_wakes_nobody_until_it_is_released() -> None:
    class Counted(MemoryStore):
        looks = 0

        async def next_due(self) -> int | None:
            self.looks += 1
            return await super().next_due()

    store = Counted(store_id="x")
    floor = Floor(store)
    engine = floor.engine("a")
    async with serving(engine, floor.handle):
        looks = store.looks
        ((enqueue,), (free,)) = engine.put([Item("r1", floor.now, 0, held=True), Item("r2", floor.now, 0)])
        assert isinstance(free, r.Enqueue)
        assert enqueue == r.Enqueue("r1", floor.now, 0, None, held=True)
        assert free.owner is not None
        new = r.NewRun("r1", "job", floor.now, (enqueue,))
        event = r.NewEvent("e", "1", "n", None, None, None, (new,))
        await floor.store.accept(
            r.NewDelivery("d", "ep", "s", 0, "accepted", "", 200, "POST", b"", b"", events=(event,))
        )
        engine.wake((enqueue,))
        await settle()
        assert store.looks == looks, "nobody looks at the table because of it"
        await floor.turn(60)
        assert await floor.state("r1") == "held"
        assert await floor.store.release_held("s") == 1
        await floor.turn(2)
        assert await floor.state("r1") == "succeeded"
    assert floor.order == ["r1"]


async def test_a_delayed_run_starts_when_it_is_due_and_not_before() -> None:
    floor = Floor()
    engine = floor.engine("a")
    async with serving(engine, floor.handle):
        await floor.put(engine, ("r1", 30, 0))
        await floor.turn(29)
        assert floor.order == []
        await floor.turn(1)
        assert floor.order == ["r1"]


async def test_no_more_runs_than_the_limit_are_executed_at_a_time() -> None:
    floor = Floor()
    engine = floor.engine("a")
    active: list[int] = [0, 0]
    go = anyio.Event()

    async def handle(claim: r.Claim) -> Done:
        active[0] += 1
        active[1] = max(active)
        await go.wait()
        active[0] -= 1
        return await floor.handle(claim)

    async with serving(engine, handle, limit=3):
        await floor.put(engine, *[(f"r{number}", 0, 0) for number in range(10)])
        await settle()
        assert active[0] == 3
        go.set()
        await settle()
    assert len(floor.order) == 10
    assert active[1] == 3


async def test_what_one_process_cannot_hold_stays_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LONGEST_BACKLOG", 2)
    floor = Floor()
    one, two = floor.engine("a"), floor.engine("b")
    stuck = anyio.Event()

    async def never(claim: r.Claim) -> Done:
        await stuck.wait()
        return Done()

    async with serving(one, never, limit=1):
        await floor.put(one, *[(f"r{number}", 0, 0) for number in range(8)])
        await settle()
        async with serving(two, floor.handle):
            await floor.turn(5)
        assert len(floor.order) == 8 - 3  # one runs, two wait in memory
        stuck.set()


async def test_runs_of_a_process_that_stopped_beating_are_taken_over() -> None:
    floor = Floor()
    await floor.store.beat("dead", now=floor.now)
    run = r.NewRun("r1", "job", 0, (r.Enqueue("r1", 0, 0, "dead"),))
    event = r.NewEvent("e", "1", "n", None, None, None, (run,))
    await floor.store.accept(
        r.NewDelivery("d", "ep", "s", 0, "accepted", "", 200, "POST", b"", b"", events=(event,))
    )
    async with serving(floor.engine("alive"), floor.handle):
        await floor.turn(CLAIM_LASTS)
        assert floor.order == []
        await floor.turn(BEAT + 1)
        assert floor.order == ["r1"]


async def test_a_process_that_lives_keeps_its_runs_however_long_they_take() -> None:
    floor = Floor()
    one = floor.engine("a")
    go = anyio.Event()

    async def slow(claim: r.Claim) -> Done:
        await go.wait()
        return await floor.handle(claim)

    async with serving(one, slow), serving(floor.engine("b"), floor.handle):
        await floor.put(one, ("r1", 0, 0))
        await floor.turn(10 * CLAIM_LASTS)
        assert floor.order == []
        go.set()
        await floor.turn(1)
    assert floor.order == ["r1"]


# --- with the real executor


@asynccontextmanager
async def working(made: Bench, owner: str = "a") -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(made.store, made.clock, owner=owner)
    async with serving(engine, made.executor().handle):
        yield engine


async def turn(made: Bench, seconds: float) -> None:
    await Floor(made.store, made.clock).turn(seconds)


async def test_a_zombie_that_wakes_up_changes_nothing_and_is_stopped() -> None:
    frozen = anyio.Event()
    went_on: list[str] = []

    async def step() -> str:
        await frozen.wait()
        return "zombie"

    async def job(payload: dict[str, Any], io: IO) -> str:
        kept = await io.task("step", step)
        await anyio.sleep(0)
        went_on.append(kept)
        return kept

    made = bench(job)
    run = await made.start()
    async with working(made):
        await turn(made, 1)
        (claim,) = await made.store.take("b", now=made.now, limit=1, alive_since=made.now + 1)
        frozen.set()
        await turn(made, 1)
        found = await made.detail(run)
        assert (found.row.state, found.tasks, went_on) == ("running", (), [])
        assert await made.store.holds(claim)


async def test_a_running_run_is_cancelled_at_once() -> None:
    ended: list[str] = []

    async def job(payload: dict[str, Any]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cleaned up")

    made = bench(job)
    run = await made.start()
    async with working(made) as engine:
        await turn(made, 1)
        assert await made.store.cancel(run, engine.cancel(run), at=made.now)
        await settle()
        assert ended == ["cleaned up"]
        await turn(made, 2 * STORE_DOWN)
    assert ended == ["cleaned up"]
    assert (await made.detail(run)).row.state == "cancelled"


async def test_a_queued_run_that_is_cancelled_never_starts() -> None:
    floor = Floor()
    engine = floor.engine("a")
    go = anyio.Event()

    async def handle(claim: r.Claim) -> Done:
        await go.wait()
        return await floor.handle(claim)

    async with serving(engine, handle, limit=1):
        await floor.put(engine, ("first", 0, 0), ("second", 0, 0), ("third", 0, 0))
        await settle()
        assert await floor.store.cancel("second", engine.cancel("second"), at=floor.now)
        go.set()
        await floor.turn(2 * STORE_DOWN)
    assert floor.order == ["first", "third"]
    assert await floor.state("second") == "cancelled"


@pytest.mark.parametrize("running", [True, False])
async def test_a_run_whose_cancellation_could_not_be_kept_is_taken_up_again(running: bool) -> None:
    floor = Floor()
    engine = floor.engine("a")
    starts: list[str] = []
    go = anyio.Event()

    async def handle(claim: r.Claim) -> Done:
        starts.append(claim.run_id)
        await go.wait()
        return await floor.handle(claim)

    async with serving(engine, handle, limit=1):
        await floor.put(engine, ("first", 0, 0), ("second", 0, 0))
        await settle()
        engine.cancel("first" if running else "second")  # and the store can't be written
        go.set()
        await floor.turn(2 * STORE_DOWN)
    assert sorted(floor.order) == ["first", "second"]


async def test_a_run_that_the_store_could_not_keep_is_tried_again() -> None:
    class Down(MemoryStore):
        down = True

        async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
            if self.down:
                raise StoreUnavailable("full")
            return await super().finish(claim, finish, logs)

    calls: list[int] = []

    async def job(payload: dict[str, Any]) -> None:
        calls.append(1)

    made = bench(job, retry=Retry(0))
    made.store = store = Down(store_id="x")
    run = await made.start()
    async with working(made):
        await turn(made, STORE_DOWN)
        assert (await made.detail(run)).row.state == "running"
        store.down = False
        await turn(made, STORE_DOWN + 1)
        assert (await made.detail(run)).row.state == "succeeded"
    assert len(calls) >= 2


async def test_an_engine_outlives_a_store_that_is_down() -> None:
    class Down(MemoryStore):
        down = False

        async def next_due(self) -> int | None:
            self._check()
            return await super().next_due()

        async def beat(self, owner: str, *, now: int) -> None:
            self._check()
            await super().beat(owner, now=now)

        async def holds(self, claim: r.Claim) -> bool:
            self._check()
            return await super().holds(claim)

        async def leave(self, owner: str) -> None:
            raise StoreUnavailable("full")

        def _check(self) -> None:
            if self.down:
                raise StoreUnavailable("full")

    floor = Floor(Down(store_id="x"))
    assert isinstance(floor.store, Down)
    engine = floor.engine("a")

    async def handle(claim: r.Claim) -> Done:
        if floor.store.down:  # type: ignore[attr-defined]
            raise StoreUnavailable("full")
        return await floor.handle(claim)

    async with serving(engine, handle):
        floor.store.down = True
        await floor.put(engine, ("r1", 0, 0))
        await floor.turn(100)
        assert engine.alive
        floor.store.down = False
        await floor.turn(STORE_DOWN + 1)
        assert floor.order == ["r1"]


async def test_running_jobs_may_end_when_the_engine_stops() -> None:
    floor = Floor()
    engine = floor.engine("a")

    async def slow(claim: r.Claim) -> Done:
        await anyio.sleep(0.02)
        return await floor.handle(claim)

    async with serving(engine, slow, limit=1):
        await floor.put(engine, ("r1", 0, 0), ("r2", 0, 0))
        await anyio.sleep(0)
    assert floor.order == ["r1"]
    assert await floor.state("r2") == "queued"  # free for whoever comes next
    assert not engine.alive
    (claim,) = await floor.store.take("b", now=floor.now, limit=9, alive_since=0)
    assert (claim.run_id, claim.starts) == ("r2", 1)  # a stop is not a crash


async def test_jobs_that_do_not_end_in_time_are_cancelled_and_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "DRAIN", 0.01)
    floor = Floor()
    engine = floor.engine("a")

    async def never(claim: r.Claim) -> Done:
        await anyio.sleep_forever()
        return Done()

    async with serving(engine, never):
        await floor.put(engine, ("r1", 0, 0))
        await anyio.sleep(0)
    assert await floor.state("r1") == "queued"


async def test_a_thread_that_outlives_the_stop_keeps_its_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "DRAIN", 0.01)
    go, running = threading.Event(), threading.Event()

    def job(payload: dict[str, Any]) -> str:
        running.set()
        assert go.wait(10)
        return "ok"

    made = bench(job)
    run = await made.start()
    engine = EmbeddedEngine(made.store, made.clock, owner="a")
    async with anyio.create_task_group() as group:

        async def serve_and_stop() -> None:
            async with serving(engine, made.executor().handle):
                await anyio.to_thread.run_sync(running.wait)

        group.start_soon(serve_and_stop)
        await anyio.to_thread.run_sync(running.wait)
        await anyio.sleep(0.03)
        for _ in range(10):  # long past what a silent process would be allowed
            made.clock.advance(timedelta(seconds=BEAT))
            await anyio.sleep(0.001)
        since = made.now - int(CLAIM_LASTS * 1000)
        assert await made.store.take("b", now=made.now, limit=9, alive_since=since) == []
        go.set()
    assert (await made.detail(run)).result == b'"ok"'


async def test_an_engine_that_died_can_serve_again() -> None:
    floor = Floor()
    engine = floor.engine("a")

    async def bug(claim: r.Claim) -> Done:
        raise KeyError("bug")

    async def serve_badly() -> None:
        async with serving(engine, bug):
            await floor.put(engine, ("r1", 0, 0), ("r2", 0, 0))
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup):
        await serve_badly()
    assert not engine.alive
    async with serving(engine, floor.handle):
        await floor.put(engine, ("r3", 0, 0))
        await floor.turn(2)
    assert sorted(floor.order) == ["r1", "r2", "r3"]


async def test_what_was_claimed_while_the_engine_ended_is_executed_when_it_serves_again() -> None:
    floor = Floor()
    engine = floor.engine("a")
    async with serving(engine, floor.handle):
        (statements,) = engine.put([Item("r1", floor.now, 0)])
    event = r.NewEvent("e", "1", "n", None, None, None, (r.NewRun("r1", "job", 0, statements),))
    await floor.store.accept(
        r.NewDelivery("d", "ep", "s", 0, "accepted", "", 200, "POST", b"", b"", events=(event,))
    )
    engine.wake(statements)
    async with serving(engine, floor.handle):
        await floor.turn(1)
    assert floor.order == ["r1"]


async def test_what_could_not_be_given_back_when_the_engine_ended_is_executed_when_it_serves_again() -> None:
    class Down(MemoryStore):
        async def leave(self, owner: str) -> None:
            raise StoreUnavailable("full")

    floor = Floor(Down(store_id="x"))
    engine = floor.engine("a")
    stuck = anyio.Event()

    async def never(claim: r.Claim) -> Done:
        await stuck.wait()
        return Done()

    async with serving(engine, never, limit=1):
        await floor.put(engine, ("r1", 0, 0), ("r2", 0, 0))
        await settle()
        stuck.set()
    async with serving(engine, floor.handle):
        await floor.turn(CLAIM_LASTS + BEAT + 1)
    assert sorted(floor.order) == ["r1", "r2"]


async def test_a_fault_in_poll_or_beat_ends_no_running_job() -> None:
    class Faulty(MemoryStore):
        faulty = False

        async def next_due(self) -> int | None:
            if self.faulty:
                raise KeyError("poll")
            return await super().next_due()

        async def beat(self, owner: str, *, now: int) -> None:
            if self.faulty:
                raise KeyError("beat")
            await super().beat(owner, now=now)

    store = Faulty(store_id="x")
    floor = Floor(store)
    engine = floor.engine("a")
    go = anyio.Event()

    async def slow(claim: r.Claim) -> Done:
        await go.wait()
        return await floor.handle(claim)

    async with serving(engine, slow):
        await floor.put(engine, ("r1", 0, 0))
        await settle()
        store.faulty = True
        await floor.turn(3 * BEAT)
        assert engine.alive
        store.faulty = False
        await floor.put(engine, ("r2", 5, 0))
        await floor.turn(60)
        go.set()
        await floor.turn(1)
    assert sorted(floor.order) == ["r1", "r2"]


async def test_a_run_that_was_taken_over_is_stopped_without_writing_anything() -> None:
    floor = Floor()
    ended: list[str] = []

    async def never(claim: r.Claim) -> Done:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(claim.run_id)
        return Done()

    engine = floor.engine("a")
    async with serving(engine, never):
        await floor.put(engine, ("r1", 0, 0))
        await floor.turn(POLL)
        assert ended == []
        (claim,) = await floor.store.take("b", now=floor.now, limit=1, alive_since=floor.now + 1)
        await floor.turn(3 * POLL)
        assert ended == ["r1"]
    assert await floor.store.holds(claim)
