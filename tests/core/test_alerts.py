"""Causes that are the same for as long as they go on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from trigflow.core.alerts import stable_cause

moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
shapes = st.sampled_from(
    ["%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d", "%H:%M UTC", "%H:%M:%S"]
)


@given(moments, moments, shapes)
def test_the_time_does_not_make_another_cause(one: datetime, other: datetime, shape: str) -> None:
    first, second = (f"asked to wait (ask again at {at:{shape}})" for at in (one, other))
    assert stable_cause(first) == stable_cause(second)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_nor_does_a_counter(one: int, other: int) -> None:
    one, other = (n if not 400 <= n <= 499 else n + 100 for n in (one, other))
    assert stable_cause(f"failed {one} times") == stable_cause(f"failed {other} times")


@pytest.mark.parametrize(
    "cause",
    [
        "POST /repos/acme/web2/hooks: 403 Forbidden",
        "sub_0193f0c2a1b0 is gone",
        "needs the scope admin:repo_hook",
        "nothing came within 26h, as expect_every= says it must",
        "github.webhook v2.1 of 10.0.0.1:8080",
    ],
)
def test_what_names_something_stays(cause: str) -> None:
    assert stable_cause(cause) == cause


@given(st.text())
def test_it_is_stable_and_bounded(text: str) -> None:
    assert stable_cause(stable_cause(text)) == stable_cause(text)
    assert len(stable_cause(text)) <= 500
