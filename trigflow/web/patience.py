"""How long a body may take to come, at next to no cost for one that is there already.

A scope per request would cost as much as all the rest of the way in. On asyncio one timer looks
after all bodies that are being read, and cancels whoever is overdue as `asyncio.timeout` does; on
trio a scope per request does it.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, current_task
from collections.abc import Coroutine
from time import monotonic
from typing import Any, TypeVar

import anyio

from trigflow.core.errors import TrigflowError

T = TypeVar("T")
COARSEST = 1.0  # seconds between two looks at the bodies being read


class BodyTooSlow(TrigflowError):
    """A body did not come whole in time."""


class Patience:
    """Waits for bodies, but no longer than so many seconds each. Belongs to one event loop."""

    __slots__ = ("_asyncio", "_overdue", "_reading", "_seconds", "_watching")

    def __init__(self, seconds: float) -> None:
        """Wait so long for each body; 0: for ever."""
        self._seconds = seconds
        self._asyncio: bool | None = None  # what the loop is; known with the first body
        self._reading: dict[asyncio.Task[Any], float] = {}  # since when; the oldest first
        self._overdue: set[asyncio.Task[Any]] = set()
        self._watching = False

    async def read(self, reading: Coroutine[Any, Any, T]) -> T:
        """Return what a reader returns; raises BodyTooSlow where it takes too long."""
        if not self._asyncio:
            return await self._read_elsewhere(reading)
        task = current_task()
        assert task is not None  # noqa: S101 - a coroutine of asyncio runs in a task
        self._reading[task] = monotonic()
        if not self._watching:
            self._watch()
        cancelled_before = task.cancelling()
        try:
            return await reading
        except CancelledError:
            # Whoever else cancels the task at the same moment must be obeyed.
            if task in self._overdue and task.uncancel() <= cancelled_before:
                raise BodyTooSlow from None
            raise
        finally:
            if self._reading.pop(task, None) is None:
                self._overdue.discard(task)

    async def _read_elsewhere(self, reading: Coroutine[Any, Any, T]) -> T:
        if not self._seconds:
            return await reading
        if self._asyncio is None and _on_asyncio():
            self._asyncio = True
            return await self.read(reading)
        self._asyncio = False
        with anyio.move_on_after(self._seconds):
            return await reading
        raise BodyTooSlow

    def _watch(self) -> None:
        self._watching = True
        asyncio.get_running_loop().call_later(min(COARSEST, self._seconds / 4), self._look)

    def _look(self) -> None:
        last_start = monotonic() - self._seconds
        for task, since in list(self._reading.items()):
            if since > last_start:
                break
            del self._reading[task]
            self._overdue.add(task)
            task.cancel()
        self._watching = False
        if self._reading:
            self._watch()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # it is trio that runs
        return False
    return True
