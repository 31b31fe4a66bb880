"""What a person is told to do about a subscription."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, strategies as st

from trigflow.core.advice import NEEDS_PERSON, State, next_action
from trigflow.runtime.records import SubscriptionState

states = st.sampled_from(get_args(State))
causes = st.text() | st.text().map(lambda text: f"{text}; {NEEDS_PERSON}")


def test_every_state_of_a_subscription_is_known() -> None:
    assert set(get_args(State)) == set(get_args(SubscriptionState))


@given(states, causes, st.booleans())
def test_whatever_is_not_well_has_something_to_do_and_what_is_well_has_nothing(
    state: State, cause: str, by_hand: bool
) -> None:
    told = next_action(state, cause, id="sub_1", key="repo:a/b", by_hand=by_hand)
    assert bool(told) == (state not in ("active", "removed"))


@given(st.text(), st.booleans())
def test_what_is_paused_is_resumed_by_its_id(cause: str, by_hand: bool) -> None:
    told = next_action("paused", cause, id="sub_1", key="k", by_hand=by_hand)
    assert "trigflow subscriptions resume sub_1" in told


@given(st.sampled_from(["pending", "failing", "expired", "disabled"]), causes)
def test_what_takes_a_person_is_told_how_to_register_it(state: State, cause: str) -> None:
    told = next_action(state, cause, id="sub_1", key="k", by_hand=True)
    assert "trigflow subscriptions add k --manual" in told


def test_what_is_tried_again_by_itself_is_told_apart_from_what_needs_a_person() -> None:
    again = next_action("failing", "500 no", id="sub_1", key="k", by_hand=False)
    person = next_action("failing", f"403 no; {NEEDS_PERSON}", id="sub_1", key="k", by_hand=False)
    assert "by itself" in again
    assert "trigflow apply --only k" in person
