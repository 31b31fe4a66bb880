"""What is stored of endpoints, subscriptions, subscribers, connections and of how they do, as values.

Times are unix milliseconds. JSON is kept as text (bytes). Names of columns and of
attributes are the same words. Others import these through `trigflow.runtime.records`.
"""

from __future__ import annotations

from typing import Literal

import attrs
import msgspec

SubscriptionState = Literal[
    "pending", "active", "paused", "silent", "failing", "expired", "disabled", "removed"
]
TAKES_NOTHING: tuple[SubscriptionState, ...] = ("removed",)
FAILS: tuple[SubscriptionState, ...] = ("failing", "expired", "disabled")
Coverage = Literal["events", "all", "unknown"]


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


class Which(msgspec.Struct, frozen=True):
    """Which subscriptions are meant; None: whatever it is. called: an id or a key, as it is written."""

    called: str | None = None
    connection: str | None = None
    source: str | None = None
    state: SubscriptionState | None = None


ANY = Which()


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
    outcome: Literal["done", "refused", "failed", "quiet"]
    error: str
    at: int
    took_ms: int


class Listened(msgspec.Struct, frozen=True):
    """The time in which some process took deliveries all along; until: its last sign of life."""

    since: int
    until: int


class QuietPeriod(msgspec.Struct, frozen=True):
    """A time in which nobody calls a provider through a connection, because it asked for that.

    until: unix ms, after the end. cause: what it said.
    """

    connection: str
    until: int
    cause: str


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
    expect_every: milliseconds in which something must come, if whoever subscribed said so.
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
    expect_every: int | None = None

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
