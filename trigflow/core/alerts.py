"""An alert: something that turned unhealthy or needs a person, told once. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

import attrs

# Moments, then numbers that stand alone. A status of the fours says what is wrong: it stays.
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
_ZONE = r"( ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2}))?"
_MOMENT = re.compile(rf"\b([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_CLOCK})?|{_CLOCK}){_ZONE}")
_NUMBER = re.compile(r"(?<![\w./:-])(?!4[0-9]{2}(?!\w))[0-9]+([.][0-9]+)?(?![\w/:-]|[.][0-9])")
LONGEST = 500  # characters
GIVEN_UP = "they were given up"  # which is told of the connection itself


@attrs.frozen
class Alert:
    """Something that is wrong.

    subject: such as "subscription sub_…". about: the same for people, such as
        "github.webhook repo:acme/web"; "" where the subject says it all.
    cause: why. action: what to do. at: since when (aware, UTC).
    """

    subject: str
    cause: str
    action: str
    at: datetime
    about: str = ""


AlertSink: TypeAlias = Callable[[Alert], Awaitable[None] | None]


def blamed_subject(connection: str) -> str:
    """Name what a refusal of a connection's credentials is told of."""
    return f"credentials of {connection}"


def blaming(connection: str, cause: str, told: str) -> str:
    """Return the cause of a subscription that can't be registered because of its connection's credentials.

    cause: the same for all that share the connection; told: what the provider said to this one.
    """
    return f"{blamed_subject(connection)}: {stable_cause(cause).replace(';', ',')}; {told}"


def blamed_in(connection: str, cause: str) -> str:
    """Return the cause that `blaming` put in front; empty where the credentials are not blamed."""
    start = f"{blamed_subject(connection)}: "
    return cause[len(start) :].partition("; ")[0] if cause.startswith(start) else ""


def stable_cause(cause: str) -> str:
    """Return a cause without times and counters, so that one that goes on is told once."""
    text = _NUMBER.sub("…", _MOMENT.sub("…", " ".join(cause.split())))
    return text[:LONGEST]
