"""What the paths need from a store, an engine and a clock.

A Protocol stands here only where two implementations exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self, TypeAlias

import anyio
import msgspec

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime import views as v


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> float:
        """Return unix seconds."""
        ...

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        """Return when the event is set, or at `until` (unix seconds)."""
        ...


class Intake(Protocol):
    """Where deliveries, events and new runs are kept."""

    async def accept(
        self, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted:
        """Keep a delivery, its unknown events and their runs in one transaction.

        Returns after the commit. `then` is called right after it, also where the
        caller was cancelled meanwhile: a sender that hangs up must not part the
        commit from the start of its runs. It may be called outside any task, where
        nothing can be awaited or started. Raises StoreUnavailable where nothing
        was kept.
        """
        ...

    def note(self, delivery: r.NewDelivery) -> None:
        """Keep a delivery that starts nothing; nobody waits for it and it may be lost."""
        ...

    async def replay(self, event_row: str, run: r.NewRun, *, at: int) -> bool:
        """Start a run for a kept event; False where it, or its payload, is no longer kept."""
        ...


class Runs(Protocol):
    """Where a run's progress is kept.

    Writes of a lost claim return False and change nothing. A write that was asked
    for is carried out, whether or not the caller is cancelled while it waits.
    """

    async def load(self, run_id: str) -> r.LoadedRun | None:
        """Load what an attempt needs; None where the run or its payload is gone."""
        ...

    async def begin(self, claim: r.Claim) -> int | None:
        """Count a start of an orphan and return how many there were; None where the claim is lost."""
        ...

    async def keep_task(self, claim: r.Claim, task: r.KeptTask, logs: Sequence[r.LogLine]) -> bool:
        """Keep a task's result or failed attempt, and the lines written until then."""
        ...

    async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
        """End a run for good."""
        ...

    async def again(
        self, claim: r.Claim, attempt: r.Attempt | None, logs: Sequence[r.LogLine], *, due_at: int
    ) -> bool:
        """Give a run back to the queue; with an attempt it is a retry, without one it waits."""
        ...

    async def cancel(self, run_id: str, statements: Sequence[r.Statement], *, at: int) -> bool:
        """End a run that has not ended yet as cancelled; False where it has."""
        ...


class Queue(Protocol):
    """The embedded engine's table: who runs what now."""

    async def take(self, owner: str, *, now: int, limit: int, alive_since: int) -> Sequence[r.Claim]:
        """Claim due runs that nobody has, or whose owner's last beat is before `alive_since`."""
        ...

    async def beat(self, owner: str, *, now: int) -> None:
        """Say that a process lives."""
        ...

    async def leave(self, owner: str) -> None:
        """Say that a process has ended; what it still holds is free."""
        ...

    async def holds(self, claim: r.Claim) -> bool:
        """Tell whether a claim is still good."""
        ...

    async def next_due(self) -> int | None:
        """Tell when the next unclaimed run is due."""
        ...

    def glance(self) -> int | None:
        """Return a number that changes when anybody writes; None where nobody else can, or it can't be told.

        Cheap enough to be asked ten times a second on the loop; it never raises.
        """
        ...


class Registry(Protocol):
    """Where endpoints, subscriptions and wants are kept."""

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        """Find endpoints by the random parts of their URLs; what there is none for is left out.

        Each has its keys and, of its subscriptions, the first and the first that takes
        deliveries: one or two. The others are not read, however many there are. A removed
        endpoint is found, too, without subscriptions.
        """
        ...

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        """Find the subscriptions that take deliveries, by endpoint id and account; no others are read.

        What there is none for is left out.
        """
        ...

    async def endpoints_for(self, identities: Collection[Identity]) -> Mapping[Identity, r.Endpoint]:
        """Find subscriptions by what they are for: each endpoint has its keys and that subscription alone."""
        ...

    async def subscription(self, subscription_id: str) -> r.Subscription | None:
        """Return a subscription that is not removed."""
        ...

    async def token_of(self, endpoint_id: str) -> str | None:
        """Return the random part of an endpoint's URL; None where the endpoint is gone."""
        ...

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed, with all subscriptions; for tests and small stores."""
        ...

    async def page(self, *, after: str = "", limit: int) -> Sequence[r.Endpoint]:
        """Return subscriptions that are not removed by id, those after one of them: as `endpoints_for`."""
        ...

    async def due(self, *, now: int, limit: int) -> Sequence[r.Endpoint]:
        """Return subscriptions to be looked at by now, the longest due first: as `endpoints_for`."""
        ...

    async def next_look(self) -> int | None:
        """Tell when the next subscription is to be looked at."""
        ...

    async def look_soon(self, identities: Collection[Identity]) -> None:
        """Have subscriptions looked at at once: `next_at` becomes less than it was, and less than 0."""
        ...

    async def sources(self) -> Collection[str]:
        """Return the ids of the sources that have an endpoint, removed ones that are still kept, too."""
        ...

    async def create_subscriptions(self, pairs: Sequence[tuple[r.Endpoint, r.Subscription]]) -> None:
        """Keep subscriptions with their endpoints in one transaction, but none of an identity that is kept.

        Where the endpoint is shared and one of its source and shared key is kept, the
        subscription goes behind that one.
        """
        ...

    async def save_subscription(
        self,
        subscription: r.Subscription,
        *,
        was: r.Subscription | None = None,
        sealed_key: bytes | None = None,
    ) -> None:
        """Replace a subscription's row but for metadata and activity; with a key, make it the only one.

        was: as it was read; what others have changed since stays (`trigflow.runtime.merging`).
        What is removed meanwhile stays so, and nothing is written.
        """
        ...

    async def add_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> int:
        """Keep a further, newer key of an endpoint; return its serial. The others stay valid."""
        ...

    async def save_rotated(
        self,
        subscription: r.Subscription,
        sealed_key: bytes,
        *,
        was: r.Subscription | None = None,
        old_webhook: bytes | None,
        at: int,
    ) -> None:
        """Replace a row as `save_subscription` does and add a newer key, at once.

        old_webhook: data of the webhook that signs with the key that was the newest.
        """
        ...

    async def ask(self, subscription_id: str, what: str) -> None:
        """Have "rotate", "renew" or "recover" done for a subscription at once, and what was asked before."""
        ...

    async def look_again(self, subscription_id: str, *, at: int, was: int) -> None:
        """Say when a subscription is looked at next, unless `next_at` is not what it was."""
        ...

    async def keep_webhook(self, endpoint_id: str, serial: int, data: bytes | None) -> None:
        """Keep with a key that another webhook than the subscription's signs with it; None: none does now."""
        ...

    async def retire_keys(self, endpoint_id: str, serials: Collection[int]) -> None:
        """Take keys away."""
        ...

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake; False unless the endpoint is pending and has none."""
        ...

    async def set_lease(self, endpoint_id: str, *, at: int, until: int) -> None:
        """Keep how long a provider keeps an endpoint's subscriptions, as a handshake told."""
        ...

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed, and its endpoint if it was the last.

        Where somebody subscribed to it meanwhile, it stays instead, as if it was never
        registered, and is looked at at once.
        """
        ...

    async def release_held(self, subscription_id: str) -> int:
        """Let the held runs of a subscription's events be taken; return how many there were."""
        ...

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register; False where another process has it."""
        ...

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        ...

    async def put_wants(self, owner: str, wants: Sequence[r.Want], *, at: int) -> None:
        """Replace what one process wants."""
        ...

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        ...

    async def wanted(self, identities: Collection[Identity], *, since: int) -> Mapping[Identity, r.Want]:
        """Return what processes (not older than `since`) and subscribers want together, by identity.

        Events are united; of `expect_every` the shortest counts.
        """
        ...

    async def log_registration(self, attempt: r.RegistrationAttempt) -> None:
        """Keep an attempt at registering."""
        ...

    async def registrations(self, subscription_id: str) -> Sequence[r.RegistrationAttempt]:
        """Return a subscription's attempts, newest first."""
        ...


class Subscribers(Protocol):
    """Where those are kept who subscribed at run time."""

    async def subscribe(
        self, subscriber: r.Subscriber, endpoint: r.Endpoint, subscription: r.Subscription, *, most: int
    ) -> bool:
        """Keep a subscriber, in place of one of the same (dynamic, key), with its subscription, all at once.

        The subscription (and the one that the subscriber left, if any) is looked at at once.
        False, and nothing kept, where it would be one more than `most` for its connection.
        """
        ...

    async def unsubscribe(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Forget a subscriber and have its subscription looked at; None where there is none."""
        ...

    async def subscriber(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Return one."""
        ...

    async def subscribers_of(
        self, identities: Collection[Identity]
    ) -> Mapping[Identity, Sequence[r.Subscriber]]:
        """Return those behind each subscription, by (dynamic, key); what there are none for is left out."""
        ...

    async def subscribers(self, dynamic: str, *, after: str = "", limit: int) -> Sequence[r.Subscriber]:
        """Return those of one dynamic trigger by key, after one of them."""
        ...


class Connections(Protocol):
    """Where accounts' credentials are kept."""

    async def connection(self, ref: str) -> r.Connection | None:
        """Return one."""
        ...

    async def connections(self, *, integration: str | None = None) -> Sequence[r.Connection]:
        """Return all, by ref."""
        ...

    async def connections_due(self, *, now: int, limit: int) -> Sequence[r.Connection]:
        """Return those whose token is to be made anew by now, the longest due first."""
        ...

    async def put_connection(self, connection: r.Connection) -> None:
        """Keep a connection, in place of one of the same ref."""
        ...

    async def replace_connection(self, before: r.Connection, after: r.Connection) -> bool:
        """Keep `after` in place of `before`; False where that was removed or changed meanwhile.

        What is sealed anew with another key is no change: times tell.
        """
        ...

    async def remove_connection(self, ref: str) -> bool:
        """Shred a connection: its bytes are overwritten. False where there is none."""
        ...

    async def claim_connection(self, ref: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to make a token; False where another process has it."""
        ...

    async def release_connection(self, ref: str, owner: str) -> None:
        """Give the right back."""
        ...

    async def connected(self, ref: str) -> int:
        """Tell how many subscriptions that are not removed go through a connection."""
        ...

    async def through(self, ref: str, *, limit: int, after: str = "") -> Sequence[r.Subscription]:
        """Return subscriptions that are not removed and go through a connection by id, after one of them."""
        ...

    async def subscribed_through(self, ref: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return some of those who subscribed through a connection."""
        ...


class Health(Protocol):
    """Where it is kept how subscriptions do, and who was told."""

    async def note_activity(self, activities: Sequence[r.Activity]) -> None:
        """Add to subscriptions' activity, and to keys that they were used. A silent one is active again."""
        ...

    async def eldest(self, *, alive_since: int) -> int | None:
        """Tell when the eldest of the processes began that were alive since then; None where none was."""
        ...

    async def last_beat(self) -> int | None:
        """Tell when any process was last alive."""
        ...

    async def log_recovery(self, recovery: r.Recovery) -> None:
        """Keep a stretch of coverage."""
        ...

    async def recoveries(self, subscription_id: str) -> Sequence[r.Recovery]:
        """Return a subscription's stretches, newest first."""
        ...

    async def received(self, subscription_id: str, *, since: int, until: int) -> int:
        """Count the verified deliveries of a time."""
        ...

    async def raise_alert(self, alert: r.AlertRow) -> bool:
        """Keep an alert; False where one of the same subject and cause is open."""
        ...

    async def alert_told(self, subject: str, cause: str, *, at: int) -> None:
        """Keep that an alert was told."""
        ...

    async def clear_alerts(self, subject: str, *, but: str = "") -> int:
        """Close a subject's open alerts, but for that of one cause; return how many."""
        ...

    async def alerts(self) -> Sequence[r.AlertRow]:
        """Return the open ones, the oldest first."""
        ...

    async def log_audit(self, entry: r.AuditEntry) -> None:
        """Keep what somebody did."""
        ...

    async def audit(self, *, limit: int) -> Sequence[r.AuditEntry]:
        """Return what was done, newest first."""
        ...

    async def reseal(self, seal: Callable[[bytes], bytes], *, after: str, limit: int) -> str | None:
        """Replace up to `limit` sealed values by what `seal` makes of them; return where to go on, if at all.

        Keys, connections, sealed bodies, payloads, results: whatever a key ring sealed.
        """
        ...


class Log(Protocol):
    """What people look at."""

    async def deliveries(
        self,
        *,
        limit: int,
        before: str | None = None,
        outcome: str | None = None,
        endpoint: str | None = None,
    ) -> Sequence[v.DeliveryRow]:
        """Return deliveries, newest first; with an endpoint's id, those there of the last 10,000."""
        ...

    async def delivery(self, delivery_id: str) -> tuple[v.DeliveryRow, bytes | None] | None:
        """Return a delivery and its body; that is None where it is no longer kept."""
        ...

    async def events(self, delivery_id: str) -> Sequence[v.EventRow]:
        """Return the events that a delivery brought."""
        ...

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text; None where it is no longer kept."""
        ...

    async def runs(
        self, *, limit: int, before: str | None = None, job: str | None = None, event: str | None = None
    ) -> Sequence[v.RunRow]:
        """Return runs, newest first; `event` is an event row's id."""
        ...

    async def run(self, run_id: str) -> v.RunDetail | None:
        """Return a run with its tasks, attempts and log."""
        ...


class Retention(Protocol):
    """Where what is old is found and removed.

    Rows are old where they are from before a moment (unix milliseconds), and so are the ends
    of all runs that need them. A run that has not ended keeps itself and its delivery.
    """

    async def find_old(self, kind: r.Kind, *, before: int, after: str, limit: int) -> r.Old:
        """Look at up to `limit` rows, from the one named by an earlier look on, empty for the first."""
        ...

    async def remove_old(self, kind: r.Kind, names: Sequence[tuple[str, ...]], *, before: int) -> int:
        """Remove, in one transaction, which of these are still old; return how many were."""
        ...

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment; False where somebody has taken it."""
        ...


class Store(Intake, Runs, Queue, Registry, Subscribers, Connections, Health, Log, Retention, Protocol):
    """Where all is kept."""

    @property
    def store_id(self) -> str:
        """The random name minted with the store: our ownership mark at providers."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Item(msgspec.Struct, frozen=True):
    """A run to be executed."""

    run_id: str
    due_at: int
    priority: int
    held: bool = False


class Done(msgspec.Struct, frozen=True):
    """The run has ended, or the claim was lost: nothing is left to do."""


class Again(msgspec.Struct, frozen=True):
    """The run waits or is retried; it is in the queue again."""

    delay: timedelta


Handle: TypeAlias = Callable[[r.Claim], Awaitable[Done | Again]]


class Engine(Protocol):
    """Which process runs which run now."""

    def put(self, items: Sequence[Item]) -> Sequence[tuple[r.Statement, ...]]:
        """Say what the store must do, for each item, to queue it. Pure: no row is touched."""
        ...

    def wake(self, statements: Sequence[r.Statement]) -> None:
        """Hear that these statements are committed."""
        ...

    async def serve(self, handle: Handle, *, limit: int, ready: anyio.Event | None = None) -> None:
        """Execute queued runs until cancelled, `limit` at a time; `ready` is set once it does."""
        ...

    def cancel(self, run_id: str) -> Sequence[r.Statement]:
        """Say what the store must do to stop a run; stops it at once if it runs here."""
        ...
