"""A run's states."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trigflow.core.runs import FINAL, TRANSITIONS, Failure, Place, state_of

places = st.builds(
    Place,
    due_at=st.integers(0),
    owner=st.none() | st.just("a"),
    starts=st.integers(0, 9),
    waits=st.booleans(),
    held=st.booleans(),
)


@given(st.sampled_from(sorted(FINAL)), st.none() | places)
def test_a_finish_says_it_all(finished: str, place: Place | None) -> None:
    assert state_of(finished, place) == finished  # type: ignore[arg-type]  # from the set of them


@pytest.mark.parametrize(
    ("place", "state"),
    [
        (None, "cancelled"),
        (Place(0, None, 0), "queued"),
        (Place(0, "a", 1), "running"),
        (Place(0, None, 0, waits=True), "waiting"),
        (Place(0, None, 0, held=True), "held"),
    ],
)
def test_else_the_place_in_the_queue_does(place: Place | None, state: str) -> None:
    assert state_of(None, place) == state


def test_nothing_leads_out_of_a_final_state_and_each_can_be_reached() -> None:
    assert {state for state, ways in TRANSITIONS.items() if not ways} == FINAL
    reached, waiting = {"queued"}, ["queued"]
    while waiting:
        new = set(TRANSITIONS[waiting.pop()]) - reached  # type: ignore[index]  # names of states
        reached |= new
        waiting += new
    assert reached == set(TRANSITIONS)
    assert all("cancelled" in ways for state, ways in TRANSITIONS.items() if state not in FINAL)


@given(st.integers(0, 4), st.text(max_size=9))
def test_a_failure_is_the_first_real_exception_of_a_group(depth: int, text: str) -> None:
    error: BaseException = ValueError(text)
    for _ in range(depth):
        error = BaseExceptionGroup("group", [error, KeyError("second")])
    assert Failure.of(error) == Failure("ValueError", text)
    assert str(Failure.of(error)) == (f"ValueError: {text}" if text else "ValueError")


def test_a_long_text_is_cut() -> None:
    assert len(Failure.of(ValueError("x" * 9_999)).message) == 2_000
