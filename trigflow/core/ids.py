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


def event_of(delivery: str, number: int) -> str:
    """Return the name of an event of a delivery, counted from 0: evt_0193…, evt_0193…-1, evt_0193…-2."""
    moment = delivery.partition("_")[2]
    return f"evt_{moment}-{number}" if number else f"evt_{moment}"


def run_of(event: str, number: int) -> str:
    """Return the name of a run that an event started, counted from 0: run_0193…-1, run_0193…-1.1."""
    moment = event.partition("_")[2]
    return f"run_{moment}.{number}" if number else f"run_{moment}"
