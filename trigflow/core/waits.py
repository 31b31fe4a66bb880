"""How long to wait after a provider refused, and whether a person is needed. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from trigflow.core.errors import (
    ApiError,
    NotFound,
    RateLimited,
    RefusedForNow,
    SetupError,
    TrigflowError,
    Unauthorized,
)

FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
TRANSIENT = frozenset({0, 408, 409, 423, 425, 429})  # and every 5xx


class Refusal(msgspec.Struct, frozen=True):
    """What a failed call means.

    until: unix seconds; not tried again before. outcome: "refused" for what stays so until
    something changes, "failed" for what may pass. needs_person: nothing will come of waiting.
    """

    until: float
    outcome: Literal["refused", "failed"]
    needs_person: bool = False


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may work later without anybody doing anything."""
    if isinstance(error, RateLimited | RefusedForNow):
        return True
    if isinstance(error, ApiError):
        return error.status in TRANSIENT or error.status >= 500
    return not isinstance(error, TrigflowError)  # a connection that broke, a bug that may be mended


def refusal_of(error: Exception, failures: int, *, now: float, chance: float) -> Refusal:
    """Judge a failed call; `failures` came before it in a row, `chance` is from 0 to 1.

    Waits double from 10 s to an hour, spread by a quarter to both sides. A time that
    the provider named is kept, and never cut short.
    """
    wait = min(FIRST_WAIT * 2 ** min(failures, 20), LONGEST_WAIT).total_seconds()
    until = now + wait * (0.75 + 0.5 * chance)
    named = getattr(error, "until", None)
    if named is not None:
        until = max(until, named.timestamp())
    if is_transient(error):
        return Refusal(until, "failed")
    person = isinstance(error, Unauthorized | NotFound | SetupError)
    return Refusal(until, "refused", needs_person=person)
