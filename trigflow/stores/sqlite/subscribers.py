"""Who subscribed at run time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, overwriting
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscriptions import insert_pair, look_soon, row_of, text_of, tuple_of

_SELECT = (
    "SELECT dynamic, key, source, source_key, connection, params, events, metadata, created_at, "
    "filter, expect_every FROM subscribers"
)
_ONE = f"{_SELECT} WHERE dynamic = ? AND key = ?"
_BEHIND = f"{_SELECT} WHERE source = ? AND source_key = ? AND connection = ? ORDER BY dynamic, key"
_PAGE = f"{_SELECT} WHERE dynamic = ? AND key > ? ORDER BY key LIMIT ?"
_THROUGH = f"{_SELECT} WHERE connection = ? ORDER BY dynamic, key LIMIT ?"
# Whether there are as many: no more than that are looked at.
_FULL = "SELECT 1 FROM subscribers WHERE connection = ? LIMIT 1 OFFSET ?"
# One step of the table for each dynamic trigger, however many subscribers it has.
_DYNAMICS = (
    "WITH RECURSIVE dynamics(one) AS (SELECT min(dynamic) FROM subscribers "
    "UNION ALL SELECT (SELECT min(dynamic) FROM subscribers WHERE dynamic > one) "
    "FROM dynamics WHERE one IS NOT NULL) SELECT one FROM dynamics WHERE one IS NOT NULL"
)
SUBSCRIBERS_CALLED = f"{_SELECT} WHERE dynamic IN ({_DYNAMICS}) AND key = ? ORDER BY dynamic LIMIT ?"
_PUT = "INSERT OR REPLACE INTO subscribers VALUES(?,?,?,?,?,?,?,?,?,?,?)"


class SubscriberRows(Database):
    """Where those are kept who subscribed at run time."""

    async def subscribe(
        self, subscriber: r.Subscriber, endpoint: r.Endpoint, subscription: r.Subscription, *, most: int
    ) -> bool:
        """Keep a subscriber with its subscription, unless its connection has as many as it may."""
        s = subscriber
        row = (
            s.dynamic, s.key, *s.identity, s.params.decode(), text_of(s.events), s.metadata.decode(),
            s.created_at, None if s.filter is None else s.filter.decode(), s.expect_every,
        )  # fmt: skip

        def work(connection: Connection) -> bool:
            there = row_of(connection, _ONE, s.dynamic, s.key)
            before = subscriber_from(there) if there else None
            comes = before is None or before.connection != s.connection
            if most and comes and row_of(connection, _FULL, s.connection, most - 1):
                return False
            connection.execute(_PUT, row)
            with overwriting(connection):
                insert_pair(connection, endpoint, subscription)
            look_soon(connection, s.identity)
            if before is not None and before.identity != s.identity:
                look_soon(connection, before.identity)
            return True

        return await self.write(work)

    async def unsubscribe(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Forget a subscriber and have its subscription looked at."""

        def work(connection: Connection) -> r.Subscriber | None:
            row = row_of(connection, _ONE, dynamic, key)
            if row is None:
                return None
            connection.execute("DELETE FROM subscribers WHERE dynamic = ? AND key = ?", (dynamic, key))
            gone = subscriber_from(row)
            look_soon(connection, gone.identity)
            return gone

        return await self.write(work)

    async def subscriber(self, dynamic: str, key: str) -> r.Subscriber | None:
        """Return one."""
        row = await self.read(lambda connection: row_of(connection, _ONE, dynamic, key))
        return subscriber_from(row) if row else None

    async def subscribers_of(
        self, identities: Collection[Identity]
    ) -> Mapping[Identity, Sequence[r.Subscriber]]:
        """Return those behind each subscription."""

        def work(connection: Connection) -> Mapping[Identity, Sequence[r.Subscriber]]:
            rows = ((one, connection.execute(_BEHIND, one).fetchall()) for one in identities)
            return {one: [subscriber_from(row) for row in found] for one, found in rows if found}

        return await self.read(work)

    async def subscribers(self, dynamic: str, *, after: str = "", limit: int) -> Sequence[r.Subscriber]:
        """Return those of one dynamic trigger by key, after one of them."""
        values = (dynamic, after, limit)
        rows = await self.read(lambda connection: connection.execute(_PAGE, values).fetchall())
        return [subscriber_from(row) for row in rows]


def subscribers_through(connection: Connection, ref: str, limit: int) -> Sequence[r.Subscriber]:
    """Return some of those who subscribed through a connection."""
    return [subscriber_from(row) for row in connection.execute(_THROUGH, (ref, limit)).fetchall()]


def subscriber_from(row: Row) -> r.Subscriber:
    """Make a subscriber of its row."""
    dynamic, key, source, source_key, connection, params, events, metadata, created_at, filter_, every = row
    return r.Subscriber(
        dynamic, key, source, source_key, connection, params.encode(), tuple_of(events), metadata.encode(),
        created_at, None if filter_ is None else filter_.encode(), every,
    )  # fmt: skip
