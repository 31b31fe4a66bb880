"""A run from claim to end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, strategies as st

from tests.runtime.bench import Around, Bench, Client, bench, result_of
from trigflow.core.errors import StoreUnavailable
from trigflow.core.events import Event
from trigflow.core.retry import Retry
from trigflow.core.runs import Run
from trigflow.runtime import records as r
from trigflow.runtime.execution.execute import HANDED_OVER, MOST_STARTS, Handover
from trigflow.runtime.execution.io import IO, SyncIO
from trigflow.runtime.ports import Again, Done
from trigflow.sources.delivery import Delivery
from trigflow.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio
SOON = Retry(3, timedelta(seconds=10), jitter=0)


class Broken(Exception):
    pass


@attrs.frozen
class User:
    login: str


@attrs.frozen
class Issue:
    user: User


async def test_a_job_gets_what_it_asks_for_by_annotation() -> None:
    seen: list[Any] = []

    async def job(
        payload: Issue, client: Client, io: IO, event: Event, run: Run, *, delivery: Delivery[Any, Any]
    ) -> str:
        seen.extend([payload, client, io.run, event, run, delivery])
        return "ok"

    found = await result_of(job, b'{"user": {"login": "ada"}, "more": 1}')
    assert found.result == b'"ok"'
    payload, client, run_of_io, event, run, delivery = seen
    assert payload == Issue(User("ada"))
    assert isinstance(client, Client)
    assert run_of_io == run
    assert (run.id, run.job, run.attempt, run.event) == ("run_0001", "job", 1, "id1")
    assert (event.name, event.id, event.context, event.at.timestamp()) == ("pushed", "id1", {"a": 1}, 5)
    assert event.payload == {"user": {"login": "ada"}, "more": 1}
    assert delivery == "delivery dlv_0001"


async def test_a_payload_that_does_not_fit_fails_at_once_and_names_the_path() -> None:
    async def job(payload: Issue) -> None: ...

    found = await result_of(job, b'{"user": {"login": 7}}', retry=SOON)
    assert (found.row.state, found.row.attempts) == ("failed", 1)
    assert str(found.row.error).startswith("PayloadError: user.login: ")


@pytest.mark.parametrize("wanted", [True, False])
async def test_where_decides_on_the_structured_payload(wanted: bool) -> None:
    called: list[Issue] = []

    async def job(payload: Issue) -> None:
        called.append(payload)

    found = await result_of(
        job, b'{"user": {"login": "ada"}}', where=lambda issue: (issue.user.login == "ada") is wanted
    )
    assert found.row.state == ("succeeded" if wanted else "skipped")
    assert len(called) == wanted


async def test_a_where_that_raises_is_a_failed_attempt() -> None:
    async def job(payload: dict[str, Any]) -> None: ...

    def where(_: Any) -> bool:
        raise Broken("where")

    found = await result_of(job, where=where, retry=SOON)
    assert (found.row.state, found.row.attempts, found.row.error) == ("failed", 4, "Broken: where")


async def test_a_client_that_cannot_be_had_is_a_failed_attempt() -> None:
    class Without(Around):
        async def client(self, annotation: Any, run: r.LoadedRun) -> object:
            raise Broken("no credentials")

    async def job(payload: dict[str, Any], client: Client) -> None: ...

    made = bench(job)
    made.around = Without()
    run = await made.start()
    await made.work()
    assert (await made.detail(run)).row.error == "Broken: no credentials"


@given(times=st.integers(0, 4), failing=st.integers(0, 6), waits=st.lists(st.integers(0, 9)))
def test_a_job_is_retried_as_often_as_it_says_and_each_attempt_is_kept(
    times: int, failing: int, waits: list[int]
) -> None:
    at: list[int] = []

    async def job(payload: dict[str, Any], run: Run) -> str:
        at.append(made.now)
        assert run.attempt == len(at)
        if len(at) <= failing:
            raise Broken(f"number {len(at)}")
        return "ok"

    made: Bench

    async def main() -> None:
        nonlocal made
        made = bench(job, retry=Retry(times, timedelta(seconds=4), 3, timedelta(seconds=50), jitter=0))
        run = await made.start()
        await made.work()
        found = await made.detail(run)
        tried = min(failing, times) + 1
        assert len(at) == tried
        assert found.row.attempts == tried
        assert found.row.state == ("succeeded" if failing <= times else "failed")
        assert [attempt.error for attempt in found.attempts] == [
            f"Broken: number {number}" for number in range(1, tried)
        ]
        assert [later - earlier for earlier, later in pairwise(at)] == [
            4_000, 12_000, 36_000, 50_000
        ][: tried - 1]  # fmt: skip

    asyncio.run(main())


async def test_a_job_that_takes_too_long_is_tried_again() -> None:
    calls: list[int] = []

    async def job(payload: dict[str, Any]) -> None:
        calls.append(1)
        if len(calls) == 1:
            await anyio.sleep_forever()

    found = await result_of(job, timeout=timedelta(seconds=0.01), retry=SOON)
    assert (found.row.state, found.row.attempts) == ("succeeded", 2)
    assert found.attempts[0].error.startswith("RunTimeout: ")


async def test_a_plain_job_that_takes_too_long_keeps_its_place_until_it_returns() -> None:
    go = threading.Event()
    running = threading.Event()
    tasks: list[str] = []

    def job(payload: dict[str, Any], io: SyncIO) -> str:
        running.set()
        assert go.wait(10)
        io.task("late", lambda: tasks.append("late"))
        return "too late"

    made = bench(job, timeout=timedelta(seconds=0.01))
    run = await made.start()
    async with anyio.create_task_group() as group:
        group.start_soon(made.once)
        await anyio.to_thread.run_sync(running.wait)
        await anyio.sleep(0.03)  # its time is over
        assert made.handled == []
        assert (await made.detail(run)).row.state == "running"
        go.set()
    found = await made.detail(run)
    assert (found.row.state, tasks) == ("failed", [])
    assert str(found.row.error).startswith("RunTimeout: ")


async def test_so_does_one_that_only_returns_late() -> None:
    def job(payload: dict[str, Any]) -> str:
        threading.Event().wait(0.03)
        return "too late"

    found = await result_of(job, timeout=timedelta(seconds=0.01))
    assert str(found.row.error).startswith("RunTimeout: ")


async def test_one_that_is_late_in_an_async_task_is_unwound_past_its_own_except() -> None:
    caught: list[str] = []

    async def slow() -> None:
        await anyio.sleep(5)

    def job(payload: dict[str, Any], io: SyncIO) -> None:
        try:
            io.task("slow", slow)
        except Exception as error:  # noqa: BLE001 - as a job may
            caught.append(type(error).__name__)

    found = await result_of(job, timeout=timedelta(seconds=0.01))
    assert str(found.row.error).startswith("RunTimeout: ")
    assert caught == []


async def test_a_cancellation_that_was_not_ours_is_a_failure(anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        pytest.skip("there is no such thing on trio")

    async def job(payload: dict[str, Any]) -> None:
        other = asyncio.create_task(asyncio.sleep(5))
        other.cancel()
        await other

    found = await result_of(job)
    assert found.row.error == "RunError: the job awaited something that was cancelled"


async def test_a_result_that_json_cannot_say_is_a_failure() -> None:
    async def job(payload: dict[str, Any]) -> object:
        return object()

    found = await result_of(job, retry=SOON)
    assert (found.row.state, found.row.attempts) == ("failed", 1)
    assert str(found.row.error).startswith("PayloadError: result")


# --- hooks


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("hook", ["async", "plain"])
@pytest.mark.parametrize("fails", [False, True])
async def test_whoever_wants_to_know_the_end_is_told_once(fails: bool, hook: str, raises: bool) -> None:
    told: list[tuple[str, int]] = []

    def plain(run: Run) -> None:
        told.append((run.id, run.attempt))
        if raises:
            raise Broken("hook")

    async def asynchronous(run: Run) -> None:
        plain(run)

    async def wrong(run: Run) -> None:
        raise AssertionError

    async def job(payload: dict[str, Any]) -> None:
        if fails:
            raise Broken

    tell = plain if hook == "plain" else asynchronous
    hooks: dict[str, Any] = (
        {"on_failure": tell, "on_success": wrong} if fails else {"on_success": tell, "on_failure": wrong}
    )
    found = await result_of(job, retry=SOON, **hooks)
    assert found.row.state == ("failed" if fails else "succeeded")
    assert told == [("run_0001", 4 if fails else 1)]
    assert [line.level for line in found.logs] == (["error"] if raises else [])


# --- what can go wrong around a run


async def test_a_run_that_takes_its_process_down_each_time_is_given_up() -> None:
    told: list[Run] = []
    called: list[int] = []

    async def job(payload: dict[str, Any]) -> None:
        called.append(1)

    made = bench(job, on_failure=told.append)
    run = await made.start()
    for _ in range(MOST_STARTS):
        (claim,) = await made.take()
        if claim.orphan:
            assert await made.store.begin(claim) is not None
        made.claims.clear()  # and dies
    assert await made.once() == Done()
    found = await made.detail(run)
    assert (found.row.state, called, len(told)) == ("failed", [], 1)
    assert found.row.error == f"TrigflowError: given up: {MOST_STARTS} processes ended while they ran it"


async def test_a_run_that_only_waited_while_processes_died_is_not_given_up() -> None:
    async def job(payload: dict[str, Any]) -> str:
        return "ok"

    made = bench(job)
    run = await made.start()
    for _ in range(2 * MOST_STARTS):
        await made.take()  # and dies before it began
        made.claims.clear()
    assert await made.once() == Done()
    assert (await made.detail(run)).row.state == "succeeded"


async def test_a_run_of_a_job_that_is_not_there_waits_for_it() -> None:
    async def job(payload: dict[str, Any]) -> str:
        return "ok"

    made = bench(job)
    run = await made.start()
    jobs, made.jobs = made.jobs, {}
    assert await made.once() == Again(timedelta(minutes=1))
    assert (await made.detail(run)).row.state == "waiting"
    made.jobs = jobs
    await made.work()
    assert (await made.detail(run)).result == b'"ok"'


async def test_a_run_whose_payload_is_gone_fails() -> None:
    class Forgetful(MemoryStore):
        async def load(self, run_id: str) -> None:
            return None

    async def job(payload: dict[str, Any]) -> None: ...

    made = bench(job)
    made.store = Forgetful(store_id="x")
    run = await made.start()
    await made.work()
    assert (await made.detail(run)).row.error == "TrigflowError: its payload is no longer kept"


async def test_an_error_of_ours_fails_the_run_and_not_the_engine() -> None:
    class Buggy(MemoryStore):
        async def load(self, run_id: str) -> r.LoadedRun | None:
            raise KeyError("bug")

    async def job(payload: dict[str, Any]) -> None: ...

    made = bench(job)
    made.store = Buggy(store_id="x")
    run = await made.start()
    await made.work()
    assert (await made.detail(run)).row.error == "KeyError: 'bug'"


class Flaky(MemoryStore):
    """Can't be written at times."""

    down = 0

    async def keep_task(self, claim: r.Claim, task: r.KeptTask, logs: Sequence[r.LogLine]) -> bool:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("full")
        return await super().keep_task(claim, task, logs)


@pytest.mark.parametrize("kind", ["async", "plain"])
@pytest.mark.parametrize("outcome", ["returns", "raises"])
async def test_a_store_that_fails_in_a_run_ends_the_attempt_not_the_run(kind: str, outcome: str) -> None:
    def task() -> str:
        if outcome == "raises":
            raise Broken
        return "ok"

    async def asynchronous(payload: dict[str, Any], io: IO) -> str:
        try:
            return await io.task("t", task)
        except Exception as error:  # noqa: BLE001 - a job may catch what it likes
            return type(error).__name__

    def plain(payload: dict[str, Any], io: SyncIO) -> str:
        try:
            return io.task("t", task)
        except Exception as error:  # noqa: BLE001 - as a job may
            return type(error).__name__

    made = bench(asynchronous if kind == "async" else plain)
    made.store = store = Flaky(store_id="x")
    run = await made.start()
    store.down = 1
    (claim,) = await made.take()
    with pytest.raises(StoreUnavailable):
        await made.executor().handle(claim)
    assert (await made.detail(run)).row.state == "running"
    assert await made.executor().handle(claim) == Done()  # the claim still holds
    assert (await made.detail(run)).result == (b'"ok"' if outcome == "returns" else b'"Broken"')


async def test_a_store_that_fails_before_a_run_ends_the_attempt_not_the_run() -> None:
    class Without(Around):
        async def delivery(self, run: r.LoadedRun) -> object:
            raise StoreUnavailable("locked")

    async def job(payload: dict[str, Any], delivery: Delivery[Any, Any]) -> None: ...

    made = bench(job, retry=SOON)
    made.around = Without()
    await made.start()
    (claim,) = await made.take()
    with pytest.raises(StoreUnavailable):
        await made.executor().handle(claim)


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_run_whose_claim_was_lost_stops_and_writes_nothing(kind: str) -> None:
    went_on: list[int] = []

    async def steal() -> int:
        await made.take()
        return 1

    async def asynchronous(payload: dict[str, Any], io: IO) -> None:
        await io.task("steal", steal)
        await anyio.sleep(0)
        went_on.append(1)

    def plain(payload: dict[str, Any], io: SyncIO) -> None:
        io.task("steal", steal)
        went_on.append(1)

    told: list[Run] = []
    made = bench(asynchronous if kind == "async" else plain, on_success=told.append, on_failure=told.append)
    run = await made.start()
    assert await made.once() == Done()
    found = await made.detail(run)
    assert (found.row.state, found.tasks, went_on, told) == ("running", (), [], [])


async def test_a_run_on_its_way_from_intake_is_not_read_again() -> None:
    class Unread(MemoryStore):
        async def load(self, run_id: str) -> r.LoadedRun | None:
            raise AssertionError

    async def job(payload: dict[str, Any]) -> str:
        return "ok"

    made = bench(job)
    made.store = Unread(store_id="x")
    run = await made.start(owner="me")
    executor = made.executor()
    executor.handover.put(
        r.LoadedRun(run, "job", 0, None, "evt_0001", "id1", "pushed", None, None, b"{}", "dlv_0001", "sub")
    )
    assert await executor.handle(r.Claim(run)) == Done()
    assert (await made.detail(run)).result == b'"ok"'


@given(st.integers(1, 20))
def test_the_handover_keeps_no_more_than_it_may(extra: int) -> None:
    handover = Handover()
    for number in range(HANDED_OVER + extra):
        handover.put(r.LoadedRun(str(number), "job", 0, None, "e", "e", "n", None, None, b"{}", "d", "s"))
    kept = [number for number in range(HANDED_OVER + extra) if handover.take(str(number)) is not None]
    assert kept == list(range(extra, HANDED_OVER + extra))


async def test_jobs_of_one_event_do_not_see_each_others_changes_to_it() -> None:
    async def job(payload: dict[str, Any]) -> Any:
        payload["inner"]["list"].append(1)
        return payload

    text = b'{"inner":{"list":[]}}'
    made = bench(job)
    executor = made.executor()
    for _ in range(2):
        run = await made.start(text, owner="me")
        executor.handover.put(r.LoadedRun(run, "job", 0, None, "e", "i", "n", None, None, text, "d", "s"))
        await executor.handle(r.Claim(run))
        assert (await made.detail(run)).result == b'{"inner":{"list":[1]}}'
