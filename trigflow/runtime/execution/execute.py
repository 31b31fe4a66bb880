"""The path of a run: claim, `where`, payload, job, kept results, end.

handle ──> load ──> where? ──> structure ──> call ──> succeeded
             │        │no          │no        ├─raised─> retry, or failed
             │gone    v            v          └─waits──> suspended
             v      skipped      failed
           nothing
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec

from trigflow.core.errors import (
    PayloadError,
    RunError,
    RunTimeout,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    TrigflowError,
)
from trigflow.core.events import Event, Subscriber
from trigflow.core.jobs import Job, Parameter
from trigflow.core.payloads import decode_json_text, encode_json, structure_into
from trigflow.core.runs import Final, Run
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, Returned, attempt_async
from trigflow.runtime.execution.around import Lending, Surroundings
from trigflow.runtime.execution.io import IO, SyncIO
from trigflow.runtime.execution.session import Session, Suspended
from trigflow.runtime.loops import is_being_cancelled, scopes_of_this_loop
from trigflow.runtime.ports import Again, Clock, Done, Runs
from trigflow.runtime.sealing.discreet import Discretion, log_failure
from trigflow.runtime.sealing.sealed import Sealer

logger: logging.Logger = logging.getLogger("trigflow.runs")
MOST_STARTS = 5  # a run that took its process down this often is given up
UNKNOWN_JOB_WAIT = timedelta(minutes=1)  # a rolling deploy may bring the job back
HANDED_OVER = 2_000  # runs whose payload is kept in memory between intake and start


class Handover:
    """Runs on their way from intake to start, so that the store need not be read."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, r.LoadedRun] = OrderedDict()

    def put(self, run: r.LoadedRun) -> None:
        """Keep a run; the oldest is dropped when there are too many."""
        self._runs[run.id] = run
        if len(self._runs) > HANDED_OVER:
            self._runs.popitem(last=False)

    def take(self, run_id: str) -> r.LoadedRun | None:
        """Return a run once."""
        return self._runs.pop(run_id, None)


class _Ended(msgspec.Struct, frozen=True):
    """How an attempt came out."""

    state: Final
    result: bytes | None = None
    error: Exception | None = None


class Executor:
    """Executes claimed runs; its `handle` is what an engine serves."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        runs: Runs,
        clock: Clock,
        around: Surroundings,
        *,
        chance: Callable[[], float],
        threads: int,
        sealer: Sealer | None = None,
        secrets: Callable[[], Iterable[str]] = tuple,
        lending: Callable[[], Lending] | None = None,
    ) -> None:
        """Take the jobs by id; `threads` plain jobs may run at a time.

        sealer: opens sealed payloads. secrets: what no failure may tell.
        lending: what one attempt is given clients in.
        """
        self._lending = lending
        self._jobs, self._runs, self._clock, self._around = jobs, runs, clock, around
        self._chance, self._sealer, self._secrets = chance, sealer, secrets
        self._limiter = anyio.CapacityLimiter(threads)
        self.handover: Handover = Handover()
        self._new_scope: Callable[[], anyio.CancelScope] | None = None

    async def handle(self, claim: r.Claim) -> Done | Again:
        """Execute one attempt of a run.

        Raises StoreError where nothing could be kept: the claim holds, try again.
        """
        handled = await attempt_async(lambda: self._handle(claim))
        if isinstance(handled, Returned):
            return handled.value
        if isinstance(handled.error, StoreError):
            raise handled.error
        ended = _Ended("failed", error=handled.error)
        kept = await attempt_async(lambda: self._finish(claim, ended, []))
        if isinstance(kept, Raised):  # one run must not take the engine down
            raise StoreUnavailable("the end of a run could not be kept") from kept.error
        return kept.value

    async def _handle(self, claim: r.Claim) -> Done | Again:
        fresh = claim.attempts == 0 and claim.starts == 1 and claim.fence == 0
        loaded = self.handover.take(claim.run_id) if fresh else None
        loaded = loaded or await self._runs.load(claim.run_id)
        if loaded is None:
            return await self._finish(
                claim, _Ended("failed", error=TrigflowError("its payload is no longer kept")), []
            )
        job = self._jobs.get(loaded.job)
        if job is None:
            return await self._again(claim, None, [], UNKNOWN_JOB_WAIT)
        opened = self._opened(loaded)
        if opened is None:
            return await self._again(claim, None, [], UNKNOWN_JOB_WAIT)
        loaded = opened
        about = Discretion(job.marked(loaded.event_name), loaded.text, self._secrets)
        session = Session(claim, loaded.tasks, self._runs, self._clock, self._chance, self._scope(), about)
        run = _run_of(loaded, job, claim)
        starts = await self._runs.begin(claim) if claim.orphan else claim.starts
        if starts is None:
            return Done()
        if starts > MOST_STARTS:
            return await self._give_up(claim, job, run, session, starts)
        return await self._attempt(claim, loaded, job, session, run)

    def _scope(self) -> anyio.CancelScope:
        if self._new_scope is None:
            self._new_scope = scopes_of_this_loop()
        return self._new_scope()

    def _opened(self, loaded: r.LoadedRun) -> r.LoadedRun | None:
        """Return a run with its payload as it arrived; None where no key of the ring fits."""
        if not loaded.sealed or self._sealer is None:
            return loaded
        try:
            return msgspec.structs.replace(loaded, text=self._sealer.open(loaded.text), sealed=False)
        except StoreUnusable as error:
            # Another process, or a later deploy, may have the key: nothing is lost.
            logger.error("run %s waits: %s", loaded.id, error)  # noqa: TRY400 - whole in one line
            return None

    async def _give_up(self, claim: r.Claim, job: Job, run: Run, session: Session, starts: int) -> Done:
        error = TrigflowError(f"given up: {starts - 1} processes ended while they ran it")
        ended = _Ended("failed", error=error)
        # Kept first: a hook that ends the process, too, must not start it all over.
        done = await self._finish(claim, ended, [], session.about)
        await self._tell(job, run, ended, session)
        return done

    async def _attempt(
        self, claim: r.Claim, loaded: r.LoadedRun, job: Job, session: Session, run: Run
    ) -> Done | Again:
        started_at = self._ms()
        ended = await self._run(session, loaded, job, run)
        if session.lost:
            return Done()
        if session.unavailable is not None:
            raise session.unavailable
        if session.suspended_until is not None:
            wait = timedelta(milliseconds=max(0, session.suspended_until - self._ms()))
            return await self._again(claim, None, session.take_lines(), wait)
        wait_for = self._retry_in(job, run, ended)
        if wait_for is not None and ended.error is not None:
            tried = r.Attempt(run.attempt, started_at, self._ms(), session.about.problem(ended.error))
            return await self._again(claim, tried, session.take_lines(), wait_for)
        await self._tell(job, run, ended, session)
        return await self._finish(claim, ended, session.take_lines(), session.about)

    def _retry_in(self, job: Job, run: Run, ended: _Ended) -> timedelta | None:
        if ended.error is None or isinstance(ended.error, PayloadError):
            return None
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        again = job.options.retry.next_at(run.attempt, ended.error, now=now, chance=self._chance())
        return None if again is None else again - now

    async def _run(self, session: Session, loaded: r.LoadedRun, job: Job, run: Run) -> _Ended:
        timeout = job.options.timeout
        if timeout is None:
            with session.scope:
                return await self._call(session, loaded, job, run)
            return _Ended("failed")  # cancelled from inside: the session says what comes of it
        with session.scope as scope:
            scope.deadline = anyio.current_time() + timeout.total_seconds()
            ended = await self._call(session, loaded, job, run)
            if anyio.current_time() < scope.deadline:
                return ended
        # A thread can't be cancelled; what it returns after its time counts as little.
        return _Ended("failed", error=RunTimeout(timeout.total_seconds()))

    async def _call(self, session: Session, loaded: r.LoadedRun, job: Job, run: Run) -> _Ended:
        called = await attempt_async(lambda: self._lent(session, loaded, job, run))
        if isinstance(called, Returned):
            return called.value
        if isinstance(called.error, StoreError):
            session.unavailable = called.error
        return _Ended("failed", error=called.error)

    async def _lent(self, session: Session, loaded: r.LoadedRun, job: Job, run: Run) -> _Ended:
        if self._lending is None:
            return await self._answer(session, loaded, job, run)
        lent = self._lending()
        session.heed = lent.heed
        async with lent:
            return await self._answer(session, loaded, job, run)
        raise AssertionError("errors are not swallowed")

    async def _answer(self, session: Session, loaded: r.LoadedRun, job: Job, run: Run) -> _Ended:
        """Do what is foreign: structure, `where`, clients, the job; raises what they raise."""
        payload = self._structure(loaded, job, session.about)
        where = job.options.where
        if where is not None and not where(payload):
            return _Ended("skipped")
        args, named = await self._arguments(session, loaded, job, run, payload)
        returned = await self._invoke(job, args, named)
        # A job in a thread that was unwound returned nothing of its own.
        return _Ended("succeeded", None if session.stopping else encode_json(returned))

    def _structure(self, loaded: r.LoadedRun, job: Job, about: Discretion) -> Any:
        try:
            return structure_into(job.payload_annotation)(loaded.text)
        except PayloadError as error:
            refused = about.refusal(error)
            if refused is error:
                raise
        raise refused  # out here: the one that it stands for is not its context

    async def _arguments(
        self, session: Session, loaded: r.LoadedRun, job: Job, run: Run, payload: object
    ) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        named: dict[str, Any] = {}
        for one in job.parameters:
            value = payload if one.role == "payload" else await self._argument(one, session, loaded, run)
            if one.keyword:
                named[one.name] = value
            else:
                args.append(value)
        return args, named

    async def _argument(
        self, parameter: Parameter, session: Session, loaded: r.LoadedRun, run: Run
    ) -> object:
        if parameter.role == "client":
            return await self._around.client(parameter.annotation, loaded)
        if parameter.annotation is IO:
            return IO(session, run, self._limiter)
        if parameter.annotation is SyncIO:
            return SyncIO(session, run)
        if parameter.annotation is Run:
            return run
        if parameter.annotation is Event:
            return _event(loaded)
        return await self._around.delivery(loaded)

    async def _invoke(self, job: Job, args: list[Any], named: dict[str, Any]) -> Any:
        if not job.is_async:
            # Not abandoned on cancellation: a thread that still runs keeps its place and its claim.
            return await anyio.to_thread.run_sync(
                lambda: _unwound(lambda: job.function(*args, **named)), limiter=self._limiter
            )
        try:
            return await job.function(*args, **named)
        except anyio.get_cancelled_exc_class() as error:
            if is_being_cancelled():
                raise
            raise RunError("the job awaited something that was cancelled") from error

    async def _tell(self, job: Job, run: Run, ended: _Ended, session: Session) -> None:
        hook = {"succeeded": job.options.on_success, "failed": job.options.on_failure}.get(ended.state)
        if hook is None:
            return
        told = await attempt_async(lambda: _maybe_await(hook, run))
        if isinstance(told, Raised):
            problem = session.about.problem(told.error)
            session.log(f"the hook for {ended.state} raised {problem}", "error", {})

    async def _finish(
        self, claim: r.Claim, ended: _Ended, logs: Sequence[r.LogLine], about: Discretion | None = None
    ) -> Done:
        problem = None
        if ended.error is not None:
            about = about or Discretion(secrets=self._secrets)
            problem = about.problem(ended.error)
            log_failure(
                logger, "run %s failed: %s", claim.run_id, problem, error=ended.error, scrub=about.scrub
            )
        finish = r.Finish(ended.state, ended.result, problem, self._ms(), claim.attempts + 1)
        # No shield: whoever cancels now is the engine, and a write that was asked for is carried out.
        await self._runs.finish(claim, finish, logs)
        return Done()

    async def _again(
        self, claim: r.Claim, tried: r.Attempt | None, logs: Sequence[r.LogLine], wait: timedelta
    ) -> Again:
        due_at = self._ms() + int(wait.total_seconds() * 1000)
        await self._runs.again(claim, tried, logs, due_at=due_at)
        return Again(wait)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def _run_of(loaded: r.LoadedRun, job: Job, claim: r.Claim) -> Run:
    created_at = datetime.fromtimestamp(loaded.created_at / 1000, UTC)
    return Run(loaded.id, job.id, claim.attempts + 1, loaded.event_id, created_at, loaded.replay_of)


def _unwound(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Suspended:
        return None


async def _maybe_await(hook: Callable[[Run], Any], run: Run) -> None:
    value = hook(run)
    if value is not None:
        await value


def _event(loaded: r.LoadedRun) -> Event:
    payload = decode_json_text(loaded.text)
    at = None if loaded.event_at is None else datetime.fromtimestamp(loaded.event_at / 1000, UTC)
    context: dict[str, object] = {} if loaded.context is None else decode_json_text(loaded.context)
    return Event(loaded.event_name, loaded.event_id, payload, at, context, _subscriber(loaded.subscriber))


def _subscriber(told: bytes | None) -> Subscriber | None:
    if told is None:
        return None
    of = msgspec.json.decode(told, type=r.SubscriberOf)
    return Subscriber(of.key, decode_json_text(bytes(of.metadata)), of.dynamic)
