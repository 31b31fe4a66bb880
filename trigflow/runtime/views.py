"""What people look at: rows of lists, and one run with everything that happened in it."""

from __future__ import annotations

import attrs

from trigflow.core.runs import State
from trigflow.runtime import records as r


@attrs.frozen
class DeliveryRow:
    """A delivery in the request log; a sealed one's body is encrypted.

    key_serial: of the endpoint's key that verified it.
    """

    id: str
    endpoint_id: str
    source: str
    subscription_id: str | None
    received_at: int
    outcome: r.DeliveryOutcome
    cause: str
    status: int
    method: str
    headers: bytes
    trace: bytes | None
    events: int
    runs: int
    sealed: bool = False
    key_serial: int | None = None


@attrs.frozen
class EventRow:
    """An event; a sealed one's payload is encrypted. subscriber: JSON text of SubscriberOf, if it has one."""

    id: str
    event_id: str
    name: str
    at: int | None
    subscription_id: str
    delivery_id: str
    sealed: bool = False
    subscriber: bytes | None = None


@attrs.frozen
class RunRow:
    """A run in a list. subscriber: of its event, as JSON text of SubscriberOf, if it has one."""

    id: str
    job: str
    state: State
    event_id: str
    event_name: str
    delivery_id: str
    created_at: int
    ended_at: int | None
    attempts: int
    error: str | None
    replay_of: str | None
    subscriber: bytes | None = None


@attrs.frozen
class RunDetail:
    """A run with everything that happened in it."""

    row: RunRow
    result: bytes | None
    tasks: tuple[r.KeptTask, ...]
    attempts: tuple[r.Attempt, ...]
    logs: tuple[r.LogLine, ...]
