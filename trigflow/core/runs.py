"""A run's states, and the only ways between them.

    queued ──> running ──> succeeded
      │ ^        │ │ └───> failed
      │ └──retry─┘ ├─────> skipped      (`where` said no)
      │            └─────> waiting ──> running
      ├──> held ──> queued              (a limit)
      └──> cancelled                    (from every state that is not final)

A run's state is not stored: it follows from what is there. A finish row says
how it ended; else its place in the queue says whether it runs, waits or is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, cast

import attrs
import msgspec

from trigflow.core.redact import redacted_text

State = Literal["queued", "held", "running", "waiting", "succeeded", "failed", "skipped", "cancelled"]
Final = Literal["succeeded", "failed", "skipped", "cancelled"]
FINAL: frozenset[State] = frozenset({"succeeded", "failed", "skipped", "cancelled"})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    "queued": frozenset({"running", "held", "cancelled"}),
    "held": frozenset({"queued", "cancelled"}),
    "running": frozenset({"succeeded", "failed", "skipped", "waiting", "queued", "cancelled"}),
    "waiting": frozenset({"running", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "skipped": frozenset(),
    "cancelled": frozenset(),
}


class Place(msgspec.Struct, frozen=True):
    """A run's row in the queue.

    due_at: unix milliseconds. owner: the process that runs it, if any.
    starts: how often it was handed to a process.
    """

    due_at: int
    owner: str | None
    starts: int
    waits: bool = False
    held: bool = False


def state_of(finished: Final | None, place: Place | None) -> State:
    """Tell a run's state from what is stored about it.

    A run that is neither finished nor in the queue was lost by somebody who
    edited the store; it counts as cancelled.
    """
    if finished is not None:
        return finished
    if place is None:
        return "cancelled"
    if place.held:
        return "held"
    if place.owner is not None:
        return "running"
    return "waiting" if place.waits else "queued"


@attrs.frozen
class Run:
    """The run that a job is called for.

    attempt: counts from 1. event: the provider's id of what started it.
    replay_of: the run that this one repeats, if a person asked for it.
    """

    id: str
    job: str
    attempt: int
    event: str
    created_at: datetime
    replay_of: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why something failed, for people: class and text, without a traceback's paths."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException, *, scrub: Callable[[str], str] = redacted_text) -> Failure:
        """Describe an exception; the first real one of a group. Its text is scrubbed, then shortened."""
        while isinstance(error, BaseExceptionGroup):  # never empty
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        return cls(type(error).__name__, scrub(str(error))[:2000])

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind
