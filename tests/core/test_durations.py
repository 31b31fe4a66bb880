"""Times as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from trigflow.core.durations import parse_duration, shown_duration

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@given(st.integers(0, 99_999), st.sampled_from(sorted(UNITS)))
def test_a_number_and_a_unit_are_a_time(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * UNITS[unit])


@given(st.integers(0, 99_999), st.sampled_from(sorted(UNITS)))
def test_what_is_shown_is_read_as_the_same(number: int, unit: str) -> None:
    time = timedelta(seconds=number * UNITS[unit])
    assert parse_duration(shown_duration(time)) == time


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=61), "61s"),
        (timedelta(0), "forever"),
        (timedelta(milliseconds=1500), "1.5s"),
    ],
)
def test_a_time_is_shown_in_the_largest_unit_that_fits(time: timedelta, shown: str) -> None:
    assert shown_duration(time) == shown


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1d2h", "²d", "1 d", "100000d", "1D", "ever"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        parse_duration(text)
