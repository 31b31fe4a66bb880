"""When something that failed is tried again. Pure: chance is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import attrs

from trigflow.core.errors import RateLimited, RefusedForNow


def _not_negative(_: object, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    if value < timedelta(0):
        raise ValueError(f"Retry.{attribute.name} is negative; give a timedelta of zero or more")


@attrs.frozen
class Retry:
    """How often, and how long to wait in between.

    times: attempts after the first; 0 never retries.
    first: wait before the second attempt; each next one is `factor` times longer.
    longest: no wait is longer.
    jitter: the share of a wait that is left to chance, 0 to 1.
    """

    times: int = attrs.field(default=3, validator=attrs.validators.ge(0))
    first: timedelta = attrs.field(default=timedelta(seconds=1), validator=_not_negative)
    factor: float = attrs.field(
        default=2.0, validator=[attrs.validators.ge(1), attrs.validators.lt(float("inf"))]
    )
    longest: timedelta = attrs.field(default=timedelta(minutes=10), validator=_not_negative)
    jitter: float = attrs.field(default=0.2, validator=[attrs.validators.ge(0), attrs.validators.le(1)])

    def wait(self, failed: int, *, chance: float) -> timedelta | None:
        """Tell how long to wait after failed attempt number `failed` (from 1).

        chance: 0 to 1; shortens the wait by up to `jitter`.
        Returns None when there is no further attempt.
        """
        if failed > self.times:
            return None
        full = min(self._unbounded(failed), self.longest.total_seconds())
        return timedelta(seconds=full * (1 - self.jitter * chance))

    def _unbounded(self, failed: int) -> float:
        try:
            return self.first.total_seconds() * self.factor ** (failed - 1)
        except OverflowError:
            return self.longest.total_seconds()

    def next_at(self, failed: int, error: Exception, *, now: datetime, chance: float) -> datetime | None:
        """Tell when to try again after `error`: never sooner than whoever refused asked for.

        now: aware. Returns None when there is no further attempt.
        """
        wait = self.wait(failed, chance=chance)
        return None if wait is None else max(now + wait, asked_to_wait(error) or now)


def asked_to_wait(error: BaseException) -> datetime | None:
    """Return the latest moment that an error, or one of its group, asks to wait for."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return max(filter(None, map(asked_to_wait, group.exceptions)), default=None)
    return error.until if isinstance(error, RateLimited | RefusedForNow) else None


NEVER = Retry(times=0)
