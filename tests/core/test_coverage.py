"""The timeline of what came."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from trigflow.core.coverage import Reading, Stretch, coverage, open_since

END = 40


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """A reading of a log at a moment: whole, or not to its end."""
    at = draw(st.integers(0, END))
    since = draw(st.integers(0, at))
    if draw(st.booleans()):
        return Reading(since, at, at, 0, draw(st.integers(0, 2)), draw(st.integers(0, 1)))
    return Reading(since, draw(st.integers(since, at)), at, error="refused")


def known_at(told: list[Reading], moment: int) -> str:
    """What is known of one millisecond, said plainly."""
    covering = [one for one in told if one.since <= moment < one.until]
    if any(one.lost for one in covering):
        return "lost"
    if any(one.recovered for one in covering):
        return "recovered"
    if covering:
        return "received"
    return "unknown" if any(one.error and one.until <= moment < one.at for one in told) else "received"


@given(st.lists(readings(), max_size=6))
def test_the_timeline_says_of_each_moment_what_is_known_of_it(told: list[Reading]) -> None:
    stretches = coverage(told, since=0, until=END)
    for moment in range(END):
        (stretch,) = [one for one in stretches if one.since <= moment < one.until]
        assert stretch.known == known_at(told, moment)


@given(st.lists(readings(), max_size=6), st.integers(0, END))
def test_the_timeline_has_no_holes_and_no_two_stretches_that_say_the_same(
    told: list[Reading], since: int
) -> None:
    stretches = coverage(told, since=since, until=END)
    if since == END:
        assert not stretches
        return
    assert (stretches[0].since, stretches[-1].until) == (since, END)
    for one, next_ in pairwise(stretches):
        assert one.until == next_.since
        assert (one.known, one.recovered, one.lost, one.because) != (
            next_.known, next_.recovered, next_.lost, next_.because,
        )  # fmt: skip


def test_an_outage_that_was_read_afterwards_is_recovered_and_the_rest_was_received() -> None:
    away, read = Reading(10, 10, 20, error="nobody listened"), Reading(8, 21, 21, recovered=3)
    assert coverage([away], since=0, until=30) == [
        Stretch(0, 10, "received"),
        Stretch(10, 20, "unknown", because="nobody listened"),
        Stretch(20, 30, "received"),
    ]
    assert coverage([away, read], since=0, until=30) == [
        Stretch(0, 8, "received"),
        Stretch(8, 21, "recovered", recovered=3),
        Stretch(21, 30, "received"),
    ]


@given(st.lists(readings(), max_size=6), readings())
def test_what_is_left_is_read_by_a_whole_reading_from_there_on(told: list[Reading], last: Reading) -> None:
    left = open_since(told)
    if left is not None:
        assert open_since([*told, Reading(left, END, END)]) is None
        assert open_since([*told, Reading(left + 1, END, END)]) == left
    assert open_since([*told, Reading(0, last.until, END, error="again")]) == last.until


def test_what_was_begun_and_went_wrong_twice_is_left_from_where_it_began() -> None:
    begun, failed = Reading(5, 5, 20, error="begun"), Reading(5, 5, 20, error="refused")
    assert open_since([begun, failed, begun, failed]) == 5
    assert open_since([begun, failed, Reading(5, 22, 22)]) is None
    assert open_since([]) is None
