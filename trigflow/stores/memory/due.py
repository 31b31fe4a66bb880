"""Which subscriptions are looked at next, and which connections nobody may call through now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import nsmallest

from trigflow.core.waits import ENDS_SOON, GENTLY, MOST_QUIET
from trigflow.runtime import records as r
from trigflow.stores.memory.subscriptions import SubscriptionTables

_MOST, _GENTLY, _SOON = (int(time.total_seconds() * 1000) for time in (MOST_QUIET, GENTLY, ENDS_SOON))


class DueTables(SubscriptionTables):
    """Where it is kept what is due, and who has to wait."""

    async def due(
        self, *, now: int, limit: int, but: Collection[str] = (), but_of: Collection[str] = ()
    ) -> Sequence[r.Endpoint]:
        """Return subscriptions to be looked at by now, leases that end soon, then the longest due."""
        left_out = {*but, *self._quiet(now)}
        due = (
            (*_urgency(s, now), s.id)
            for s in map(self._subscriptions.__getitem__, self._live)
            if s.next_at <= now
            and s.connection not in left_out
            and s.connection.partition("/")[0] not in but_of
        )
        return self._with_endpoints([id_ for *_, id_ in nsmallest(limit, due)])

    async def next_look(self, *, now: int) -> int | None:
        """Tell when the next subscription is to be looked at, or a quiet period is over."""
        quiet = self._quiet(now)
        there = map(self._subscriptions.__getitem__, self._live)
        times = [s.next_at for s in there if s.connection not in quiet]
        return min([*times, *(self._quiets[name].until for name in quiet)], default=None)

    async def refs_in_use(self, *, after: str = "", limit: int) -> Sequence[str]:
        """Return the connections of subscriptions, in order."""
        return sorted({ref for *_, ref in self._identities if ref > after})[:limit]

    async def hush(self, quiet: r.QuietPeriod, *, now: int) -> None:
        """Keep that a connection is quiet."""
        self._quiets = {name: one for name, one in self._quiets.items() if one.until > now - _GENTLY}
        kept = self._quiets.get(quiet.connection)
        if kept is None or kept.until < quiet.until or kept.until > now + _MOST:
            self._quiets[quiet.connection] = quiet

    async def quiet(self, connection: str, *, now: int) -> r.QuietPeriod | None:
        """Return what is kept of a connection that is quiet now."""
        return self._quiets[connection] if connection in self._quiet(now) else None

    async def quiet_lately(self, *, now: int) -> Collection[str]:
        """Return the connections whose quiet period is over since a moment ago."""
        return [name for name, one in self._quiets.items() if now - _GENTLY < one.until <= now]

    def _quiet(self, now: int) -> Collection[str]:
        return {name for name, one in self._quiets.items() if now < one.until <= now + _MOST}


def _urgency(s: r.Subscription, now: int) -> tuple[bool, int]:
    """Return what is less for what is looked at before others."""
    ends = s.lease_until
    return (False, ends) if ends is not None and ends <= now + _SOON else (True, s.next_at)
