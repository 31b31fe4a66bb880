"""When silence is too long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trigflow import SetupError, trigger
from trigflow.core.jobs import Job, build_job, mark_of
from trigflow.core.silence import Quiet, silent_since
from trigflow.runtime.registration.collect import wants_of
from trigflow_github import github

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
times = st.integers(0, 400 * DAY)
lengths = st.integers(MINUTE, 60 * DAY)


def judged(
    now: int,
    *,
    last_at: int | None = None,
    listening_since: int = 0,
    seen: int = 0,
    usual_gap: int = 0,
    expect_every: int | None = None,
) -> Quiet:
    return silent_since(
        now=now,
        last_at=last_at,
        listening_since=listening_since,
        seen=seen,
        usual_gap=usual_gap,
        expect_every=expect_every,
    )


@given(times, st.none() | times, times, st.integers(0, 19), st.integers(0, 60 * DAY))
def test_who_was_told_nothing_and_saw_little_judges_nothing(
    now: int, last: int | None, since: int, seen: int, gap: int
) -> None:
    assert judged(now, last_at=last, listening_since=since, seen=seen, usual_gap=gap) == Quiet()


@given(times, times, lengths, st.integers(0, 100), st.integers(0, 60 * DAY))
def test_what_is_expected_counts_from_the_last_that_came_and_not_before_it_could_be_known(
    last: int, since: int, every: int, seen: int, gap: int
) -> None:
    due = max(last, since) + every

    def at(now: int) -> Quiet:
        return judged(now, last_at=last, listening_since=since, seen=seen, usual_gap=gap, expect_every=every)

    assert at(due).since is None, "activity is written down twice a minute only"
    assert at(due + MINUTE).since == due + MINUTE
    assert at(due).look_at == due + MINUTE
    assert at(due + MINUTE).look_at is None


@given(times, st.integers(20, 1000), st.integers(0, 60 * DAY))
def test_a_learned_cadence_allows_three_times_the_usual_gap_and_an_hour_at_least(
    last: int, seen: int, gap: int
) -> None:
    allowed = 3 * gap if 3 * gap > HOUR else HOUR
    before = judged(last + allowed + MINUTE - 1, last_at=last, seen=seen, usual_gap=gap)
    after = judged(last + allowed + MINUTE, last_at=last, seen=seen, usual_gap=gap)
    assert (before.since, after.since) == (None, last + allowed + MINUTE)


@given(times, lengths, times, times)
def test_why_is_the_same_for_as_long_as_nothing_comes(last: int, every: int, one: int, other: int) -> None:
    over = last + every + MINUTE
    first = judged(over + one, last_at=last, expect_every=every)
    assert first == judged(over + other, last_at=last, expect_every=every)
    assert first.because


@pytest.mark.parametrize(
    ("every", "told"), [(90_000, "90s"), (HOUR, "1h"), (26 * HOUR, "26h"), (7 * DAY, "7d")]
)
def test_it_says_what_was_expected(every: int, told: str) -> None:
    because = judged(100 * DAY, last_at=0, expect_every=every).because
    assert because == f"nothing came within {told}, as expect_every= says it must"


# --- what jobs say


def job_of(number: int, every: timedelta | None, *, enabled: bool = True) -> Job:
    async def job(payload: dict[str, Any]) -> None: ...

    repo = "acme/web" if number % 2 else "acme/docs"
    marked = trigger(github.push(repo=repo), id=f"job{number}", expect_every=every, enabled=enabled)(job)
    mark = mark_of(marked)
    assert mark is not None
    return build_job(marked, mark, given={})


expectations = st.lists(
    st.tuples(st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=9)), st.booleans())
)


@settings(max_examples=20)
@given(expectations)
def test_the_shortest_time_that_an_enabled_job_of_a_webhook_expects_is_wanted(
    said: list[tuple[timedelta | None, bool]],
) -> None:
    jobs = {f"job{n}": job_of(n, every, enabled=enabled) for n, (every, enabled) in enumerate(said)}
    for want in wants_of(jobs):
        mine = [
            every // timedelta(milliseconds=1)
            for n, (every, enabled) in enumerate(said)
            if every is not None and enabled and want.key == ("repo:acme/web" if n % 2 else "repo:acme/docs")
        ]
        assert want.expect_every == (min(mine) if mine else None)


def test_what_comes_is_written_down_too_seldom_for_less_than_a_minute() -> None:
    with pytest.raises(SetupError, match="a minute or more"):
        trigger(github.push(repo="acme/web"), expect_every=timedelta(seconds=59))
