"""Finding subscriptions as people name them: a page of some of them, by key, by the start of a key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter

import attrs

from trigflow.runtime import records as r
from trigflow.stores.memory.subscriptions import SubscriptionTables


class LookupTables(SubscriptionTables):
    """Where subscriptions are found by what people call them."""

    async def page(self, *, after: str = "", limit: int, which: r.Which = r.ANY) -> Sequence[r.Endpoint]:
        """Return subscriptions that are not removed by id, those after one of them."""
        start = bisect_right(self._live, after)
        there = (self._subscriptions[id_] for id_ in islice(self._live, start, None))
        meant = (one for one in there if which == r.ANY or _is_meant(one, which))
        return [
            attrs.evolve(self._endpoints[one.endpoint_id], subscriptions=(one,))
            for one in islice(meant, limit)
        ]

    async def starting(self, prefix: str, *, limit: int) -> Sequence[r.Subscription]:
        """Return subscriptions that are not removed and whose key starts so, by source, key, connection."""
        there = (self._subscriptions[id_] for id_ in self._live)
        found = (one for one in there if one.key.startswith(prefix))
        return sorted(found, key=attrgetter("identity"))[:limit]

    async def subscribers_called(self, key: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return those with a key, of whatever dynamic trigger, by that."""
        return [one for (_, of), one in sorted(self._subscribers.items()) if of == key][:limit]


def _is_meant(s: r.Subscription, which: r.Which) -> bool:
    return (
        which.called in (None, s.id, s.key)
        and which.connection in (None, s.connection)
        and which.source in (None, s.source)
        and which.state in (None, s.state)
    )
