"""Tasks: kept once, whatever happens in between."""

from __future__ import annotations

import functools
import gc
import json
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.from_thread
import attrs
import pytest
from hypothesis import given, settings, strategies as st

from tests.runtime.bench import Bench, bench, job_of, result_of
from trigflow.core.errors import RateLimited
from trigflow.core.payloads import return_structure
from trigflow.core.retry import Retry
from trigflow.runtime import views as v
from trigflow.runtime.execution.execute import MOST_STARTS
from trigflow.runtime.execution.io import IO, SyncIO, is_async

pytestmark = pytest.mark.anyio
PATIENT = Retry(times=1_000, first=timedelta(seconds=1), jitter=0)
happenings = st.lists(
    st.lists(st.sampled_from(["raises", "crashes before", "crashes after", "lost"]), max_size=3),
    min_size=1,
    max_size=4,
).filter(lambda script: sum(step != "raises" for steps in script for step in steps) < MOST_STARTS)


class Disturbed(Exception):
    pass


class World:
    """What tasks do to the world outside, and what happens to them meanwhile."""

    def __init__(self, script: list[list[str]]) -> None:
        self.script = [list(steps) for steps in script]
        self.serial = 0
        self.good: list[int] = [0] * len(script)
        self.value: dict[int, int] = {}
        self.crash: anyio.CancelScope

    def effect(self, task: int) -> int:
        self.serial += 1
        return self.serial


async def attempt(made: Bench, world: World) -> None:
    if not made.claims:
        await made.take()
    claim = made.claims.pop(0)
    world.crash = anyio.CancelScope()
    with world.crash:
        await made.executor().handle(claim)
    if world.crash.cancelled_caught:
        await made.take()


async def until_ended(made: Bench, run: str, world: World) -> v.RunDetail:
    while (found := await made.detail(run)).row.state not in ("succeeded", "failed"):
        due = await made.store.next_due()
        if not made.claims and due is not None and due > made.now:
            made.clock.advance(timedelta(milliseconds=due - made.now))
        await attempt(made, world)
    return found


def disturbed_run(script: list[list[str]], *, by_task: bool, backend: str) -> None:
    world = World(script)

    async def main() -> None:
        async def step(task: int) -> int:
            happens = world.script[task].pop(0) if world.script[task] else ""
            if happens == "raises":
                raise Disturbed
            if happens == "crashes before":
                world.crash.cancel()
                await anyio.sleep(0)
            value = world.effect(task)
            if happens == "crashes after":
                world.crash.cancel()
                await anyio.sleep(0)
            if happens == "lost":
                await made.take()
                return -1
            world.good[task] += 1
            world.value[task] = value
            return value

        async def job(payload: dict[str, Any], io: IO) -> list[int]:
            tasks = io.options(retry=PATIENT) if by_task else io
            return [await tasks.task(f"t{number}", step, number) for number in range(len(script))]

        made = bench(job, retry=PATIENT)
        run = await made.start()
        found = await until_ended(made, run, world)
        undisturbed = [world.value[number] for number in range(len(script))]
        assert found.row.state == "succeeded"
        assert json.loads(found.result or b"") == undisturbed
        assert world.good == [1] * len(script)
        assert [json.loads(task.result or b"") for task in found.tasks] == undisturbed

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=30)
@given(script=happenings, by_task=st.booleans())
def test_each_recorded_result_is_used_exactly_once(
    backend: str, script: list[list[str]], by_task: bool
) -> None:
    disturbed_run(script, by_task=by_task, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=15)
@given(script=st.lists(st.lists(st.sampled_from(["raises", "lost"]), max_size=2), min_size=1, max_size=2),
       by_task=st.booleans(), asynchronous=st.booleans())  # fmt: skip
def test_the_same_holds_for_plain_jobs(
    backend: str, script: list[list[str]], by_task: bool, asynchronous: bool
) -> None:
    world = World(script)

    async def main() -> None:
        def plain(task: int) -> int:
            return anyio.from_thread.run(step, task)

        async def step(task: int) -> int:
            happens = world.script[task].pop(0) if world.script[task] else ""
            if happens == "raises":
                raise Disturbed
            value = world.effect(task)
            if happens == "lost":
                await made.take()
                return -1
            world.good[task] += 1
            world.value[task] = value
            return value

        def job(payload: dict[str, Any], io: SyncIO) -> list[int]:
            tasks = io.options(retry=PATIENT) if by_task else io
            function: Callable[[int], Any] = step if asynchronous else plain
            return [tasks.task(f"t{number}", function, number) for number in range(len(script))]

        made = bench(job, retry=PATIENT)
        run = await made.start()
        found = await until_ended(made, run, world)
        assert json.loads(found.result or b"") == [world.value[number] for number in range(len(script))]
        assert world.good == [1] * len(script)

    anyio.run(main, backend=backend)


# --- keys


async def one() -> int:
    return 1


async def test_tasks_inside_tasks_have_json_pointers_for_keys() -> None:
    async def job(payload: dict[str, Any], io: IO) -> int:
        async def outer() -> int:
            return await io.task("in/ner", one) + await io.task("a~b", one)

        return await io.task("outer", outer) + await io.task("in/ner", one)

    found = await result_of(job)
    assert found.result == b"3"
    assert {task.key for task in found.tasks} == {"/outer/in~1ner", "/outer/a~0b", "/outer", "/in~1ner"}


async def test_a_plain_job_nests_in_the_same_way() -> None:
    def job(payload: dict[str, Any], io: SyncIO) -> int:
        return io.task("outer", lambda: io.task("inner", lambda: 1) + 1)

    found = await result_of(job)
    assert {task.key for task in found.tasks} == {"/outer/inner", "/outer"}


async def test_a_key_that_is_used_twice_is_refused_by_name() -> None:
    async def job(payload: dict[str, Any], io: IO) -> None:
        await io.task("label", one)
        await io.task("label", one)

    found = await result_of(job)
    assert found.row.state == "failed"
    assert str(found.row.error).startswith("DuplicateTaskKey: task key 'label'")


async def test_tasks_run_side_by_side() -> None:
    both: list[int] = []

    async def job(payload: dict[str, Any], io: IO) -> None:
        met = anyio.Event()

        async def meet() -> None:
            both.append(1)
            if len(both) == 2:
                met.set()
            await met.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(io.task, "a", meet)
            group.start_soon(io.task, "b", meet)

    found = await result_of(job)
    assert found.row.state == "succeeded"
    assert len(found.tasks) == 2


# --- results


@attrs.frozen
class Label:
    name: str


async def test_results_have_their_type_the_first_time_and_later() -> None:
    seen: list[Any] = []

    def label() -> Label:
        return Label("bug")

    class Labeller:
        def __call__(self) -> list[Label]:
            return [Label("x")]

        async def method(self, name: str) -> Label:
            return Label(name)

    async def job(payload: dict[str, Any], io: IO) -> None:
        labeller = Labeller()
        seen.append(await io.task("plain", label))
        seen.append(await io.task("method", labeller.method, "m"))
        seen.append(await io.task("partial", functools.partial(labeller.method, name="p")))
        seen.append(await io.task("object", labeller))
        seen.append(await io.task("class", Label, "c"))
        seen.append(await io.task("lambda", lambda: (1, 2)))
        if len(seen) == 6:
            raise Disturbed

    found = await result_of(job, retry=PATIENT)
    assert found.row.attempts == 2
    expected = [Label("bug"), Label("m"), Label("p"), [Label("x")], Label("c"), [1, 2]]
    assert seen == expected * 2


async def test_a_result_that_json_cannot_say_names_the_task() -> None:
    async def job(payload: dict[str, Any], io: IO) -> None:
        await io.task("odd", object)

    found = await result_of(job, retry=PATIENT)
    assert found.row.state == "failed"
    assert str(found.row.error).startswith("PayloadError: task 'odd'")


async def test_a_result_that_does_not_fit_its_annotation_names_the_task() -> None:
    def wrong() -> int:
        return "text"  # type: ignore[return-value]  # what is tested

    async def job(payload: dict[str, Any], io: IO) -> None:
        await io.task("odd", wrong)

    found = await result_of(job)
    assert str(found.row.error).startswith("PayloadError: result of task 'odd'")


def test_functions_made_for_one_run_are_not_kept() -> None:
    def closure() -> int:
        return 1

    return_structure(closure)
    gone = weakref.ref(closure)
    del closure
    gc.collect()
    assert gone() is None


def test_what_is_async_is_known_behind_partial_and_call() -> None:
    class Call:
        async def __call__(self) -> None: ...

    assert is_async(one)
    assert is_async(functools.partial(one))
    assert is_async(Call())
    assert not is_async(len)


# --- attempts of one task


async def test_a_task_that_waits_for_its_next_attempt_holds_no_worker() -> None:
    tries: list[float] = []

    async def flaky() -> str:
        tries.append(made.clock.now())
        if len(tries) < 3:
            raise Disturbed
        return "done"

    async def job(payload: dict[str, Any], io: IO) -> str:
        return await io.options(retry=Retry(5, timedelta(seconds=10), jitter=0)).task("flaky", flaky)

    made = bench(job)
    run = await made.start()
    await made.once()
    detail = await made.detail(run)
    assert detail.row.state == "waiting"
    assert [(task.state, task.attempt) for task in detail.tasks] == [("waiting", 1)]
    await made.work()
    assert [round(at - tries[0]) for at in tries] == [0, 10, 30]
    detail = await made.detail(run)
    assert (detail.result, detail.row.attempts) == (b'"done"', 1)


async def test_siblings_in_flight_end_first_and_are_kept() -> None:
    calls: list[str] = []

    async def flaky() -> None:
        calls.append("flaky")
        if calls.count("flaky") == 1:
            raise Disturbed

    async def slow() -> None:
        calls.append("slow")
        await anyio.sleep(0.02)

    async def job(payload: dict[str, Any], io: IO) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(io.task, "slow", slow)
            group.start_soon(io.options(retry=PATIENT).task, "flaky", flaky)

    found = await result_of(job)
    assert found.row.state == "succeeded"
    assert sorted(calls) == ["flaky", "flaky", "slow"]


async def test_a_sibling_that_fails_for_good_is_met_by_the_job_at_once() -> None:
    caught: list[int] = []

    async def fails() -> None:
        await anyio.sleep(0.01)
        raise Disturbed

    async def waits() -> None:
        raise Disturbed

    async def job(payload: dict[str, Any], io: IO) -> str:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(io.options(retry=PATIENT).task, "waits", waits)
                group.start_soon(io.task, "fails", fails)
        except* Disturbed:
            caught.append(1)
        await io.task("after", one)
        return "went on"

    found = await result_of(job)
    assert (found.result, caught, found.row.state) == (b'"went on"', [1], "succeeded")


async def test_a_run_is_suspended_when_its_last_other_branch_ends_without_a_task() -> None:
    calls: list[int] = []

    async def flaky() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Disturbed

    async def job(payload: dict[str, Any], io: IO) -> None:
        async def branch() -> None:
            with anyio.move_on_after(0.01):
                await io.task("never ends", anyio.sleep_forever)

        async with anyio.create_task_group() as group:
            group.start_soon(branch)
            group.start_soon(io.options(retry=PATIENT).task, "flaky", flaky)

    with anyio.fail_after(5):
        found = await result_of(job)
    assert found.row.state == "succeeded"


async def test_a_failed_task_of_a_suspended_run_has_its_last_attempt_again() -> None:
    calls: list[str] = []

    async def fails() -> None:
        calls.append("fails")
        raise Disturbed

    async def flaky() -> None:
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise Disturbed

    async def job(payload: dict[str, Any], io: IO) -> None:
        with pytest.raises(Disturbed):  # by its own type, each time
            await io.options(retry=Retry(1, timedelta(seconds=1))).task("fails", fails)
        await io.options(retry=PATIENT).task("flaky", flaky)

    found = await result_of(job)
    assert found.row.state == "succeeded"
    # Twice until it has failed for good, then once in each of the two attempts that follow.
    assert calls == ["fails", "fails", "flaky", "fails", "flaky", "fails", "flaky"]


async def test_a_task_that_takes_too_long_is_a_timeout() -> None:
    async def job(payload: dict[str, Any], io: IO) -> str:
        with pytest.raises(TimeoutError):
            await io.options(timeout=timedelta(seconds=0.01)).task("slow", anyio.sleep_forever)
        return "went on"

    assert (await result_of(job)).result == b'"went on"'


@pytest.mark.parametrize("where", ["task", "job", "group"])
async def test_whoever_asks_to_wait_is_believed(where: str) -> None:
    tries: list[float] = []

    async def limited() -> None:
        tries.append(made.clock.now())
        if len(tries) == 1:
            until = datetime.fromtimestamp(made.clock.now() + 500, UTC)
            raise RateLimited("GET /", 429, "slow down", until)

    async def job(payload: dict[str, Any], io: IO) -> None:
        if where == "task":
            await io.options(retry=PATIENT).task("limited", limited)
        elif where == "job":
            await limited()
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(io.task, "limited", limited)

    made = bench(job, retry=PATIENT)
    await made.start()
    await made.work()
    assert [round(at - tries[0]) for at in tries] == [0, 500]


async def test_an_exception_with_an_until_of_its_own_is_just_an_exception() -> None:
    class Mine(Exception):
        until = "tomorrow"

    calls: list[int] = []

    async def flaky() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise Mine

    async def job(payload: dict[str, Any], io: IO) -> None:
        await io.options(retry=PATIENT).task("flaky", flaky)

    assert (await result_of(job)).row.state == "succeeded"


async def test_a_finally_does_no_task_while_the_run_is_suspended() -> None:
    calls: list[str] = []

    async def flaky() -> None:
        calls.append("flaky")
        if len(calls) == 1:
            raise Disturbed

    async def cleanup() -> None:
        calls.append("cleanup")

    async def job(payload: dict[str, Any], io: IO) -> None:
        try:
            await io.options(retry=PATIENT).task("flaky", flaky)
        finally:
            await io.task("cleanup", cleanup)

    assert (await result_of(job)).row.state == "succeeded"
    assert calls == ["flaky", "flaky", "cleanup"]


async def test_neither_does_a_plain_one() -> None:
    calls: list[str] = []

    def flaky() -> None:
        calls.append("flaky")
        if len(calls) == 1:
            raise Disturbed

    def job(payload: dict[str, Any], io: SyncIO) -> None:
        try:
            io.options(retry=PATIENT).task("flaky", flaky)
        finally:
            io.task("cleanup", lambda: calls.append("cleanup"))

    assert (await result_of(job)).row.state == "succeeded"
    assert calls == ["flaky", "flaky", "cleanup"]


@pytest.mark.parametrize("kind", ["io", "sync"])
async def test_a_task_is_not_tried_before_its_time(kind: str) -> None:
    def fail() -> None:
        raise Disturbed

    async def job(payload: dict[str, Any], io: IO) -> None:
        await io.options(retry=PATIENT).task("t", fail)

    def plain(payload: dict[str, Any], io: SyncIO) -> None:
        io.options(retry=PATIENT).task("t", fail)

    made = bench(job if kind == "io" else plain)
    run = await made.start()
    await made.once()
    (claim,) = await made.store.take("me", now=made.now + 1_000, limit=1, alive_since=0)
    await made.executor().handle(claim)  # somebody else's clock runs ahead of ours
    detail = await made.detail(run)
    assert [(task.state, task.attempt) for task in detail.tasks] == [("waiting", 1)]
    assert detail.row.state == "waiting"


# --- the log


@pytest.mark.parametrize("kind", ["io", "sync"])
async def test_what_a_job_writes_is_kept(kind: str) -> None:
    async def job(payload: dict[str, Any], io: IO) -> None:
        io.log("begun", number=1)
        await io.task("t", one)
        io.log("ended", level="warning")

    def plain(payload: dict[str, Any], io: SyncIO) -> None:
        io.log("begun", number=1)
        io.task("t", one)
        io.log("ended", level="warning")

    found = await result_of(job if kind == "io" else plain)
    written = [(line.level, line.message, line.fields) for line in found.logs]
    assert written == [("info", "begun", b'{"number":1}'), ("warning", "ended", None)]


async def test_a_field_that_json_cannot_say_names_the_line() -> None:
    async def job(payload: dict[str, Any], io: IO) -> None:
        io.log("odd", it=object())

    assert "fields of the log line 'odd'" in str((await result_of(job)).row.error)


def test_jobs_are_told_apart_by_how_they_run() -> None:
    async def asynchronous(payload: dict[str, Any]) -> None: ...
    def plain(payload: dict[str, Any]) -> None: ...

    assert job_of(asynchronous).is_async
    assert not job_of(plain).is_async
