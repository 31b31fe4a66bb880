"""The time that a request says it was sent at, and whether that is near enough to now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from trigflow.core.errors import SetupError, VerificationError
from trigflow.core.http import Request
from trigflow.sources.parts import Part

Unit = Literal["s", "ms", "rfc3339"]
TOLERANCE = timedelta(minutes=5)  # what most providers advise, both ways

# [0-9] and a bound: int() takes other scripts' digits, and refuses more than 4300 of them.
_WHOLE = re.compile(rb"[0-9]{1,15}")
_RFC3339 = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Stamp(msgspec.Struct, frozen=True):
    """Where a request's time stands, its unit, and how far it may be from now, either way."""

    at: Part
    tolerance: timedelta = TOLERANCE
    unit: Unit = "s"

    def __post_init__(self) -> None:
        if self.unit not in ("s", "ms", "rfc3339"):
            raise SetupError(f"unit={self.unit!r}; use 's', 'ms' or 'rfc3339'")
        if self.tolerance <= timedelta(0):
            raise SetupError("tolerance must be longer than nothing; leave timestamp= out for no check")

    def read(self, request: Request) -> float:
        """Return the Unix seconds that the request states; VerificationError if it states none."""
        found = self.at.values(request)
        if not found or not found[0]:
            raise VerificationError("missing-timestamp", f"no timestamp in {self.at}")
        moment = _moment(found[0], self.unit) if len(found) == 1 else None
        if moment is None:
            raise VerificationError("malformed-timestamp", f"{self.at} is not one time in {self.unit}")
        return moment

    def check(self, moment: float, *, now: float) -> None:
        """Raise VerificationError if `moment` is too far from now; exactly the tolerance is near enough."""
        away = now - moment
        if abs(away) > self.tolerance.total_seconds():
            side = "old" if away > 0 else "far in the future"
            raise VerificationError(
                "stale-timestamp", f"{self.at} is too {side}; replayed, or a clock is wrong"
            )

    def write(self, now: float) -> bytes:
        """Return a moment as a sender would write it."""
        if self.unit == "rfc3339":
            return f"{datetime.fromtimestamp(int(now), UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
        return str(int(now * 1000 if self.unit == "ms" else now)).encode()


def _moment(text: bytes, unit: Unit) -> float | None:
    if unit == "rfc3339":
        return _rfc3339(text)
    if not _WHOLE.fullmatch(text):
        return None
    return int(text) / 1000 if unit == "ms" else float(int(text))


def _rfc3339(text: bytes) -> float | None:
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.decode().upper()).timestamp()
    except (ValueError, OverflowError):  # month 13; the year 1 in a zone east of Greenwich
        return None
