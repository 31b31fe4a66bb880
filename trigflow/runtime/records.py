"""What is stored, as values: one class per table, no behaviour.

Times are unix milliseconds. JSON is kept as text (bytes). Names of columns and
of attributes are the same words. What is made for each event is a msgspec struct:
one is made in a tenth of the time of a frozen attrs class.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from trigflow.core.runs import Final
from trigflow.runtime.subscription_records import (
    ANY as ANY,
    FAILS as FAILS,
    TAKES_NOTHING as TAKES_NOTHING,
    Activity as Activity,
    AlertRow as AlertRow,
    AuditEntry as AuditEntry,
    Connection as Connection,
    ConnectionState as ConnectionState,
    Coverage as Coverage,
    Endpoint as Endpoint,
    Listened as Listened,
    QuietPeriod as QuietPeriod,
    Recovery as Recovery,
    RegistrationAttempt as RegistrationAttempt,
    StoredKey as StoredKey,
    Subscriber as Subscriber,
    SubscriberOf as SubscriberOf,
    Subscription as Subscription,
    SubscriptionState as SubscriptionState,
    Want as Want,
    Which as Which,
)

DeliveryOutcome = Literal["accepted", "duplicate", "handshake", "ignored", "rejected", "failed"]
# What is kept for a time of its own; "processes" are those that are gone.
# "removed" are endpoints and subscriptions.
Kind = Literal[
    "runs", "noise", "deliveries", "bodies", "registrations", "recoveries", "audit", "removed", "processes",
    "dedupe",
]  # fmt: skip
NOISE: tuple[DeliveryOutcome, ...] = ("rejected", "ignored", "handshake", "duplicate")


# --- the engine's rows, executed by the store inside its own transaction


class Enqueue(msgspec.Struct, frozen=True, gc=False):
    """Put a run into the queue; `owner` is the process that takes it at once, if any.

    held: nobody takes it before its subscription is resumed.
    """

    run_id: str
    due_at: int
    priority: int
    owner: str | None = None
    held: bool = False


class Dequeue(msgspec.Struct, frozen=True, gc=False):
    """Take a run out of the queue whoever has it."""

    run_id: str


Statement: TypeAlias = Enqueue | Dequeue


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A process's hold on a run.

    fence: grows with every hand-over. starts: how often it was begun since somebody
    gave it back; more than one means that a process died with it. orphan: it was
    taken over from a process that is gone, and this start is not counted yet.
    attempts: how many attempts failed before this one.
    """

    run_id: str
    fence: int = 0
    starts: int = 1
    attempts: int = 0
    priority: int = 0
    orphan: bool = False


# --- intake


class NewRun(msgspec.Struct, frozen=True, gc=False):
    """A run to be stored, with the statements that hand it to the engine."""

    id: str
    job: str
    due_at: int
    statements: tuple[Statement, ...]
    version: str = ""
    replay_of: str | None = None


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to be stored unless (subscription, event_id) is known.

    payload: None where it is the delivery's own body.
    subscription_id: None where it is the delivery's own.
    sealed: the payload is encrypted.
    subscriber: who subscribed at run time, as JSON text of SubscriberOf; None for triggers in code.
    """

    id: str
    event_id: str
    name: str
    at: int | None
    payload: bytes | None
    context: bytes | None
    runs: tuple[NewRun, ...]
    subscription_id: str | None = None
    sealed: bool = False
    subscriber: bytes | None = None
    dedupe_id: str | None = None  # where several events share the provider's id: one for each subscriber


class Update(msgspec.Struct, frozen=True, gc=False):
    """What a delivery says of a subscription itself.

    activates: it was verified, so a pending subscription works.
    state, cause: the provider's signal, if there was one. gone: what was
        registered no longer exists there. asked: what is to be done at the next look.
    accounts: which accounts our app may act for has changed; a store keeps nothing of it.
    """

    subscription_id: str
    fetches: tuple[str, ...] = ()
    metadata: bytes | None = None
    activates: bool = False
    state: SubscriptionState | None = None
    cause: str = ""
    gone: bool = False
    asked: str = ""
    accounts: bool = False

    @property
    def says_something(self) -> bool:
        """Tell whether there is anything to write or to do."""
        return (
            self.activates or self.accounts or bool(self.fetches or self.cause) or self.metadata is not None
        )


class NewDelivery(msgspec.Struct, frozen=True, gc=False):
    """A request and what it said, to be stored in one transaction.

    subscription_id: None where it is for none, or for several.
    sealed: the body is encrypted.
    waits_for: accounts that are not known yet; it is found by them once they are.
    """

    id: str
    endpoint_id: str
    subscription_id: str | None
    received_at: int
    outcome: DeliveryOutcome
    cause: str
    status: int
    method: str
    headers: bytes
    body: bytes
    trace: bytes | None = None
    events: tuple[NewEvent, ...] = ()
    updates: tuple[Update, ...] = ()
    sealed: bool = False
    key_serial: int | None = None  # of the key that verified it
    waits_for: tuple[str, ...] = ()


class WaitedFor(msgspec.Struct, frozen=True):
    """What a look at the accounts that are waited for has found.

    known: those that have a subscription now, as (endpoint id, account). after: where to look on;
    None at the end.
    """

    known: tuple[tuple[str, str], ...]
    after: tuple[str, str] | None


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """What became of a delivery: the numbers of its events that were known already."""

    outcome: DeliveryOutcome
    duplicates: frozenset[int] = frozenset()


# --- runs


class KeptTask(msgspec.Struct, frozen=True, gc=False):
    """A task's kept result, or its last failed attempt and when it may be tried again."""

    key: str
    state: Literal["succeeded", "failed", "waiting"]
    attempt: int
    result: bytes | None
    error: str | None
    started_at: int
    ended_at: int
    retry_at: int | None = None


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """A line that a job wrote."""

    at: int
    level: str
    message: str
    fields: bytes | None


class LoadedRun(msgspec.Struct, frozen=True, gc=False):
    """Everything that an attempt needs; a sealed text is encrypted."""

    id: str
    job: str
    created_at: int
    replay_of: str | None
    event_row: str
    event_id: str
    event_name: str
    event_at: int | None
    context: bytes | None
    text: bytes
    delivery_id: str
    subscription_id: str
    tasks: tuple[KeptTask, ...] = ()
    sealed: bool = False
    subscriber: bytes | None = None


class Finish(msgspec.Struct, frozen=True, gc=False):
    """How a run ended."""

    state: Final
    result: bytes | None
    error: str | None
    ended_at: int
    attempts: int


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try at a run that did not end it."""

    number: int
    started_at: int
    ended_at: int
    error: str


# --- retention


class Old(msgspec.Struct, frozen=True):
    """Rows that may go, found by one look.

    names: what each is called, by one text or two. after: where to look on; None at the end.
    """

    names: tuple[tuple[str, ...], ...]
    after: str | None
