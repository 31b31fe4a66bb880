"""Subscriptions and the ways to find them; endpoints' keys."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence

import attrs

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables


class SubscriptionTables(Tables):
    """What the registry and the subscribers share, and where keys are kept."""

    async def add_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> int:
        """Keep a further, newer key of an endpoint; return its serial."""
        endpoint = self._endpoints[endpoint_id]
        key = r.StoredKey(next_serial(endpoint), sealed, created_at=at)
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=(key, *endpoint.keys))
        return key.serial

    async def keep_webhook(self, endpoint_id: str, serial: int, data: bytes | None) -> None:
        """Keep with a key that another webhook than the subscription's signs with it."""
        endpoint = self._endpoints[endpoint_id]
        keys = (attrs.evolve(key, data=data) if key.serial == serial else key for key in endpoint.keys)
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=tuple(keys))

    async def retire_keys(self, endpoint_id: str, serials: Collection[int]) -> None:
        """Take keys away."""
        endpoint = self._endpoints[endpoint_id]
        keys = (key for key in endpoint.keys if key.serial not in serials)
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=tuple(keys))

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake, once and only while pending."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.state != "pending" or endpoint.keys:
            return False
        key = r.StoredKey(1, sealed, created_at=at)
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=(key,))
        return True

    def _insert_pair(self, endpoint: r.Endpoint, subscription: r.Subscription) -> None:
        if subscription.identity in self._identities:
            return
        behind = self._shared_with(endpoint) or endpoint
        self._endpoints.setdefault(behind.id, attrs.evolve(behind, subscriptions=()))
        self._tokens.setdefault(behind.token, behind.id)
        kept = attrs.evolve(subscription, endpoint_id=behind.id)
        self._subscriptions[kept.id] = kept
        self._index(kept)

    def _shared_with(self, endpoint: r.Endpoint) -> r.Endpoint | None:
        if endpoint.shared_key is None:
            return None
        wanted = (endpoint.source, endpoint.shared_key)
        live = (one for one in self._endpoints.values() if one.state != "removed")
        return next((one for one in live if (one.source, one.shared_key) == wanted), None)

    def _look_soon(self, identity: Identity) -> None:
        id_ = self._identities.get(identity)
        if id_ is not None:
            kept = self._subscriptions[id_]
            self._subscriptions[id_] = attrs.evolve(kept, next_at=min(kept.next_at, 0) - 1)

    def _index(self, s: r.Subscription) -> None:
        if s.state == "removed":
            return
        self._identities[s.identity] = s.id
        insort(self._live, s.id)
        insort(self._behind[s.endpoint_id], s.id)
        if s.account is not None:
            insort(self._addresses[s.endpoint_id, s.account], s.id)

    def _unindex(self, s: r.Subscription) -> None:
        if s.state == "removed":
            return
        del self._identities[s.identity]
        _take_out(self._live, s.id)
        _take_out(self._behind[s.endpoint_id], s.id)
        if s.account is not None:
            _take_out(self._addresses[s.endpoint_id, s.account], s.id)

    def _with_endpoints(self, ids: Sequence[str]) -> list[r.Endpoint]:
        there = (self._subscriptions[id_] for id_ in ids)
        return [attrs.evolve(self._endpoints[one.endpoint_id], subscriptions=(one,)) for one in there]


def _take_out(ids: list[str], id_: str) -> None:
    del ids[bisect_left(ids, id_)]


def next_serial(endpoint: r.Endpoint) -> int:
    """Return a serial that is higher than those of all keys of an endpoint."""
    return max((key.serial for key in endpoint.keys), default=0) + 1
