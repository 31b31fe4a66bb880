"""A figure that stays as it is counts as flat, and one that grows does not."""

import attrs
import pytest
from hypothesis import given, strategies as st

from benchmarks.flatness import Sample, Watched, judge, verdict

MEMORY = Watched("memory", "MB", "value", 1.1)
levels = st.floats(1, 1e6)
counts = st.integers(3, 300)


def samples_of(values: list[float], life: float = 1) -> list[Sample]:
    return [
        {"deliveries": (number + 1) * 1_000, "value": value, "life": life}
        for number, value in enumerate(values)
    ]


@given(levels, counts)
def test_what_never_changes_is_flat(level: float, count: int) -> None:
    found = verdict(samples_of([level] * count), MEMORY)
    assert (found.first, found.last, found.flat) == (level, level, True)
    assert found.slope == pytest.approx(0, abs=level * 1e-6)


@given(levels, st.integers(20, 300), st.floats(1.3, 10))
def test_what_grows_beyond_its_bound_is_not_flat(level: float, count: int, times: float) -> None:
    grown = [level * (1 + (times - 1) * number / (count - 1)) for number in range(count)]
    assert not verdict(samples_of(grown), MEMORY).flat


@given(levels, st.integers(20, 300), st.floats(1, 1_000))
def test_how_it_starts_does_not_count(level: float, count: int, times: float) -> None:
    warm_up = [level * times] * (count // 10)
    assert verdict(samples_of([*warm_up, *[level] * (count - len(warm_up))]), MEMORY).flat


@given(st.floats(0.001, 1), st.floats(0.001, 1), counts)
def test_next_to_nothing_may_grow(first: float, last: float, count: int) -> None:
    found = verdict(samples_of([first] * count + [last] * count), attrs.evolve(MEMORY, least=1.0))
    assert found.flat


@given(st.floats(-100, 100), st.integers(3, 300))
def test_the_slope_is_the_change_for_each_million_deliveries(slope: float, count: int) -> None:
    line = [1_000 + slope * (number + 1) / 1_000 for number in range(count)]
    assert verdict(samples_of(line), MEMORY).slope == pytest.approx(slope, abs=1e-3)


def test_memory_is_compared_inside_one_process() -> None:
    watched = attrs.evolve(MEMORY, one_life=True)
    short, long = samples_of([10.0] * 5, life=1), samples_of([100.0] * 40, life=2)
    (found,) = judge([*short, *long], [watched])
    assert (found.first, found.last, found.flat) == (100.0, 100.0, True)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least three"):
        verdict(samples_of([1.0, 1.0]), MEMORY)
