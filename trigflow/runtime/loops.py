"""What anyio leaves to the event loops, on asyncio and trio alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.lowlevel import current_token

Caller: TypeAlias = Callable[[Callable[[], object]], object]


def caller_of_this_loop() -> Caller:
    """Return what makes the running loop call a function soon; it may be used in any thread.

    anyio's own from_thread.run_sync waits for the result, which would make a
    thread stand still for each call.
    """
    native: Any = current_token().native_token
    caller: Caller = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    return caller


class Waiter(Protocol):
    """Something that one task awaits; on asyncio a future, which costs a third of an event."""

    def set(self) -> None:
        """Let the task go on."""
        ...

    def __await__(self) -> Generator[Any, Any, None]:
        """Return once it is set."""
        ...


class _Future:
    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    def set(self) -> None:
        if not self._future.done():  # whoever waited may have been cancelled
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._future.__await__()


class _Event:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()


def waiters_of_this_loop() -> Callable[[], Waiter]:
    """Return what makes waiters for tasks of the running loop."""
    native: Any = current_token().native_token
    if isinstance(native, asyncio.AbstractEventLoop):
        return partial(_Future, native)
    return _Event


def scopes_of_this_loop() -> Callable[[], anyio.CancelScope]:
    """Return what makes cancel scopes for tasks of the running loop.

    anyio looks for the loop at each scope, and then sets it up twice: half of its cost.
    """
    return type(anyio.CancelScope())


def is_being_cancelled() -> bool:
    """Tell whether a cancellation error that was caught is meant for this task.

    On asyncio, code that awaits somebody else's cancelled task raises one that is
    not. On trio there is no such thing.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or task.cancelling() > 0
