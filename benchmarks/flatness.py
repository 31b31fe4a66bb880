"""Whether a figure stays as it is while more and more is kept. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import attrs

WARM_UP = 10  # one part in so many is left out at the start: caches fill, pools grow
TENTH = 10

Sample = Mapping[str, float]


@attrs.frozen
class Watched:
    """A figure that has to stay flat.

    key: in a sample. bound: how many times the first the last may be. least: what
    is below it counts as that much, so that next to nothing can grow for free.
    one_life: compared inside one process alone; a new one starts small.
    """

    name: str
    unit: str
    key: str
    bound: float
    least: float = 0.0
    one_life: bool = False


@attrs.frozen
class Verdict:
    """What became of a figure: medians of the first and the last tenth after the warm-up.

    slope: change for each million deliveries, by least squares, in the unit.
    """

    name: str
    unit: str
    first: float
    last: float
    ratio: float
    slope: float
    bound: float
    flat: bool


WATCHED: tuple[Watched, ...] = (
    Watched("memory (RSS)", "MB", "rss_mb", 1.10, one_life=True),
    Watched("ack, p50", "ms", "p50_ms", 1.25),
    Watched("ack, p99", "ms", "p99_ms", 1.50, least=2.0),
    Watched("CPU per event", "µs", "cpu_us", 1.20),
    Watched("log of the store (WAL)", "MB", "wal_mb", 1.50, least=8.0),
    Watched("queued runs", "runs", "queue", 1.50, least=200.0),
)


def judge(samples: Sequence[Sample], watched: Sequence[Watched] = WATCHED) -> Sequence[Verdict]:
    """Judge all figures of a soak, its samples in the order taken; ValueError without enough of them."""
    return [verdict(_one_life(samples) if one.one_life else samples, one) for one in watched]


def _one_life(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples of the process that gave most of them."""
    longest = statistics.mode(sample["life"] for sample in samples)
    return [sample for sample in samples if sample["life"] == longest]


def verdict(samples: Sequence[Sample], watched: Watched) -> Verdict:
    """Compare the first tenth after the warm-up with the last; ValueError with fewer than three samples."""
    kept = samples[max(1, len(samples) // WARM_UP) :]
    if len(kept) < 2:
        raise ValueError(f"{len(samples)} samples say nothing about {watched.name}; take at least three")
    values = [sample[watched.key] for sample in kept]
    size = max(1, len(values) // TENTH)
    first, last = statistics.median(values[:size]), statistics.median(values[-size:])
    ratio = max(last, watched.least) / (max(first, watched.least) or 1.0)
    slope = statistics.linear_regression([sample["deliveries"] for sample in kept], values).slope * 1e6
    return Verdict(
        watched.name, watched.unit, first, last, ratio, slope, watched.bound, flat=ratio <= watched.bound
    )
