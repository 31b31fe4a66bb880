"""What a job gets to work with: memoised tasks and a log.

    labels = await io.task("classify", classify, payload.issue.title)

A task's result is kept before the job goes on. When the run is resumed after a
crash or a retry, the job is called again from the top and tasks that are done
return what they returned. Between tasks nothing is kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, overload

import anyio  # its modules too, on first use: they take 8 ms to import, and only a running job needs them

from trigflow.core.retry import NEVER, Retry
from trigflow.core.runs import Run
from trigflow.runtime.execution.session import Memo, Session, Step, Suspended, TaskOptions

P = ParamSpec("P")
R = TypeVar("R")
Level = Literal["debug", "info", "warning", "error"]
PLAIN = TaskOptions()
IDLE = 0.01  # seconds between two looks whether anything but parked tasks is left


class Tasks:
    """Runs tasks of an async job with options; made by `io.options`."""

    def __init__(self, session: Session, limiter: anyio.CapacityLimiter, options: TaskOptions) -> None:
        self._session, self._limiter, self._options = session, limiter, options

    @overload
    async def task(
        self, key: str, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def task(self, key: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def task(self, key: str, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function once in the life of the run and keep what it returns.

        key: unique in the run, and the same every time the job is called.
        function: async, or plain (then it runs in a thread). Its result must be
            JSON-able; it comes back structured into the return annotation, the
            first time too.
        Raises what the function raises, DuplicateTaskKey, PayloadError.
        """
        if self._session.stopping:  # in a `finally`: what is done there belongs to the attempt that ends
            await anyio.lowlevel.checkpoint_if_cancelled()
        step = self._session.begin(key, function, self._options)
        if isinstance(step, Memo):
            return step.value
        try:
            return await self._execute(step, function, args, kwargs)
        finally:
            self._session.leave(step)

    async def _execute(self, step: Step, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        due = self._session.due(step)
        if due is not None:
            await self._park(step, due)
        try:
            value = await self._session.call(step, self._threaded(function), args, kwargs)
        except Exception as error:
            due = await self._session.fail(step, error)
            if due is None:
                raise
            await self._park(step, due)
        return await self._session.keep(step, function, value)

    async def _park(self, step: Step, until: int) -> NoReturn:
        """Wait to be cancelled."""
        self._session.park(step, until)
        while True:
            # Not at once: siblings may be about to begin, and when one ends nobody can tell at that
            # moment whether the job goes on with something else.
            await anyio.sleep(IDLE)
            self._session.suspend_if_idle()

    def _threaded(self, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        if is_async(function):
            return function

        async def call(*args: Any, **kwargs: Any) -> Any:
            value = await anyio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._limiter)
            return await value if inspect.isawaitable(value) else value

        return call


class IO(Tasks):
    """What an async job works with."""

    def __init__(self, session: Session, run: Run, limiter: anyio.CapacityLimiter) -> None:
        """Belong to one attempt of a run; made by the framework."""
        super().__init__(session, limiter, PLAIN)
        self.run = run

    def options(self, *, retry: Retry = NEVER, timeout: timedelta | None = None) -> Tasks:
        """Return the same with options: `await io.options(retry=Retry()).task("label", …)`.

        A task that waits for its next attempt holds no worker: the run is
        suspended and called again.
        """
        return Tasks(self._session, self._limiter, TaskOptions(retry, timeout))

    def log(self, message: str, /, *, level: Level = "info", **fields: object) -> None:
        """Write a line to the run's log; fields are JSON-able."""
        self._session.log(message, level, fields)


class SyncTasks:
    """Runs tasks of a plain job with options; made by `io.options`."""

    def __init__(self, session: Session, options: TaskOptions) -> None:
        self._session, self._options = session, options

    @overload
    def task(
        self, key: str, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    def task(self, key: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def task(self, key: str, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function once in the life of the run and keep what it returns; see IO.task.

        A plain function runs in this thread, an async one on the loop. A task's
        timeout can't stop a plain function.
        """
        _unwind_if_cancelled()
        step = self._session.begin(key, function, self._options)
        if isinstance(step, Memo):
            return step.value
        undo = self._session.inside(step)
        try:
            return self._execute(step, function, args, kwargs)
        finally:
            undo()
            self._session.leave(step)

    def _execute(self, step: Step, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        due = self._session.due(step)
        if due is not None:
            self._park(step, due)
        try:
            value = self._call(step, function, args, kwargs)
        except Exception as error:
            due = self._from_loop(self._session.fail, step, error)
            if due is None:
                raise
            self._park(step, due)
        return self._from_loop(self._session.keep, step, function, value)

    def _call(self, step: Step, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if is_async(function):
            return self._from_loop(self._session.call, step, function, args, kwargs)
        return function(*args, **kwargs)

    def _from_loop(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        from concurrent.futures import CancelledError  # noqa: PLC0415 - 4 ms, for plain jobs alone

        try:
            value = anyio.from_thread.run(function, *args)
        except CancelledError:  # an ordinary exception on asyncio, which a job would catch
            raise Suspended from None
        if self._session.lost:
            raise Suspended
        return value

    def _park(self, step: Step, until: int) -> NoReturn:
        self._session.park(step, until)
        anyio.from_thread.run_sync(self._session.suspend_if_idle)
        raise Suspended


class SyncIO(SyncTasks):
    """What a plain job, which runs in a thread, works with."""

    def __init__(self, session: Session, run: Run) -> None:
        """Belong to one attempt of a run; made by the framework."""
        super().__init__(session, PLAIN)
        self.run = run

    def options(self, *, retry: Retry = NEVER, timeout: timedelta | None = None) -> SyncTasks:
        """Return the same with options; see IO.options."""
        return SyncTasks(self._session, TaskOptions(retry, timeout))

    def log(self, message: str, /, *, level: Level = "info", **fields: object) -> None:
        """Write a line to the run's log; fields are JSON-able."""
        self._session.log(message, level, fields)


def _unwind_if_cancelled() -> None:
    """Leave a job whose attempt is over; only the loop may ask the scope itself."""
    try:
        anyio.from_thread.check_cancelled()
    except Exception:
        raise
    except BaseException:  # noqa: BLE001 - asyncio's or trio's cancellation, said in our word
        raise Suspended from None


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling a function gives a coroutine, also behind partial and __call__."""
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        return True
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004 - asked for its kind
    )
