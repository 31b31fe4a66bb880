"""Endpoints, subscriptions, their keys, and what processes want."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables


class RegistryTables(Tables):
    """Where endpoints, subscriptions and wants are kept."""

    async def endpoint(self, token: str) -> r.Endpoint | None:
        """Find an endpoint by the random part of its URL."""
        return next((endpoint for endpoint in await self.endpoints() if endpoint.token == token), None)

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed."""
        kept = self._subscriptions.values()
        return [
            attrs.evolve(
                e, subscriptions=tuple(s for s in kept if s.endpoint_id == e.id and s.state != "removed")
            )
            for _, e in sorted(self._endpoints.items())
            if e.state != "removed"
        ]

    async def create_subscription(self, endpoint: r.Endpoint, subscription: r.Subscription) -> r.Subscription:
        """Keep a subscription with its endpoint, unless one of the same identity exists."""
        for kept in self._subscriptions.values():
            if kept.identity == subscription.identity and kept.state != "removed":
                return kept
        self._endpoints.setdefault(endpoint.id, endpoint)
        self._subscriptions[subscription.id] = subscription
        return subscription

    async def save_subscription(
        self, subscription: r.Subscription, *, sealed_key: bytes | None = None
    ) -> None:
        """Replace a subscription's row; with a key, make that the endpoint's current one."""
        kept = self._subscriptions[subscription.id]
        self._subscriptions[subscription.id] = attrs.evolve(subscription, metadata=kept.metadata)
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
        for kept in list(self._subscriptions.values()):
            if kept.endpoint_id == endpoint_id:
                self._subscriptions[kept.id] = attrs.evolve(kept, lease_until=until)

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed, and its endpoint if it was the last."""
        gone = attrs.evolve(self._subscriptions[subscription_id], state="removed", updated_at=at)
        self._subscriptions[subscription_id] = gone
        if all(
            s.state == "removed" for s in self._subscriptions.values() if s.endpoint_id == gone.endpoint_id
        ):
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
