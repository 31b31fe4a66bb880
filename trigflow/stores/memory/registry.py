"""Endpoints, subscriptions, their keys, and what processes want."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import attrs

from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables


class RegistryTables(Tables):
    """Where endpoints, subscriptions and wants are kept."""

    def __init__(self, *, store_id: str) -> None:
        """Start empty."""
        super().__init__(store_id=store_id)
        self._tokens: dict[str, str] = {}  # to the endpoint's id
        # Of the subscriptions that are not removed: ids by what they are for; sorted ids by where they are.
        self._identities: dict[tuple[str, str, str], str] = {}
        self._behind: defaultdict[str, list[str]] = defaultdict(list)
        self._addresses: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        """Find endpoints by the random parts of their URLs."""
        there = ((token, self._endpoints[self._tokens[token]]) for token in tokens if token in self._tokens)
        return {
            token: attrs.evolve(e, subscriptions=self._first(e.id))
            for token, e in there
            if e.state != "removed"
        }

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        """Find the subscriptions that take deliveries, by endpoint id and account."""
        kept = self._subscriptions
        there = ((one, [kept[id_] for id_ in self._addresses.get(one, ())]) for one in addresses)
        found = ((one, [s for s in some if s.state not in r.TAKES_NOTHING]) for one, some in there)
        return {one: some for one, some in found if some}

    async def endpoints_for(
        self, identities: Collection[tuple[str, str, str]]
    ) -> Mapping[tuple[str, str, str], r.Endpoint]:
        """Find subscriptions by what they are for."""
        there = (self._subscriptions[self._identities[one]] for one in identities if one in self._identities)
        return {s.identity: attrs.evolve(self._endpoints[s.endpoint_id], subscriptions=(s,)) for s in there}

    async def subscription(self, subscription_id: str) -> r.Subscription | None:
        """Return a subscription that is not removed."""
        found = self._subscriptions.get(subscription_id)
        return None if found is None or found.state == "removed" else found

    async def token_of(self, endpoint_id: str) -> str | None:
        """Return the random part of an endpoint's URL."""
        found = self._endpoints.get(endpoint_id)
        return None if found is None or found.state == "removed" else found.token

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed, with all of their subscriptions."""
        return [
            attrs.evolve(e, subscriptions=tuple(self._subscriptions[id_] for id_ in self._behind[e.id]))
            for _, e in sorted(self._endpoints.items())
            if e.state != "removed"
        ]

    async def create_subscription(self, endpoint: r.Endpoint, subscription: r.Subscription) -> r.Subscription:
        """Keep a subscription with its endpoint, unless one of the same identity exists."""
        kept = self._identities.get(subscription.identity)
        if kept is not None:
            return self._subscriptions[kept]
        self._endpoints.setdefault(endpoint.id, endpoint)
        self._tokens.setdefault(endpoint.token, endpoint.id)
        self._subscriptions[subscription.id] = subscription
        self._index(subscription)
        return subscription

    async def save_subscription(
        self, subscription: r.Subscription, *, sealed_key: bytes | None = None
    ) -> None:
        """Replace a subscription's row; with a key, make that the endpoint's current one."""
        kept = self._subscriptions[subscription.id]
        self._unindex(kept)
        self._subscriptions[subscription.id] = attrs.evolve(subscription, metadata=kept.metadata)
        self._index(subscription)
        endpoint = self._endpoints[subscription.endpoint_id]
        if sealed_key is not None:
            endpoint = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed_key, None),))
        if subscription.state == "active":
            endpoint = attrs.evolve(endpoint, state="active")
        self._endpoints[endpoint.id] = endpoint

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake, once and only while pending."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.state != "pending" or endpoint.keys:
            return False
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed, None),))
        return True

    async def set_lease(self, endpoint_id: str, *, until: int) -> None:
        """Keep how long a provider keeps an endpoint's subscriptions."""
        for id_ in self._behind.get(endpoint_id, ()):
            self._subscriptions[id_] = attrs.evolve(self._subscriptions[id_], lease_until=until)

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed, and its endpoint if it was the last."""
        gone = self._subscriptions[subscription_id]
        self._subscriptions[subscription_id] = attrs.evolve(gone, state="removed", updated_at=at)
        self._unindex(gone)
        if not self._behind[gone.endpoint_id]:
            endpoint = self._endpoints[gone.endpoint_id]
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, state="removed")

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register."""
        if subscription_id not in self._subscriptions:
            return False
        held = self._claims.get(subscription_id)
        if held is not None and held[0] != owner and held[1] >= now:
            return False
        self._claims[subscription_id] = (owner, until)
        return True

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        if self._claims.get(subscription_id, ("", 0))[0] == owner:
            del self._claims[subscription_id]

    async def put_wants(self, owner: str, wants: Sequence[r.Want], *, at: int) -> None:
        """Replace what one process wants."""
        self._wants[owner] = (at, wants)

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        fresh = [
            (at, owner, want) for owner, (at, wants) in self._wants.items() if at >= since for want in wants
        ]
        return [want for *_, want in sorted(fresh, key=lambda one: (one[2].identity, *one[:2]))]

    async def log_registration(self, attempt: r.RegistrationAttempt) -> None:
        """Keep an attempt at registering."""
        self._attempts.append(attempt)

    async def registrations(self, subscription_id: str) -> Sequence[r.RegistrationAttempt]:
        """Return a subscription's attempts, newest first."""
        return [a for a in reversed(self._attempts) if a.subscription_id == subscription_id][:100]

    def _first(self, endpoint_id: str) -> tuple[r.Subscription, ...]:
        """Return an endpoint's first subscription, and the first that takes deliveries if that is another."""
        behind = [self._subscriptions[id_] for id_ in self._behind[endpoint_id][:1]]
        if behind and behind[0].state in r.TAKES_NOTHING:
            others = map(self._subscriptions.__getitem__, self._behind[endpoint_id])
            behind += [one for one in others if one.state not in r.TAKES_NOTHING][:1]
        return tuple(behind)

    def _index(self, s: r.Subscription) -> None:
        if s.state == "removed":
            return
        self._identities[s.identity] = s.id
        insort(self._behind[s.endpoint_id], s.id)
        if s.account is not None:
            insort(self._addresses[s.endpoint_id, s.account], s.id)

    def _unindex(self, s: r.Subscription) -> None:
        if s.state == "removed":
            return
        del self._identities[s.identity]
        _take_out(self._behind[s.endpoint_id], s.id)
        if s.account is not None:
            _take_out(self._addresses[s.endpoint_id, s.account], s.id)


def _take_out(ids: list[str], id_: str) -> None:
    del ids[bisect_left(ids, id_)]
