"""A few rounds of chaos; `nox -s chaos -- --rounds 200` runs more."""

from __future__ import annotations

from tests.crash.chaos import campaign


def test_whatever_fails_and_whoever_dies_the_provider_has_what_is_wanted_and_no_event_is_lost() -> None:
    figures = campaign(rounds=3, seed=7)
    assert figures.problems == []
    assert figures.rounds == 3
    assert figures.died_at_a_step + figures.killed_later == 6
