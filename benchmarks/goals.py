"""What has to be fast, as numbers, and whether a run shows it. Pure.

Goals are ratios inside one run wherever they can be; the others say so. `limit` is what
a prototype with nothing but the hot path reached: no goal should be asked beyond it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs

from benchmarks.names import (
    BARE,
    CELERY,
    DBOS_POSTGRES,
    FASTAPI,
    GIDGETHUB,
    INSERT,
    JOB,
    MOUNTED,
)

MANY, ONE = "32", "1"  # connections
Results = Mapping[str, Any]
Find = Callable[[Results], float | None]


@attrs.frozen
class Goal:
    """One number that a run is held to."""

    name: str
    unit: str
    better: Literal["more", "less"]
    bound: float
    limit: float | None
    find: Find


@attrs.frozen
class Judged:
    """A goal and what a run showed; value and met are None where the run did not measure it."""

    name: str
    unit: str
    better: Literal["more", "less"]
    bound: float
    limit: float | None
    value: float | None
    met: bool | None


def judge(results: Results) -> Sequence[Judged]:
    """Hold a run to all goals."""
    return [_judged(goal, goal.find(results)) for goal in GOALS]


def _judged(goal: Goal, value: float | None) -> Judged:
    holds = operator.ge if goal.better == "more" else operator.le
    met = None if value is None else bool(holds(value, goal.bound))
    return Judged(goal.name, goal.unit, goal.better, goal.bound, goal.limit, value, met)


def figure(connections: str, contender: str, name: str) -> Find:
    """Find a median of a contender."""

    def find(results: Results) -> float | None:
        medians = results.get("loads", {}).get(connections, {}).get("medians", {})
        found: float | None = medians.get(contender, {}).get(name)
        return found

    return find


def micro(name: str, part: str) -> Find:
    """Find a micro figure."""

    def find(results: Results) -> float | None:
        found: float | None = results.get("micro", {}).get("figures", {}).get(name, {}).get(part)
        return found

    return find


def ratio(above: Find, below: Find) -> Find:
    """Divide two figures of one run."""

    def find(results: Results) -> float | None:
        one, other = above(results), below(results)
        return None if one is None or not other else one / other

    return find


def _done(contender: str, ours: str = JOB) -> Find:
    return ratio(figure(MANY, ours, "done"), figure(MANY, contender, "done"))


def _flat(name: str, bound: float) -> Goal:
    return Goal(f"{name}, most against fewest", "times", "less", bound, None, micro(name, "growth"))


GOALS: tuple[Goal, ...] = (
    Goal(f"done, against {FASTAPI}, which keeps nothing", "times", "more", 1.4, 1.94, _done(FASTAPI)),
    Goal(f"done, mounted in FastAPI, against {FASTAPI}", "times", "more", 1.0, 1.44, _done(FASTAPI, MOUNTED)),
    Goal(f"done, against {GIDGETHUB}, which keeps nothing", "times", "more", 1.0, 1.37, _done(GIDGETHUB)),
    Goal(f"done, against {INSERT}", "times", "more", 3.0, 6.0, _done(INSERT)),
    Goal(f"done, against {CELERY}", "times", "more", 15.0, 27.0, _done(CELERY)),
    Goal(f"done, against {DBOS_POSTGRES}", "times", "more", 25.0, 48.0, _done(DBOS_POSTGRES)),
    Goal(
        f"CPU per event, against {BARE}", "times", "less", 3.7, 2.05,
        ratio(figure(MANY, JOB, "cpu_us"), figure(MANY, BARE, "cpu_us")),
    ),
    Goal("CPU per event", "µs", "less", 160.0, 88.0, figure(MANY, JOB, "cpu_us")),
    Goal("ack, 1 connection, p50", "ms", "less", 0.7, 0.46, figure(ONE, JOB, "p50_ms")),
    Goal("ack, 1 connection, p99", "ms", "less", 3.0, 1.4, figure(ONE, JOB, "p99_ms")),
    Goal("ack, 32 connections, p99", "ms", "less", 12.0, 6.0, figure(MANY, JOB, "p99_ms")),
    Goal("on disk, per event", "kB", "less", 4.0, 2.4, figure(MANY, JOB, "disk_kb")),
    Goal("an event matched among 10,000 jobs", "µs", "less", 5.0, 0.5, micro("matching", "value")),
    _flat("matching", 2.0),
    # A look into a dict: what is far apart in memory costs a few times what is in the cache.
    _flat("routing among endpoints", 5.0),
    _flat("routing among accounts of one endpoint", 2.0),
    Goal("12 kB of JSON into attrs classes", "µs", "less", 25.0, 17.0, micro("structuring", "value")),
    Goal("memory when idle", "MB", "less", 50.0, 37.0, micro("idle memory", "value")),
    Goal("import, over bare Python", "ms", "less", 150.0, 93.0, micro("import", "value")),
)  # fmt: skip
