"""The clock of a running process."""

from __future__ import annotations

import time

import anyio


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        """Return unix seconds."""
        return time.time()

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        """Return when the event is set, or at `until`."""
        with anyio.move_on_after(max(0.0, until - time.time())):
            await event.wait()
