"""What is stored, as values: one class per table, no behaviour.

Times are unix milliseconds. JSON is kept as text (bytes). Names of columns and
of attributes are the same words. What is made for each event is a msgspec struct:
one is made in a tenth of the time of a frozen attrs class.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs
import msgspec

from trigflow.core.runs import Final

DeliveryOutcome = Literal["accepted", "duplicate", "handshake", "ignored", "rejected", "failed"]
SubscriptionState = Literal[
    "pending", "active", "paused", "silent", "failing", "expired", "disabled", "removed"
]
TAKES_NOTHING: tuple[SubscriptionState, ...] = ("disabled", "removed")
Coverage = Literal["events", "all", "unknown"]
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
    """

    subscription_id: str
    fetches: tuple[str, ...] = ()
    metadata: bytes | None = None
    activates: bool = False
    state: SubscriptionState | None = None
    cause: str = ""
    gone: bool = False
    asked: str = ""

    @property
    def says_something(self) -> bool:
        """Tell whether there is anything to write."""
        return self.activates or bool(self.fetches or self.cause) or self.metadata is not None


class NewDelivery(msgspec.Struct, frozen=True, gc=False):
    """A request and what it said, to be stored in one transaction.

    subscription_id: None where it is for none, or for several.
    sealed: the body is encrypted.
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


# --- subscriptions


@attrs.frozen
class StoredKey:
    """One key of an endpoint, sealed.

    created_at: when we began to accept it. used_at: about when it first verified a delivery.
    data: of the webhook that signs with it, where that is another one than the subscription's:
        it is stopped when the key goes.
    """

    serial: int
    sealed: bytes = attrs.field(repr=False)
    valid_until: int | None = None
    created_at: int = 0
    used_at: int | None = None
    data: bytes | None = None


@attrs.frozen
class Subscription:
    """A source as registered for one key and one connection.

    registered: names told to the provider. next_at: not looked at before; 0 is at once.
    asked: what a person, or a signal, wants done at the next look: "rotate", "renew", "recover".
    last_at: about when the last verified delivery came. seen: how many came.
    usual_gap: about the longest time between two of them, recent ones counting most.
    """

    id: str
    endpoint_id: str
    source: str
    key: str
    connection: str
    params: bytes
    data: bytes | None = None
    registered: tuple[str, ...] = ()
    coverage: Coverage = "events"
    state: SubscriptionState = "pending"
    cause: str = ""
    account: str | None = None
    metadata: bytes | None = None
    lease_until: int | None = None
    failures: int = 0
    next_at: int = 0
    created_at: int = 0
    updated_at: int = 0
    leased_at: int | None = None
    asked: str = ""
    last_at: int | None = None
    seen: int = 0
    usual_gap: int = 0

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is for: source, key, connection."""
        return (self.source, self.key, self.connection)


@attrs.frozen
class Endpoint:
    """A URL of ours, with its keys and those of the subscriptions behind it that were asked for.

    keys: the newest first. shared_key: where it is one for all accounts of our app at the
    provider, the key of the source that it is for. removed_at: since when it is removed.
    """

    id: str
    token: str = attrs.field(repr=False)
    source: str
    state: Literal["pending", "active", "removed"]
    facts: bytes
    keys: tuple[StoredKey, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    shared_key: str | None = None
    removed_at: int | None = None


class Want(msgspec.Struct, frozen=True):
    """Events that one process's jobs, or all that subscribed at run time, want from a source.

    expect_every: milliseconds in which something must come, if a job says so.
    """

    source: str
    key: str
    connection: str
    params: bytes
    events: tuple[str, ...]
    expect_every: int | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is for: source, key, connection."""
        return (self.source, self.key, self.connection)


class Activity(msgspec.Struct, frozen=True):
    """Verified deliveries for a subscription since it was last noted.

    gap: the longest time between two of them, milliseconds; 0 for one alone.
    """

    subscription_id: str
    first_at: int
    last_at: int
    count: int
    gap: int
    endpoint_id: str
    key_serials: frozenset[int] = frozenset()


class RegistrationAttempt(msgspec.Struct, frozen=True):
    """One call of a provider to bring a subscription in line."""

    id: str
    subscription_id: str
    action: str
    reason: str
    outcome: Literal["done", "refused", "failed"]
    error: str
    at: int
    took_ms: int


class Recovery(msgspec.Struct, frozen=True):
    """One reading of a provider's own log: a stretch of a subscription's coverage.

    since, until: the time that was read. received: deliveries of that time that had come by
    themselves. recovered: new events. lost: what the log has no content of any more.
    """

    id: str
    subscription_id: str
    since: int
    until: int
    received: int
    recovered: int
    lost: int
    error: str
    at: int


# --- who subscribed at run time


class SubscriberOf(msgspec.Struct, frozen=True):
    """What an event says of the subscriber that it is for."""

    dynamic: str
    key: str
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class Subscriber(msgspec.Struct, frozen=True):
    """One who subscribed at run time: (dynamic, key) is unique.

    metadata: JSON text. filter: what of the events is meant, as JSON text; None: all of them.
    """

    dynamic: str
    key: str
    source: str
    source_key: str
    connection: str
    params: bytes
    events: tuple[str, ...]
    metadata: bytes = b"null"
    created_at: int = 0
    filter: bytes | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """The subscription that its events come from."""
        return (self.source, self.source_key, self.connection)


# --- connections

ConnectionState = Literal["good", "reauthorize"]


@attrs.frozen
class Connection:
    """One account's credentials, sealed.

    ref: "github" for an integration's default one, else "github/name".
    kind: of the Auth that they were given by. account: the provider's id of it.
    missing: scopes that are needed and not granted. expires_at: of the current token.
    refresh_at: when a new one is made; None where none is needed.
    """

    ref: str
    integration: str
    kind: str
    sealed: bytes = attrs.field(repr=False)
    account: str | None = None
    label: str = ""
    state: ConnectionState = "good"
    cause: str = ""
    missing: tuple[str, ...] = ()
    expires_at: int | None = None
    refresh_at: int | None = None
    checked_at: int = 0
    created_at: int = 0
    updated_at: int = 0


# --- what people must hear of, and what they did


class AlertRow(msgspec.Struct, frozen=True):
    """Something that is wrong, told once. subject: such as "subscription sub_…"."""

    subject: str
    cause: str
    since: int
    told_at: int | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """What somebody did, and when; no secret is in it."""

    at: int
    who: str
    what: str
    subject: str
    detail: str = ""
