"""What is kept for how long, and removing what is older.

    claim ──a process has it──> wait until the next time
      └──mine──> look ──names──> remove ──rest as long as that took──> look …

Removing is done in small steps with as long a rest after each: a delivery that
arrives meanwhile waits for one step at most, and a store that is busy is asked
less often. Any number of processes may do it at once; a claim saves the work.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import anyio
import attrs

from trigflow.core.durations import FOREVER
from trigflow.core.settings import Settings
from trigflow.runtime import ports, records as r
from trigflow.runtime.ports import Clock

logger: logging.Logger = logging.getLogger("trigflow")
FIRST = timedelta(seconds=30)  # after an app has been opened
EVERY = timedelta(hours=1)
RARELY = timedelta(days=1)  # all dedupe keys are walked, whatever their age
GONE = timedelta(days=7)  # since a process was last heard of; what it wanted counts for minutes
LOOK = 500  # rows looked at in one go, in a thread
STEP = 100  # rows removed in a transaction: 2 to 5 ms in which nothing else is written

Rest = Callable[[float], Awaitable[object]]


@attrs.frozen
class Rule:
    """Rows of a kind from before a moment (unix milliseconds) may go: they are kept for a time."""

    kind: r.Kind
    kept: timedelta
    before: int


def rules(settings: Settings, *, now: float) -> Sequence[Rule]:
    """Say what may go, in the order in which it should: runs make room for their deliveries."""
    kept: Mapping[r.Kind, timedelta] = {
        "runs": settings.keep_runs,
        "noise": settings.keep_noise,
        "deliveries": settings.keep_deliveries,
        "bodies": settings.keep_bodies,
        "registrations": settings.keep_registrations,
        "recoveries": settings.keep_registrations,
        "audit": settings.keep_registrations,
        "removed": settings.keep_deliveries,  # so that late deliveries are known as such
        "processes": GONE,
        "dedupe": settings.keep_dedupe,
    }
    return [
        Rule(kind, time, int((now - time.total_seconds()) * 1000))
        for kind, time in kept.items()
        if time != FOREVER
    ]


async def prune(
    store: ports.Retention, rule: Rule, clock: Clock, *, rest: Rest | None = None, dry: bool = False
) -> int:
    """Remove everything that a rule lets go; return how many rows that were.

    dry: only count. rest: called between two steps with the seconds that one took.
    """
    after: str | None = ""
    removed = 0
    while after is not None:
        old = await store.find_old(rule.kind, before=rule.before, after=after, limit=LOOK)
        after = old.after
        for start in range(0, len(old.names), STEP):
            names = old.names[start : start + STEP]
            if dry:
                removed += len(names)
                continue
            began = clock.now()
            removed += await store.remove_old(rule.kind, names, before=rule.before)
            if rest is not None:
                await rest(clock.now() - began)
    return removed


class Retention:
    """Removes what is old in the background of an open app."""

    def __init__(self, store: ports.Retention, settings: Settings, clock: Clock) -> None:
        """Keep to the times of the settings."""
        self._store, self._settings, self._clock = store, settings, clock

    async def keep_up(self) -> None:
        """Remove what is old until cancelled."""
        await self._wait(FIRST.total_seconds())
        while True:
            await self.prune_all()
            await self._wait(EVERY.total_seconds())

    async def prune_all(self) -> None:
        """Remove what is old, as far as no other process does or has just done."""
        for rule in rules(self._settings, now=self._clock.now()):
            if not await self._claim(rule.kind):
                continue
            removed = await prune(self._store, rule, self._clock, rest=self._wait)
            if removed:
                logger.info("removed %d old %s", removed, rule.kind)

    async def _claim(self, kind: r.Kind) -> bool:
        every = RARELY if kind == "dedupe" else EVERY
        now = self._clock.now()
        until = now + every.total_seconds()
        return await self._store.claim_chore(f"prune {kind}", now=int(now * 1000), until=int(until * 1000))

    async def _wait(self, seconds: float) -> None:
        await self._clock.wait(anyio.Event(), until=self._clock.now() + seconds)
