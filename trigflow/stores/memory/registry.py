"""Endpoints and subscriptions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from trigflow.core.asked import also_asked
from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.registration.merging import merged
from trigflow.stores.memory.subscriptions import SubscriptionTables, next_serial


class RegistryTables(SubscriptionTables):
    """Where endpoints and subscriptions are kept."""

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        """Find endpoints by the random parts of their URLs."""
        there = ((token, self._endpoints[self._tokens[token]]) for token in tokens if token in self._tokens)
        return {token: attrs.evolve(e, subscriptions=self._first(e.id)) for token, e in there}

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        """Find the subscriptions that take deliveries, by endpoint id and account."""
        kept = self._subscriptions
        found = ((one, [kept[id_] for id_ in self._addresses.get(one, ())]) for one in addresses)
        return {one: some for one, some in found if some}

    async def endpoints_for(self, identities: Collection[Identity]) -> Mapping[Identity, r.Endpoint]:
        """Find subscriptions by what they are for."""
        there = [self._identities[one] for one in identities if one in self._identities]
        return {one.subscriptions[0].identity: one for one in self._with_endpoints(there)}

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

    async def look_soon(self, identities: Collection[Identity]) -> None:
        """Have subscriptions looked at at once."""
        for identity in identities:
            self._look_soon(identity)

    async def sources(self) -> Collection[str]:
        """Return the ids of the sources that have an endpoint."""
        return sorted({endpoint.source for endpoint in self._endpoints.values()})

    async def create_subscriptions(self, pairs: Sequence[tuple[r.Endpoint, r.Subscription]]) -> None:
        """Keep subscriptions with their endpoints, but none of an identity that is kept."""
        for pair in pairs:
            self._insert_pair(*pair)

    async def save_subscription(
        self,
        subscription: r.Subscription,
        *,
        was: r.Subscription | None = None,
        sealed_key: bytes | None = None,
    ) -> None:
        """Replace a subscription's row but for metadata and activity; with a key, make it the only one."""
        new = self._save(subscription, was)
        if new is not None and sealed_key is not None:
            endpoint = self._endpoints[new.endpoint_id]
            key = r.StoredKey(next_serial(endpoint), sealed_key, created_at=new.updated_at)
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, keys=(key,))

    async def save_rotated(
        self,
        subscription: r.Subscription,
        sealed_key: bytes,
        *,
        was: r.Subscription | None = None,
        old_webhook: bytes | None,
        at: int,
    ) -> None:
        """Replace a row as `save_subscription` does and add a newer key, at once."""
        new = self._save(subscription, was)
        if new is None:
            return
        endpoint_id = new.endpoint_id
        keys = self._endpoints[endpoint_id].keys
        if keys and old_webhook is not None:
            await self.keep_webhook(endpoint_id, keys[0].serial, old_webhook)
        await self.add_key(endpoint_id, sealed_key, at=at)

    async def ask(self, subscription_id: str, what: str) -> None:
        """Have something done for a subscription at once."""
        kept = self._subscriptions.get(subscription_id)
        if kept is not None and kept.state != "removed":
            sooner = min(kept.next_at, 0) - 1
            asked = also_asked(kept.asked, what)
            self._subscriptions[subscription_id] = attrs.evolve(kept, asked=asked, next_at=sooner)

    async def look_again(self, subscription_id: str, *, at: int, was: int) -> None:
        """Say when a subscription is looked at next, unless `next_at` is not what it was."""
        kept = await self.subscription(subscription_id)
        if kept is not None and kept.next_at == was:
            self._subscriptions[kept.id] = attrs.evolve(kept, next_at=at)

    def _save(self, subscription: r.Subscription, was: r.Subscription | None) -> r.Subscription | None:
        kept = self._subscriptions[subscription.id]
        if kept.state == "removed":
            return None
        if was is not None:
            subscription = merged(kept, was, subscription)
        self._unindex(kept)
        new = attrs.evolve(
            subscription, metadata=kept.metadata, last_at=kept.last_at, seen=kept.seen,
            usual_gap=kept.usual_gap,
        )  # fmt: skip
        self._subscriptions[new.id] = new
        self._index(new)
        endpoint = self._endpoints[new.endpoint_id]
        if new.state == "active" and endpoint.state == "pending":
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, state="active")
        return new

    async def set_lease(self, endpoint_id: str, *, at: int, until: int) -> None:
        """Keep how long a provider keeps an endpoint's subscriptions."""
        for id_ in self._behind.get(endpoint_id, ()):
            kept = self._subscriptions[id_]
            self._subscriptions[id_] = attrs.evolve(kept, leased_at=at, lease_until=until)

    async def set_facts(self, endpoint_id: str, facts: bytes) -> None:
        """Keep what handshakes at an endpoint compare with."""
        kept = self._endpoints.get(endpoint_id)
        if kept is not None:
            self._endpoints[endpoint_id] = attrs.evolve(kept, facts=facts)

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed unless somebody subscribed; its endpoint, too, if it was the last."""
        gone = self._subscriptions.get(subscription_id)
        if gone is None or gone.state == "removed":
            return
        if any(one.identity == gone.identity for one in self._subscribers.values()):
            self._subscriptions[subscription_id] = attrs.evolve(
                gone, state="pending", cause="not registered yet", data=None, registered=(),
                lease_until=None, leased_at=None, failures=0, asked="", next_at=min(gone.next_at, 0) - 1,
                updated_at=at,
            )  # fmt: skip
            return
        self._subscriptions[subscription_id] = attrs.evolve(gone, state="removed", updated_at=at)
        self._unindex(gone)
        if not self._behind[gone.endpoint_id]:
            endpoint = self._endpoints[gone.endpoint_id]
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, state="removed", removed_at=at)

    async def release_held(self, subscription_id: str) -> int:
        """Let the held runs of a subscription's events be taken."""
        held = [
            queued
            for run, queued in self._queue.items()
            if queued.held and self._events[self._runs[run].event].row.subscription_id == subscription_id
        ]
        for queued in held:
            queued.held = False
        return len(held)

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register."""
        if subscription_id not in self._subscriptions:
            return False
        held = self._claims.get(subscription_id)
        longest = until + (until - now)  # a claim that lasts longer is from before the clock was set back
        if held is not None and held[0] != owner and now <= held[1] <= longest:
            return False
        self._claims[subscription_id] = (owner, until)
        return True

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        if self._claims.get(subscription_id, ("", 0))[0] == owner:
            del self._claims[subscription_id]

    async def log_registration(self, attempt: r.RegistrationAttempt) -> None:
        """Keep an attempt at registering."""
        self._attempts.append(attempt)

    async def registrations(self, subscription_id: str) -> Sequence[r.RegistrationAttempt]:
        """Return a subscription's attempts, newest first."""
        return [a for a in reversed(self._attempts) if a.subscription_id == subscription_id][:100]

    def _first(self, endpoint_id: str) -> tuple[r.Subscription, ...]:
        """Return an endpoint's first subscription that is not removed."""
        return tuple(self._subscriptions[id_] for id_ in self._behind[endpoint_id][:1])
