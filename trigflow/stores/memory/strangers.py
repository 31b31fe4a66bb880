"""Verified deliveries that wait for their account to become known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trigflow.runtime import records as r
from trigflow.stores.memory.intake import IntakeTables


class StrangerTables(IntakeTables):
    """Where verified deliveries wait for their account."""

    async def waited_for(self, *, after: tuple[str, str], limit: int) -> r.WaitedFor:
        """Look at up to `limit` accounts that are waited for."""
        all_ = sorted({(endpoint, account) for endpoint, account, _ in self._strangers})
        there = [one for one in all_ if one > after]
        some = there[:limit]
        known = tuple(one for one in some if self._is_known(one))
        return r.WaitedFor(known, some[-1] if len(some) == limit else None)

    def _is_known(self, address: tuple[str, str]) -> bool:
        there = (self._subscriptions[id_] for id_ in self._addresses.get(address, ()))
        return any(one.state not in r.TAKES_NOTHING for one in there)

    async def waiting(self, address: tuple[str, str], *, after: str, limit: int) -> Sequence[str]:
        """Return the deliveries that wait for an account, the first received first."""
        there = (id_ for *place, id_ in self._strangers if tuple(place) == address and id_ > after)
        return sorted(there)[:limit]

    async def adopt(
        self, account: str, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted | None:
        """Keep what a waiting delivery says for an account that is known now."""
        if self._strangers.pop((delivery.endpoint_id, account, delivery.id), None) is None:
            return None
        kept = self._deliveries.get(delivery.id)
        if kept is None or delivery.id in self._bodiless:
            return None
        accepted = self._add_events(delivery)
        self._deliveries[delivery.id] = _told(kept, delivery, accepted.outcome)
        for update in delivery.updates:
            self._update(delivery, update)
        if then is not None:
            then(accepted)
        return accepted

    async def stop_waiting(self, address: tuple[str, str], delivery_id: str) -> None:
        """Have a delivery wait for an account no longer."""
        self._strangers.pop((*address, delivery_id), None)

    async def stop_waiting_before(self, at: int, *, limit: int) -> int:
        """Have deliveries from before a moment wait no longer; return how many it were."""
        old = sorted((received, one) for one, received in self._strangers.items() if received < at)[:limit]
        for _, one in old:
            del self._strangers[one]
        return len(old)


def _told(kept: r.NewDelivery, said: r.NewDelivery, outcome: r.DeliveryOutcome) -> r.NewDelivery:
    """Say in a kept delivery what came of it; what it started for another account stands."""
    is_first = (kept.outcome, kept.cause) == ("ignored", "unknown-account")
    is_done = kept.outcome == "accepted"
    return msgspec.structs.replace(
        kept,
        outcome=kept.outcome if is_done else outcome,
        cause=kept.cause if is_done else said.cause,
        subscription_id=said.subscription_id if is_first else None,
        trace=kept.trace if said.trace is None else said.trace,
    )
