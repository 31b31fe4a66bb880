"""The fake's clock: it may be moved on, and nothing ever sleeps for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


class FakeClock:
    """Another clock, plus what it was advanced by; without one, the machine's.

    base: the other clock, which whoever receives lives by too.
    """

    def __init__(self, base: Callable[[], datetime] = utc_now) -> None:
        self.base: Callable[[], datetime] = base
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        """Return the time."""
        return self.base() + self._ahead

    def advance(self, by: timedelta) -> None:
        """Move on; ValueError for a step back."""
        if by < timedelta():
            raise ValueError(f"a clock goes forward only; {by} is a step back")
        self._ahead += by
