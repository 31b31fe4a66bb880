"""One event among many jobs: the cost of finding those that it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from benchmarks.load import PAYLOAD
from benchmarks.micro.timing import Figure, in_turns, over_sizes
from trigflow.core.filters import Filter, compile_filter
from trigflow.core.matching import Index

SIZES = (10, 100, 1_000, 10_000)
NAIVE = 1_000  # jobs that are asked one by one for the baseline
TOPIC = "issues"
NEAR_MISSES = 8


def _repository(payload: Any) -> str:
    return str(payload["repository"]["full_name"])


def _distinct(number: int, wanted: str) -> Filter:
    """Return the filter of one job among many: job 0 wants the event, the others do not."""
    repository = wanted if number == 0 else f"acme/repository-{number}"
    return {"action": ["opened"], "repository": {"full_name": [repository]}}


def _index(size: int, wanted: str) -> Index[int]:
    return Index(
        (TOPIC, compile_filter(_distinct(number, wanted), where="benchmark"), number)
        for number in range(size)
    )


def take(quick: bool) -> Mapping[str, Figure]:
    """Time matching, and matching with the reasons of near misses, as a delivery is decided."""
    text = PAYLOAD.read_bytes()
    payload = msgspec.json.decode(text)
    wanted = _repository(payload)
    indexes = {size: _index(size, wanted) for size in SIZES}
    if any(list(index.match(TOPIC, payload)) != [0] for index in indexes.values()):
        raise AssertionError("the index finds other jobs than the one that wants the event")
    naive = [compile_filter(_distinct(number, wanted), where="benchmark") for number in range(NAIVE)]
    costs = in_turns(
        {
            **{("match", size): _match(index, payload) for size, index in indexes.items()},
            **{("near", size): _decide(index, payload) for size, index in indexes.items()},
            ("naive", NAIVE): lambda: [one for one in naive if one.matches(payload)],
        },
        quick=quick,
    )
    each = costs["naive", NAIVE] / NAIVE
    return {
        name: over_sizes("µs", {size: costs[kind, size] for size in SIZES}, "one filter asked directly", each)
        for name, kind in (("matching", "match"), ("matching and near misses", "near"))
    }


def _match(index: Index[int], payload: object) -> Callable[[], object]:
    return lambda: index.match(TOPIC, payload)


def _decide(index: Index[int], payload: object) -> Callable[[], object]:
    return lambda: (index.match(TOPIC, payload), index.near(TOPIC, payload, limit=NEAR_MISSES))
