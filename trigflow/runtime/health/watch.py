"""Whether the store can be written, without writing each time somebody asks.

    fine ──a write is refused, or the intake was──> down ──a write works──> fine
      └────no answer within SILENT seconds───> silent ──a write works──> fine

The intake notes what it could not keep. A small write of our own (the sign of
life of this process) says when the store is back, and finds out about a store
that nobody uses.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from trigflow.core.errors import StoreStopped, StoreUnusable
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.health.supervise import Part
from trigflow.runtime.ports import Clock

logger: logging.Logger = logging.getLogger("trigflow")
LOOK = 15.0  # seconds between two writes of our own while all is well
AGAIN = 1.0  # seconds between two while it is not
SILENT = 10.0  # seconds; a write waits at most half as long for other processes
GIVEN_UP = 30.0  # seconds of silence after which only a new process can help

DOWN = "the store can't be written now: full, locked, read-only or gone; the log tells more"
UNUSABLE = "the store is damaged or not ours; restore a backup"
STOPPED = "this process can't write the store any more; start a new one"
STALLED = "the store does not answer"


class StoreWatch:
    """Knows whether a store takes writes."""

    def __init__(
        self,
        write: Callable[[], Awaitable[object]],
        clock: Clock,
        *,
        on_silence: Callable[[], object] = lambda: None,
    ) -> None:
        """Find out by a small write; `on_silence` hears of a store that does not answer."""
        self._write, self._clock, self._on_silence = write, clock, on_silence
        self._cause = ""
        self._since = clock.now()
        self._poked = anyio.Event()

    @property
    def silent(self) -> bool:
        """Tell whether the store does not even refuse: whoever asks it for something waits for ever."""
        return self._cause == STALLED

    def note_refusal(self) -> None:
        """Hear that something could not be kept; whether that is still so is found out at once."""
        if not self._cause:
            self._tell(DOWN)
            self._poked.set()

    def part(self) -> Part:
        """Tell how the store is."""
        if not self._cause:
            return Part("store", "running", self._since)
        given_up = self._cause in (UNUSABLE, STOPPED) or (
            self.silent and self._clock.now() - self._since >= GIVEN_UP
        )  # a disk that is full may be freed
        return Part("store", "failed" if given_up else "restarting", self._since, self._cause)

    async def watch(self) -> None:
        """Look after the store until cancelled."""
        while True:
            self._poked = anyio.Event()
            await self._look()
            wait = AGAIN if self._cause else LOOK
            await self._clock.wait(self._poked, until=self._clock.now() + wait)

    async def _look(self) -> None:
        with anyio.move_on_after(SILENT):
            written = await attempt_async(self._write)
            if isinstance(written, Raised):
                self._tell(_cause_of(written.error), written.error)
            else:
                self._tell("")
            return
        self._tell(STALLED)
        self._on_silence()

    def _tell(self, cause: str, error: Exception | None = None) -> None:
        if cause == self._cause:
            return
        self._cause, self._since = cause, self._clock.now()
        if cause:
            logger.error("%s", cause, exc_info=error)
        else:
            logger.warning("the store can be written again")


def _cause_of(error: Exception) -> str:
    if isinstance(error, StoreUnusable):
        return UNUSABLE
    return STOPPED if isinstance(error, StoreStopped) else DOWN
