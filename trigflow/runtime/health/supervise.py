"""Keeping background loops alive, and knowing how each of them is.

    running ──raises──> restarting ──backoff──> running ──STEADY seconds──> forgiven
                            │
                            └─ TRIES times in a row ──> failed   (tried on, every LONGEST_WAIT)

A loop that is failed is still started again and again: what broke it may be
mended. But nobody should count on it any more. A store that is down never
makes a loop failed: it is the store that is wrong then, and it says so itself.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias, cast

import anyio
import attrs
import msgspec

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime.boundary import Raised, attempt, attempt_async
from trigflow.runtime.ports import Clock

logger: logging.Logger = logging.getLogger("trigflow")
FIRST_WAIT = 0.25  # seconds until a loop that raised is started again; doubled each time
LONGEST_WAIT = 30.0
STEADY = 10.0  # seconds that a loop must run until its past is forgiven
TRIES = 8  # falls in a row that make it failed: 16 to 32 seconds of waits

State: TypeAlias = Literal["running", "restarting", "failed", "off"]
Loop: TypeAlias = Callable[[], Awaitable[object]]


class Part(msgspec.Struct, frozen=True):
    """How one part of an open app is.

    since: unix seconds of the last change of state.
    cause: why it is not simply running, in words of ours that anybody may read;
        the error itself is in the log alone.
    """

    name: str
    state: State
    since: float
    cause: str = ""


@attrs.define
class _Kept:
    """What is known of one loop."""

    since: float
    up: bool = True
    falls: int = 0  # in a row
    blamed: int = 0  # of these, the ones that were not the store's
    cause: str = ""
    logged: str = ""
    over: bool = False

    def steady(self, now: float) -> bool:
        """Tell whether it runs, and has done so for long enough."""
        return self.up and (self.falls == 0 or now - self.since >= STEADY)


class Supervision:
    """The loops of one open app (or of one engine)."""

    def __init__(
        self, clock: Clock, chance: Callable[[], float], *, on_failed: Callable[[], object] = lambda: None
    ) -> None:
        """Wait by a clock, with the jitter of `chance`; `on_failed` hears of every fall of a failed loop."""
        self._clock, self._chance, self._on_failed = clock, chance, on_failed
        self._kept: dict[str, _Kept] = {}
        self._last = 0.0

    async def keep(self, name: str, call: Loop) -> None:
        """Run a loop until it returns or is cancelled; start it again whenever it raises."""
        kept = self._kept[name] = _Kept(self._now())
        while True:
            ended = await attempt_async(call)
            if not isinstance(ended, Raised):
                kept.over, kept.since = True, self._now()
                return
            self._fell(name, kept, ended.error)
            await self._wait(_backoff(kept.falls, self._chance()))
            kept.up, kept.since = True, self._now()

    def parts(self) -> Mapping[str, Part]:
        """Tell how each loop is."""
        now = self._now()
        return {name: _part(name, kept, now) for name, kept in self._kept.items()}

    def failed(self, name: str) -> bool:
        """Tell whether nobody should count on a loop; a name that was never kept has not failed."""
        kept = self._kept.get(name)
        return kept is not None and _part(name, kept, self._now()).state == "failed"

    def _fell(self, name: str, kept: _Kept, error: Exception) -> None:
        now = self._now()
        if kept.steady(now):
            kept.falls = kept.blamed = 0
            kept.logged = ""
        first = _first_of(error)
        kept.up, kept.since, kept.falls = False, now, kept.falls + 1
        if isinstance(first, StoreUnavailable):
            kept.cause = "the store can't be used now"
        else:
            kept.cause = f"it ended with {type(first).__name__}; the log tells more"
            kept.blamed += 1
        told = f"{type(first).__name__}: {first}"
        if told != kept.logged:  # once a cause, not once a try
            kept.logged = told
            logger.critical("the %s ended and is started again", name, exc_info=error)
        if kept.blamed >= TRIES:
            self._on_failed()

    async def _wait(self, seconds: float) -> None:
        waited = await attempt_async(
            lambda: self._clock.wait(anyio.Event(), until=self._clock.now() + seconds)
        )
        if isinstance(waited, Raised):  # the clock may be what is broken
            await anyio.sleep(seconds)

    def _now(self) -> float:
        told = attempt(self._clock.now)
        if not isinstance(told, Raised):
            self._last = told.value
        return self._last


def _part(name: str, kept: _Kept, now: float) -> Part:
    if kept.over:
        return Part(name, "off", kept.since)
    if kept.steady(now):
        return Part(name, "running", kept.since)
    if kept.blamed >= TRIES:
        return Part(name, "failed", kept.since, kept.cause)
    return Part(name, "running" if kept.up else "restarting", kept.since, kept.cause)


def _backoff(falls: int, chance: float) -> float:
    """Return seconds between half of the wait and the whole of it."""
    return min(FIRST_WAIT * 2.0 ** min(falls - 1, 20), LONGEST_WAIT) * (0.5 + chance / 2)


def _first_of(error: Exception) -> Exception:
    """Return the first error inside groups: what a task group was ended by."""
    if isinstance(error, ExceptionGroup):
        return _first_of(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error
