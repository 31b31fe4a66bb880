"""What the paths of a registration need from a store.

Others import these through `trigflow.runtime.ports`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from trigflow.core.plan import Identity
from trigflow.runtime import records as r


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

    async def page(self, *, after: str = "", limit: int, which: r.Which = r.ANY) -> Sequence[r.Endpoint]:
        """Return subscriptions that are not removed by id, those after one of them: as `endpoints_for`."""
        ...

    async def starting(self, prefix: str, *, limit: int) -> Sequence[r.Subscription]:
        """Return subscriptions that are not removed and whose key starts so, by source, key, connection."""
        ...

    async def due(
        self, *, now: int, limit: int, but: Collection[str] = (), but_of: Collection[str] = ()
    ) -> Sequence[r.Endpoint]:
        """Return subscriptions to be looked at by now: as `endpoints_for`.

        First those whose lease ends soon (core.waits.ENDS_SOON), the soonest first; then the longest due.
        Left out is what goes through the connections `but`, through any of the integrations
        `but_of`, or through one that is quiet.
        """
        ...

    async def next_look(self, *, now: int) -> int | None:
        """Tell when the next subscription is to be looked at, or a quiet period is over."""
        ...

    async def refs_in_use(self, *, after: str = "", limit: int) -> Sequence[str]:
        """Return the connections of subscriptions that are not removed, in order, those after one."""
        ...

    async def hush(self, quiet: r.QuietPeriod, *, now: int) -> None:
        """Keep that a connection is quiet; what is kept for longer stays."""
        ...

    async def quiet(self, connection: str, *, now: int) -> r.QuietPeriod | None:
        """Return what is kept of a connection that is quiet now."""
        ...

    async def quiet_lately(self, *, now: int) -> Collection[str]:
        """Return the connections whose quiet period is over since a moment ago (core.waits.GENTLY)."""
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

        was: as it was read; what others have changed since stays (`trigflow.runtime.registration.merging`).
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

    async def set_facts(self, endpoint_id: str, facts: bytes) -> None:
        """Keep what handshakes at an endpoint compare with: JSON text, strings by name."""
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
        """Take the right to register; False where another process has it that is not known to be dead."""
        ...

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        ...

    async def put_wants(
        self, owner: str, wants: Sequence[r.Want], *, at: int, expects: Mapping[str, int] = ...
    ) -> None:
        """Replace what one process wants.

        expects: milliseconds in which its jobs expect something for each subscriber, by dynamic trigger.
        """
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

    async def subscribers_called(self, key: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return those with a key, of whatever dynamic trigger, by that."""
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
