"""A clock that a test turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel


class VirtualClock:
    """Stands still until `advance`."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Start at a moment (aware)."""
        self._now = start.timestamp()
        self._waiting: list[tuple[float, anyio.Event]] = []

    def now(self) -> float:
        """Return unix seconds."""
        return self._now

    @property
    def waiting(self) -> int:
        """How many tasks wait for a time that has not come."""
        return len(self._waiting)

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        """Return when the event is set, or once the clock has been turned to `until`."""
        if self._now >= until:
            await anyio.lowlevel.checkpoint()
            return
        due = anyio.Event()
        entry = (until, due)
        self._waiting.append(entry)
        try:
            await _either(event, due)
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def advance(self, by: timedelta) -> None:
        """Turn the clock; whoever waited for a time that has come goes on."""
        if by < timedelta(0):
            raise ValueError("time does not go back; give a timedelta of zero or more")
        self._now += by.total_seconds()
        for entry in [entry for entry in self._waiting if entry[0] <= self._now]:
            self._waiting.remove(entry)
            entry[1].set()


async def _either(first: anyio.Event, second: anyio.Event) -> None:
    async with anyio.create_task_group() as group:

        async def until_set(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        group.start_soon(until_set, first)
        group.start_soon(until_set, second)
