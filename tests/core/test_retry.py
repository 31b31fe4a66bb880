"""When something that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import RateLimited, RefusedForNow
from trigflow.core.retry import NEVER, Retry, asked_to_wait

NOW = datetime(2026, 5, 1, tzinfo=UTC)
shares = st.floats(0, 1)
spans = st.timedeltas(timedelta(0), timedelta(days=400))
retries = st.builds(
    Retry,
    times=st.integers(0, 10_000),
    first=spans,
    factor=st.floats(1, 1e300),
    longest=spans,
    jitter=shares,
)


@given(retries, st.integers(1, 20_000), shares)
def test_a_wait_is_neither_negative_nor_longer_than_the_longest(
    retry: Retry, failed: int, chance: float
) -> None:
    wait = retry.wait(failed, chance=chance)
    if failed > retry.times:
        assert wait is None
    else:
        assert wait is not None
        assert timedelta(0) <= wait <= retry.longest


@given(retries, st.integers(1, 9_000))
def test_no_wait_is_shorter_than_the_one_before(retry: Retry, failed: int) -> None:
    one, two = retry.wait(failed, chance=0), retry.wait(failed + 1, chance=0)
    assert one is None or two is None or one <= two


@given(retries, shares)
def test_chance_shortens_a_wait_by_no_more_than_the_jitter(retry: Retry, chance: float) -> None:
    full, shortened = retry.wait(1, chance=0), retry.wait(1, chance=chance)
    if full is not None and shortened is not None:
        least = full * (1 - retry.jitter)
        assert least - timedelta(milliseconds=1) <= shortened <= full


def test_each_wait_is_so_many_times_longer_than_the_one_before() -> None:
    retry = Retry(4, timedelta(seconds=2), 3, timedelta(seconds=50), jitter=0)
    waits = [retry.wait(failed, chance=0.5) for failed in range(1, 6)]
    assert waits == [*(timedelta(seconds=wait) for wait in (2, 6, 18, 50)), None]
    assert NEVER.wait(1, chance=0) is None


@pytest.mark.parametrize(
    "wrong",
    [{"times": -1}, {"first": timedelta(-1)}, {"longest": timedelta(-1)}, {"factor": 0.5},
     {"factor": float("inf")}, {"factor": float("nan")}, {"jitter": 1.1}, {"jitter": -0.1}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)  # type: ignore[arg-type]  # what is tested


limited = st.integers(-100, 100).map(
    lambda s: RateLimited("GET /", 429, "slow down", NOW + timedelta(seconds=s))
)
refused = st.integers(-100, 100).map(lambda s: RefusedForNow("hook", NOW + timedelta(seconds=s)))
others = st.sampled_from([ValueError("x"), KeyError("y")])
errors = st.recursive(
    limited | refused | others,
    lambda inside: st.lists(inside, min_size=1, max_size=3).map(lambda found: ExceptionGroup("", found)),
    max_leaves=5,
)


def untils(error: BaseException) -> list[datetime]:
    if isinstance(error, ExceptionGroup):
        return [until for one in error.exceptions for until in untils(one)]
    return [error.until] if hasattr(error, "until") else []


@given(errors)
def test_nobody_is_asked_sooner_than_they_said(error: Exception) -> None:
    retry = Retry(1, timedelta(seconds=10), jitter=0)
    at = retry.next_at(1, error, now=NOW, chance=0)
    assert at == max([NOW + timedelta(seconds=10), *untils(error)])
    assert asked_to_wait(error) == max(untils(error), default=None)
    assert retry.next_at(2, error, now=NOW, chance=0) is None
