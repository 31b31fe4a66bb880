"""What is known to have come for a subscription, as stretches of time. Pure.

    readings of the provider's log, times when nobody listened ─> one timeline without holes

    received    we were there, or a reading found nothing that had not come
    recovered   a reading found events that had not come, and took them
    lost        ... and some that the log has no content of any more
    unknown     nobody was there, and no reading has told yet what was sent

Times are unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

Known = Literal["received", "recovered", "lost", "unknown"]
_WEIGHT: tuple[Known, ...] = ("unknown", "received", "recovered", "lost")  # the later one is told


class Reading(msgspec.Struct, frozen=True):
    """One reading of a provider's log, or a time in which nobody listened.

    since, until: what is certain of it: all that was sent then is here, or lost.
    at: until when it should have been read; from `until` to there nothing is known.
    """

    since: int
    until: int
    at: int
    received: int = 0
    recovered: int = 0
    lost: int = 0
    error: str = ""

    @property
    def is_complete(self) -> bool:
        """Tell whether nothing was left unread."""
        return not self.error

    @property
    def known(self) -> Known:
        """Say what came of it."""
        if self.lost:
            return "lost"
        return "recovered" if self.recovered else "received"


class Stretch(msgspec.Struct, frozen=True):
    """A time of which one thing is known; `because` says why it is unknown."""

    since: int
    until: int
    known: Known
    recovered: int = 0
    lost: int = 0
    because: str = ""


def coverage(readings: Iterable[Reading], *, since: int, until: int) -> Sequence[Stretch]:
    """Return the timeline from `since` to `until`, the oldest first; the stretches touch each other."""
    told = list(readings)
    cuts = {since, until}
    for one in told:
        cuts.update(moment for moment in (one.since, one.until, one.at) if since < moment < until)
    moments = sorted(cuts)
    stretches: list[Stretch] = []
    for start, end in pairwise(moments):
        _add(stretches, _of(told, start, end))
    return stretches


def _of(readings: Sequence[Reading], start: int, end: int) -> Stretch:
    read = [one for one in readings if one.since <= start and end <= one.until]
    if read:
        best = max(read, key=lambda one: _WEIGHT.index(one.known))
        return Stretch(start, end, best.known, best.recovered, best.lost)
    open_ = [one for one in readings if not one.is_complete and one.until <= start and end <= one.at]
    if open_:
        return Stretch(start, end, "unknown", because=open_[-1].error)
    return Stretch(start, end, "received")


def _add(stretches: list[Stretch], new: Stretch) -> None:
    """Add a stretch, or make the last one longer where the same is known."""
    if stretches and msgspec.structs.replace(new, since=0, until=0) == msgspec.structs.replace(
        stretches[-1], since=0, until=0
    ):
        stretches[-1] = msgspec.structs.replace(stretches[-1], until=new.until)
    else:
        stretches.append(new)


def open_since(readings: Iterable[Reading]) -> int | None:
    """Return the moment from which on something is still to be read; None where all was.

    readings: the oldest first. One that goes back far enough takes the place of what was left.
    """
    found: int | None = None
    for one in readings:
        left = None if one.is_complete else one.until
        if found is None or one.since <= found:
            found = left
        elif left is not None:
            found = min(found, left)
    return found
