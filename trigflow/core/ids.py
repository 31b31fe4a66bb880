"""Names for rows: sortable by time, unique without asking anybody.

run_0193f0c2a1b00001f3a9c2d4e1
^^^ ^^^^^^^^^^^-----^^^^^^^^^^
kind  ms since 1970  |  random per process
                   counter
"""

from __future__ import annotations

from collections.abc import Callable

COUNTER_BITS = 20
RANDOM_BYTES = 5


class Ids:
    """Makes names; one object per process, made after a fork, used by one thread."""

    def __init__(self, now: Callable[[], float], randomness: Callable[[int], bytes]) -> None:
        """Take the clock (unix seconds) and a source of random bytes."""
        self._now = now
        self._tail = randomness(RANDOM_BYTES).hex()
        self._last = 0

    def new(self, kind: str) -> str:
        """Return a new name such as `run_0193…`; later names sort after earlier ones.

        They do so when the clock is set back, too: the counter then runs on.
        """
        self._last = max(self._last + 1, int(self._now() * 1000) << COUNTER_BITS)
        return f"{kind}_{self._last:016x}{self._tail}"


def part_of(whole: str, kind: str, number: int) -> str:
    """Return the name of a part of something, such as the first event of a delivery.

    evt_0193f0c2a1b00001f3a9c2d4e1, then evt_…-1 and so on, of dlv_0193f0c2a1b00001f3a9c2d4e1.
    """
    _, _, moment = whole.partition("_")
    return f"{kind}_{moment}-{number}" if number else f"{kind}_{moment}"
