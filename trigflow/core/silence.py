"""When a subscription has been silent for too long. Pure: takes the time as an argument.

    last delivery ──── allowed ────> deadline ── nothing came ──> silent
                          │
                          └─ what a job says (`expect_every=`), else far longer than usual

Who was never told how often something comes, and has seen too little to know, judges nothing.
Times and lengths are unix milliseconds and milliseconds.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from trigflow.core.durations import shown_duration
from trigflow.core.errors import SetupError

LEAST_EXPECTED = timedelta(minutes=1)  # what came is written down twice a minute
LEAST_SEEN = 20  # deliveries until a cadence counts as learned
USUAL_TIMES = 3  # times the usual gap that may pass
LEAST_LEARNED = 3_600_000  # one hour; a learned cadence never judges earlier
WRITTEN_LATE = 60_000  # activity is written down twice a minute: what came may not be known yet


def check_expected(every: object) -> None:
    """Refuse a time that nothing can be expected in."""
    if not isinstance(every, timedelta):
        raise SetupError(f"expect_every is {every!r}; give a timedelta, such as timedelta(hours=24)")
    if every < LEAST_EXPECTED:
        raise SetupError(f"expect_every is {every}; give a minute or more")


class Quiet(msgspec.Struct, frozen=True):
    """What is thought of a subscription that nothing comes for.

    since: the moment from which on it counts as silent; None where it is not.
    because: in words, the same for as long as nothing comes; empty where it is not silent.
    look_at: when it may have become silent; None where nothing tells, or it is already.
    """

    since: int | None = None
    because: str = ""
    look_at: int | None = None


def silent_since(
    *,
    now: int,
    last_at: int | None,
    listening_since: int,
    seen: int,
    usual_gap: int,
    expect_every: int | None,
) -> Quiet:
    """Judge a subscription by what came last.

    last_at: the last verified delivery. listening_since: since when something could come:
        it was registered, and we were there.
    seen, usual_gap: how many came so far, and about the longest time between two.
    expect_every: the time in which something must come, if a job says so.
    """
    allowed, because = _allowed(seen, usual_gap, expect_every)
    if allowed is None:
        return Quiet()
    deadline = max(last_at or 0, listening_since) + allowed + WRITTEN_LATE
    return Quiet(deadline, because) if now >= deadline else Quiet(look_at=deadline)


def _allowed(seen: int, usual_gap: int, expect_every: int | None) -> tuple[int | None, str]:
    if expect_every is not None:
        return expect_every, f"nothing came within {_told(expect_every)}, as expect_every= says it must"
    if seen < LEAST_SEEN:
        return None, ""
    allowed = max(USUAL_TIMES * usual_gap, LEAST_LEARNED)
    return allowed, f"nothing came for {_told(allowed)}, which is far longer than usual"


def _told(milliseconds: int) -> str:
    """Return a length as people write it, to two digits or so: 90s, 26h, 3d."""
    seconds = max(milliseconds // 1000, 1)
    for unit in (86_400, 3_600, 60):
        if seconds >= 2 * unit:
            seconds -= seconds % unit
            break
    return shown_duration(timedelta(seconds=seconds))
