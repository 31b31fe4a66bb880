"""How long to wait after a provider refused, and whether a person is needed. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from trigflow.core.alerts import GIVEN_UP
from trigflow.core.errors import (
    ApiError,
    Forbidden,
    NotConnected,
    NotFound,
    RateLimited,
    RefusedForNow,
    SetupError,
    TrigflowError,
    Unauthorized,
)

FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
UNNAMED_QUIET = timedelta(minutes=1)  # what GitHub advises where its answer names no time
LONGEST_QUIET = timedelta(days=1)
MOST_QUIET = LONGEST_QUIET + timedelta(minutes=1)  # with its chance; what lasts longer is of a wrong clock
ENDS_SOON = timedelta(hours=6)  # a lease that does is looked after before all else: many may be overdue
GENTLY = timedelta(seconds=30)  # after a quiet period few call at first: all have waited for that moment
TRANSIENT = frozenset({0, 408, 409, 423, 425, 429})  # and every 5xx


class Refusal(msgspec.Struct, frozen=True):
    """What a failed call means.

    until: unix seconds; not tried again before. outcome: "refused" for what stays so until
    something changes, "failed" for what may pass. needs_person: nothing will come of waiting.
    blames: what is wrong with the credentials that it was called with, the same for all who share
        them; empty where nothing is.
    """

    until: float
    outcome: Literal["refused", "failed"]
    needs_person: bool = False
    blames: str = ""


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may work later without anybody doing anything."""
    if isinstance(error, RateLimited | RefusedForNow):
        return True
    if isinstance(error, ApiError):
        return error.status in TRANSIENT or error.status >= 500
    return not isinstance(error, TrigflowError)  # a connection that broke, a bug that may be mended


def quiet_until(error: Exception, *, now: float, chance: float) -> float | None:
    """Tell until when (unix seconds) nobody calls through a connection after such an answer.

    None where it says nothing of other calls. The moment that a provider named is never cut
    short, but at LONGEST_QUIET: whoever asks for more has a wrong clock. A little later, by
    `chance` (0 to 1): others that share the account wait for the same moment.
    """
    if not isinstance(error, ApiError) or (error.status != 429 and not isinstance(error, RateLimited)):
        return None
    named = error.until.timestamp() if isinstance(error, RateLimited) else now + UNNAMED_QUIET.total_seconds()
    wait = min(max(named - now, 1.0), LONGEST_QUIET.total_seconds())
    return now + wait + min(wait * 0.1, 10.0) * chance


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
    return Refusal(until, "refused", needs_person=person, blames=_blame_of(error))


def _blame_of(error: Exception) -> str:
    """Say what an error tells of the credentials: neither the place nor the call."""
    if isinstance(error, NotConnected):
        return GIVEN_UP
    if isinstance(error, Forbidden):
        return f"they lack {' or '.join(sorted(error.needs))}" if error.needs else ""
    return "the provider refuses them" if isinstance(error, Unauthorized) else ""
