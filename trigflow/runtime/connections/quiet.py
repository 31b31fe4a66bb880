"""When a provider asks to be left alone: nobody calls it through that connection, in any process.

called ──429, secondary rate limit──> quiet ──`until` has passed──> called
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from trigflow.core.waits import quiet_until
from trigflow.runtime import records as r
from trigflow.runtime.ports import Clock, Registry

logger: logging.Logger = logging.getLogger("trigflow")


class Quiets:
    """The quiet periods of an app's connections; they are kept in the store."""

    def __init__(self, store: Registry, clock: Clock, chance: Callable[[], float]) -> None:
        """Work for one open app; `chance` is from 0 to 1."""
        self._store, self._clock, self._chance = store, clock, chance

    async def begin_if_asked(self, connection: str, error: Exception) -> bool:
        """Have everybody wait where an error asks for that; tell whether it does."""
        until = quiet_until(error, now=self._clock.now(), chance=self._chance())
        if until is None:
            return False
        provider = connection.partition("/")[0]
        period = r.QuietPeriod(connection, int(until * 1000) + 1, f"{provider} asked for it")
        await self._store.hush(period, now=self._ms())
        logger.warning("%s is %s", connection, told_of(period))
        return True

    async def of(self, connection: str) -> r.QuietPeriod | None:
        """Return a connection's quiet period; None where it may be called."""
        return await self._store.quiet(connection, now=self._ms())

    async def told(self, connection: str) -> str:
        """Say until when a connection is quiet, and why; empty where it may be called."""
        period = await self.of(connection)
        return "" if period is None else told_of(period)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def told_of(period: r.QuietPeriod) -> str:
    """Say until when a connection is quiet, and why."""
    until = datetime.fromtimestamp(period.until / 1000, UTC)
    return f"quiet until {until:%Y-%m-%d %H:%M:%S} UTC because {period.cause}"
