"""What a call costs: batches of calls, taken in turns, medians."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import contextmanager
from typing import TypeVar

import attrs

K = TypeVar("K", bound=Hashable)

BATCH = 0.02  # seconds
ROUNDS, QUICK_ROUNDS = 25, 3


@attrs.frozen
class Figure:
    """What something costs, beside a baseline of the same run.

    value: at the largest size, where it was taken at several. growth: the cost at
    the largest size divided by that at the smallest; None with one size.
    """

    unit: str
    value: float
    against: str
    ratio: float
    by_size: dict[str, float] = attrs.field(factory=dict[str, float])
    growth: float | None = None


def over_sizes(unit: str, costs: Mapping[int, float], against: str, baseline: float) -> Figure:
    """Make a figure of costs by size, the smallest size first."""
    found = list(costs.values())
    by_size = {f"{size:,}": cost for size, cost in costs.items()}
    return Figure(unit, found[-1], against, found[-1] / baseline, by_size, found[-1] / found[0])


def in_turns(calls: Mapping[K, Callable[[], object]], *, quick: bool = False) -> dict[K, float]:
    """Return the cost of each call in µs: the median of batches that took turns."""
    sizes = {key: _batch_size(call) for key, call in calls.items()}
    costs: dict[K, list[float]] = {key: [] for key in calls}
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for key, call in calls.items():
            costs[key].append(_batch(call, sizes[key]) / sizes[key] * 1e6)
    return {key: statistics.median(many) for key, many in costs.items()}


def _batch_size(call: Callable[[], object]) -> int:
    """Find how many calls take about BATCH; calls it often enough to warm it up."""
    size = 1
    while (took := _batch(call, size)) < BATCH / 4:
        size *= 4
    return max(1, round(size * BATCH / took))


def _batch(call: Callable[[], object], size: int) -> float:
    with _no_collection():
        start = time.perf_counter()
        for _ in range(size):
            call()
        return time.perf_counter() - start


@contextmanager
def _no_collection() -> Generator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
