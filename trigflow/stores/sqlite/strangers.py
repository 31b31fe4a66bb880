"""Verified deliveries that wait for their account to become known.

A row for each account that a delivery waits for; it goes in the transaction that keeps
what the delivery starts. Rows are found by endpoint and account, so that what is never
asked for costs nothing but its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.intake import insert_events, update_subscription

_NEXT = (
    "SELECT endpoint_id, account FROM strangers WHERE (endpoint_id, account) > (?, ?) "
    "ORDER BY endpoint_id, account LIMIT 1"
)
_KNOWN = (
    "SELECT 1 FROM subscriptions WHERE endpoint_id = ? AND account = ? "
    "AND account IS NOT NULL AND state <> 'removed' LIMIT 1"
)
_WAITING = (
    "SELECT delivery_id FROM strangers WHERE endpoint_id = ? AND account = ? AND delivery_id > ? "
    "ORDER BY delivery_id LIMIT ?"
)
_STOP = "DELETE FROM strangers WHERE endpoint_id = ? AND account = ? AND delivery_id = ?"
_OLD = (
    "DELETE FROM strangers WHERE (endpoint_id, account, delivery_id) IN "
    "(SELECT endpoint_id, account, delivery_id FROM strangers WHERE received_at < ? "
    "ORDER BY received_at LIMIT ?)"
)
# What it started for one of its accounts stands, whatever another's handler says.
_TOLD = (
    "UPDATE deliveries SET cause = CASE outcome WHEN 'accepted' THEN cause ELSE ?2 END, "
    "subscription_id = CASE WHEN outcome = 'ignored' AND cause = 'unknown-account' THEN ?3 END, "
    "trace = coalesce(?4, trace), outcome = CASE outcome WHEN 'accepted' THEN outcome ELSE ?1 END "
    "WHERE id = ?5 AND body IS NOT NULL"
)


class StrangerRows(Database):
    """Where verified deliveries wait for their account."""

    async def waited_for(self, *, after: tuple[str, str], limit: int) -> r.WaitedFor:
        """Look at up to `limit` accounts that are waited for."""

        def work(connection: Connection) -> r.WaitedFor:
            known: list[tuple[str, str]] = []
            place = after
            for _ in range(limit):
                rows = connection.execute(_NEXT, place).fetchall()
                if not rows:
                    return r.WaitedFor(tuple(known), None)
                place = rows[0]
                if connection.execute(_KNOWN, place).fetchall():
                    known.append(place)
            return r.WaitedFor(tuple(known), place)

        return await self.read(work)

    async def waiting(self, address: tuple[str, str], *, after: str, limit: int) -> Sequence[str]:
        """Return the deliveries that wait for an account, the first received first."""
        rows = await self.read(lambda c: c.execute(_WAITING, (*address, after, limit)).fetchall())
        return [id_ for (id_,) in rows]

    async def adopt(
        self, account: str, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted | None:
        """Keep what a waiting delivery says for an account that is known now."""

        def told(accepted: r.Accepted | None) -> None:
            if accepted is not None and then is not None:
                then(accepted)

        return await self.write(lambda connection: _adopt(connection, account, delivery), told)

    async def stop_waiting(self, address: tuple[str, str], delivery_id: str) -> None:
        """Have a delivery wait for an account no longer."""
        await self.write(lambda connection: connection.execute(_STOP, (*address, delivery_id)).fetchall())

    async def stop_waiting_before(self, at: int, *, limit: int) -> int:
        """Have deliveries from before a moment wait no longer; return how many it were."""

        def work(connection: Connection) -> int:
            connection.execute(_OLD, (at, limit))
            return connection.changes()

        return await self.write(work)


def _adopt(connection: Connection, account: str, delivery: r.NewDelivery) -> r.Accepted | None:
    connection.execute(_STOP, (delivery.endpoint_id, account, delivery.id))
    if connection.changes() == 0:
        return None
    kept = "SELECT 1 FROM deliveries WHERE id = ? AND body IS NOT NULL"
    if not connection.execute(kept, (delivery.id,)).fetchall():
        return None
    accepted = insert_events(connection, delivery)
    trace = None if delivery.trace is None else delivery.trace.decode()
    told = (accepted.outcome, delivery.cause, delivery.subscription_id, trace, delivery.id)
    connection.execute(_TOLD, told)
    for update in delivery.updates:
        update_subscription(connection, delivery, update)
    return accepted
