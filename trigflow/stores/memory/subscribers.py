"""Who subscribed at run time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.memory.subscriptions import SubscriptionTables


class SubscriberTables(SubscriptionTables):
    """Where those are kept who subscribed at run time."""

    async def subscribe(
        self, subscriber: r.Subscriber, endpoint: r.Endpoint, subscription: r.Subscription, *, most: int
    ) -> bool:
        """Keep a subscriber with its subscription, unless its connection has as many as it may."""
        s = subscriber
        before = self._subscribers.get((s.dynamic, s.key))
        others = sum(one.connection == s.connection for one in self._subscribers.values())
        comes = before is None or before.connection != s.connection
        if most and comes and others >= most:
            return False
        self._subscribers[s.dynamic, s.key] = s
        self._insert_pair(endpoint, subscription)
        self._look_soon(s.identity)
        if before is not None and before.identity != s.identity:
            self._look_soon(before.identity)
        return True

    async def unsubscribe(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Forget a subscriber and have its subscription looked at."""
        gone = self._subscribers.pop((dynamic, key), None)
        if gone is not None:
            self._look_soon(gone.identity)
        return gone

    async def subscriber(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Return one."""
        return self._subscribers.get((dynamic, key))

    async def subscribers_of(
        self, identities: Collection[Identity]
    ) -> Mapping[Identity, Sequence[r.Subscriber]]:
        """Return those behind each subscription."""
        found: dict[Identity, list[r.Subscriber]] = {}
        for _, one in sorted(self._subscribers.items()):
            if one.identity in identities:
                found.setdefault(one.identity, []).append(one)
        return found

    async def subscribers(self, dynamic: str, *, after: str = "", limit: int) -> Sequence[r.Subscriber]:
        """Return those of one dynamic trigger by key, after one of them."""
        there = sorted((key, one) for (of, key), one in self._subscribers.items() if of == dynamic)
        return [one for key, one in there if key > after][:limit]
