"""Which signed messages were taken, until their time has run out; see trigflow.sources.once.

Pure: takes the time as an argument. In memory, so it knows of one process since its start.

    new ──claim──> claimed ──keep──> kept ──`until` has passed──> forgotten
     ^                │
     └────release─────┘   it was not committed: the provider's next try must pass
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from trigflow.sources.once import Mark

MOST = 200_000  # marks kept; some 25 MB

Name = tuple[str, bytes]  # endpoint, digest


class Standing(enum.Enum):
    """What is known of a message."""

    NEW = "new"  # now claimed by whoever asked
    CLAIMED = "claimed"  # a twin is being handled: not committed yet
    KEPT = "kept"  # a replay


class Replays:
    """The messages that were taken; only what was verified may be put in."""

    __slots__ = ("_claimed", "_kept", "_most", "pushed_out")

    def __init__(self, most: int = MOST) -> None:
        """Keep so many marks; when more are in use, the oldest are pushed out."""
        self._most = most
        self._kept: dict[Name, float] = {}  # until; in the order they were kept
        self._claimed: set[Name] = set()
        self.pushed_out: int = 0  # marks whose time had not run out

    def claim(self, endpoint: str, marks: Sequence[Mark], *, now: float) -> Standing:
        """Claim the marks of a verified request if they are all new; say how they stand.

        After NEW, `keep` or `release` must follow.
        """
        names = [(endpoint, mark.digest) for mark in marks]
        if any(self._kept.get(name, now) > now for name in names):
            return Standing.KEPT
        if not self._claimed.isdisjoint(names):
            return Standing.CLAIMED
        self._claimed.update(names)
        return Standing.NEW

    def keep(self, endpoint: str, marks: Sequence[Mark], *, now: float) -> None:
        """Remember what was committed."""
        self.release(endpoint, marks)
        for mark in marks:
            name = (endpoint, mark.digest)
            self._kept.pop(name, None)
            # Exactly the tolerance is near enough, and clocks are read twice: a moment longer.
            self._kept[name] = mark.until + 1.0
        self._forget(now)

    def release(self, endpoint: str, marks: Sequence[Mark]) -> None:
        """Give a claim back: nothing was committed."""
        self._claimed.difference_update((endpoint, mark.digest) for mark in marks)

    def _forget(self, now: float) -> None:
        while self._kept:
            name, until = next(iter(self._kept.items()))
            if until > now:
                if len(self._kept) <= self._most:
                    return
                self.pushed_out += 1
            del self._kept[name]

    def __len__(self) -> int:
        return len(self._kept)
