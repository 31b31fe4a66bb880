"""How long, as people write it: 30d, 12h, 45m, 10s, forever. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

FOREVER = timedelta(0)  # kept for no time would be not kept at all, so that it can mean this
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}


def parse_duration(text: str) -> timedelta:
    """Return a number of d, h, m or s as a time; `forever` and 0 are FOREVER. Raises ValueError."""
    if text in ("forever", "0"):
        return FOREVER
    # {1,5}: a century in days fits, and timedelta holds every number of it.
    found = re.fullmatch("([0-9]{1,5})([dhms])", text)
    if found is None:
        raise ValueError(f"{text[:100]!r} is no time; write 30d, 12h, 45m, 10s or forever")
    return int(found[1]) * _UNITS[found[2]]


def shown_duration(time: timedelta) -> str:
    """Return a time as people write it, in the largest unit that says it exactly."""
    if time == FOREVER:
        return "forever"
    for letter, unit in _UNITS.items():
        if time % unit == timedelta(0):
            return f"{time // unit}{letter}"
    return f"{time.total_seconds():g}s"
