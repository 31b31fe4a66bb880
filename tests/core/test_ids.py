"""Names for rows."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from trigflow.core.ids import Ids, event_of, run_of

# A clock that stands still, runs, and is set back.
clocks = st.lists(st.floats(0, 2**43 / 1000), min_size=1, max_size=200)


def ids(times: list[float], tail: bytes = b"\x01") -> Ids:
    ticks = iter(times)
    return Ids(lambda: next(ticks), lambda size: tail * size)


@given(clocks)
def test_later_names_sort_after_earlier_ones_whatever_the_clock_does(times: list[float]) -> None:
    made = ids(times)
    names = [made.new("run") for _ in times]
    assert names == sorted(set(names))


@given(st.floats(0, 2**43 / 1000), st.floats(0, 2**43 / 1000))
def test_names_of_different_processes_sort_by_time(one: float, two: float) -> None:
    earlier, later = sorted([one, two])
    if int(later * 1000) > int(earlier * 1000):
        assert ids([earlier], b"\xff").new("run") < ids([later], b"\x00").new("run")


@given(st.floats(0, 2**43 / 1000))
def test_processes_never_share_a_name(at: float) -> None:
    assert ids([at], b"\x01").new("run") != ids([at], b"\x02").new("run")


@given(st.floats(0, 2**43 / 1000))
def test_a_name_has_one_shape(at: float) -> None:
    assert re.fullmatch("evt_[0-9a-f]{26}", ids([at]).new("evt"))


@given(st.sets(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=50))
def test_events_of_a_delivery_and_runs_of_an_event_have_names_of_their_own(
    parts: set[tuple[int, int]],
) -> None:
    runs = {run_of(event_of("dlv_0193f0c2", event), run) for event, run in parts}
    events = {event_of("dlv_0193f0c2", event) for event, _ in parts}
    assert len(runs) == len(parts)
    assert len(events) == len({event for event, _ in parts})
    assert all(name.startswith("run_0193f0c2") for name in runs)
