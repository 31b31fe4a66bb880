"""One attempt at a run, seen from inside: its tasks, its log, its suspension.

Suspension is a cancellation of the run's own scope. A task that has to wait
parks; once no other task of the run is in flight, the scope is cancelled and
`suspended_until` says why. What the job returns or raises then does not count:
it is called again later, with the kept results.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import anyio
import attrs
import msgspec

from trigflow.core.errors import DuplicateTaskKey, PayloadError, StoreError
from trigflow.core.payloads import encode_json, return_structure
from trigflow.core.retry import NEVER, Retry
from trigflow.runtime import records as r

if TYPE_CHECKING:  # what is only there once an app is open
    from trigflow.runtime.ports import Clock, Runs
    from trigflow.runtime.sealing.discreet import Discretion

NOTHING_KEPT: Mapping[str, r.KeptTask] = {}
_parent: ContextVar[str] = ContextVar("trigflow_task", default="")


class Suspended(BaseException):
    """Unwinds a job in a thread, where cancellation can't reach; never leaves this package."""


@attrs.frozen
class TaskOptions:
    """How one task is tried: `retry` waits without holding a worker; `timeout` is of one attempt."""

    retry: Retry = NEVER
    timeout: timedelta | None = None


class Step(msgspec.Struct, frozen=True):
    """A task that was begun."""

    path: str
    key: str
    attempt: int
    started_at: int
    options: TaskOptions


class Memo(msgspec.Struct, frozen=True):
    """A task that was done in an earlier attempt."""

    value: Any


class Session:
    """What `IO` and `SyncIO` share: the memory of one attempt."""

    def __init__(
        self,
        claim: r.Claim,
        tasks: tuple[r.KeptTask, ...],
        runs: Runs,
        clock: Clock,
        chance: Callable[[], float],
        scope: anyio.CancelScope,
        about: Discretion,
    ) -> None:
        """Take a claim, what was kept before, a scope for this attempt, and what may be told of failures."""
        self.claim = claim
        self.about: Discretion = about
        self.suspended_until: int | None = None
        self.lost: bool = False
        self.unavailable: StoreError | None = None
        self.scope: anyio.CancelScope = scope
        self.heed: Callable[[BaseException], Awaitable[None]] | None = None  # hears of tasks that failed
        self._kept = {task.key: task for task in tasks} if tasks else NOTHING_KEPT
        self._runs, self._clock, self._chance = runs, clock, chance
        self._begun: dict[str, bool] = {}  # key paths, and whether they are in flight
        self._parked: dict[str, int] = {}
        self._lines: list[r.LogLine] = []

    def log(self, message: str, level: str, fields: dict[str, object]) -> None:
        """Add a line; it is kept with the next task or at the end."""
        try:
            text = encode_json(fields) if fields else None
        except PayloadError as error:
            raise PayloadError(f"fields of the log line {message!r}", error.problem) from error
        self._lines.append(r.LogLine(self.now(), level, message, text))

    def take_lines(self) -> Sequence[r.LogLine]:
        """Return the lines that are not kept yet."""
        if not self._lines:
            return ()
        lines, self._lines = self._lines, []
        return lines

    def now(self) -> int:
        """Return unix milliseconds."""
        return int(self._clock.now() * 1000)

    @property
    def stopping(self) -> bool:
        """Tell whether the attempt is to end: suspended, lost or out of time."""
        return self.scope.cancel_called

    def begin(self, key: str, function: Callable[..., Any], options: TaskOptions) -> Step | Memo:
        """Start a task, or return what it gave before.

        Raises DuplicateTaskKey. Key paths are JSON pointers (RFC 6901): a task
        inside a task has its parent's path before its own.
        """
        path = f"{_parent.get()}/{key.replace('~', '~0').replace('/', '~1')}"
        if path in self._begun:
            raise DuplicateTaskKey(key)
        kept = self._kept.get(path)
        self._begun[path] = kept is None or kept.state != "succeeded"
        if kept is not None and kept.state == "succeeded":
            return Memo(_structured(key, function, kept.result or b"null"))
        return Step(path, key, _attempt_after(kept), self.now(), options)

    def due(self, step: Step) -> int | None:
        """Tell until when (unix ms) a begun task must wait for its next attempt, if it must."""
        kept = self._kept.get(step.path)
        if kept is None or kept.retry_at is None or kept.retry_at <= self.now():
            return None
        return kept.retry_at

    async def call(self, step: Step, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a task's function with the task as parent of what it begins."""
        token = _parent.set(step.path)
        try:
            if step.options.timeout is None:
                return await function(*args, **kwargs)
            with anyio.fail_after(step.options.timeout.total_seconds()):
                return await function(*args, **kwargs)
        finally:
            _parent.reset(token)

    def inside(self, step: Step) -> Callable[[], None]:
        """Make a task the parent of what this thread begins; return what undoes it."""
        token = _parent.set(step.path)
        return lambda: _parent.reset(token)

    async def keep(self, step: Step, function: Callable[..., Any], value: object) -> Any:
        """Keep a task's result and return it as every later attempt will see it."""
        try:
            text = encode_json(value)
        except PayloadError as error:
            raise PayloadError(f"task {step.key!r}", error.problem) from error
        await self._write(
            r.KeptTask(step.path, "succeeded", step.attempt, text, None, step.started_at, self.now())
        )
        return _structured(step.key, function, text)

    async def fail(self, step: Step, error: Exception) -> int | None:
        """Keep a failed attempt; return when (unix ms) the next one is due, None where there is none."""
        if self.heed is not None:
            await self.heed(error)
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        again = step.options.retry.next_at(step.attempt, error, now=now, chance=self._chance())
        retry_at = None if again is None else int(again.timestamp() * 1000)
        state: Literal["failed", "waiting"] = "failed" if retry_at is None else "waiting"
        text = self.about.problem(error)
        await self._write(
            r.KeptTask(step.path, state, step.attempt, None, text, step.started_at, self.now(), retry_at)
        )
        return retry_at

    def leave(self, step: Step) -> None:
        """Forget a task that has ended, whatever way."""
        self._begun[step.path] = False
        self._parked.pop(step.path, None)

    def park(self, step: Step, until: int) -> None:
        """Note that a task waits until a moment (unix ms)."""
        self._parked[step.path] = until

    def suspend_if_idle(self) -> None:
        """Suspend the run if a task is parked and none is in flight."""
        if not self._parked:
            return
        # A task that waits for a parked one inside it is not in flight.
        in_flight = (path for path, is_in_flight in list(self._begun.items()) if is_in_flight)
        busy = (path for path in in_flight if not any(_holds(path, parked) for parked in self._parked))
        if next(busy, None) is None:
            self.suspended_until = min(self._parked.values())
            self.scope.cancel()

    async def _write(self, task: r.KeptTask) -> None:
        # No shield: a write that was asked for is carried out, whoever is being cancelled.
        try:
            kept = await self._runs.keep_task(self.claim, task, self.take_lines())
        except StoreError as error:
            # The job may catch what it likes: this attempt is over, and another one follows.
            self.unavailable = error
            self.scope.cancel()
            raise
        if not kept:
            self.lost = True
            self.scope.cancel()


def _attempt_after(kept: r.KeptTask | None) -> int:
    """Tell which attempt comes next.

    A task that failed for good in a run that was then suspended has its last
    attempt again, so that the job meets the exception itself.
    """
    if kept is None:
        return 1
    return kept.attempt if kept.state == "failed" else kept.attempt + 1


def _holds(path: str, parked: str) -> bool:
    return parked == path or parked.startswith(f"{path}/")


def _structured(key: str, function: Callable[..., Any], text: bytes) -> Any:
    try:
        return return_structure(function)(text)
    except (PayloadError, msgspec.DecodeError) as error:
        raise PayloadError(
            f"result of task {key!r}", f"does not fit its return annotation: {error}"
        ) from error
