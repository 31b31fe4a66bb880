"""Finding subscriptions as people name them: a page of some of them, by key, by the start of a key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, Value
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscribers import SUBSCRIBERS_CALLED, subscriber_from
from trigflow.stores.sqlite.subscriptions import (
    SUBSCRIPTION,
    subscription,
    with_endpoints,
)

_KEYED = "FROM subscriptions INDEXED BY subscriptions_identity WHERE state <> 'removed'"
# One step of the index for each source, however many subscriptions it has.
_SOURCES = (
    f"WITH RECURSIVE sources(one) AS (SELECT min(source) {_KEYED} "  # noqa: S608 - our own names
    f"UNION ALL SELECT (SELECT min(source) {_KEYED} AND source > one) "
    "FROM sources WHERE one IS NOT NULL) SELECT one FROM sources WHERE one IS NOT NULL"
)
# Ids first, so that the rows of all others are not even touched: an index holds the ids of its rows.
_CALLED = (
    "id IN (SELECT id FROM subscriptions WHERE state <> 'removed' AND id = ? "  # noqa: S608 - our own names
    f"UNION ALL SELECT id {_KEYED} AND key = ? AND source IN ({_SOURCES}))"
)
_STARTING = f"{SUBSCRIPTION} AND source = ? AND key >= ? ORDER BY key, connection LIMIT ?"


class LookupRows(Database):
    """Where subscriptions are found by what people call them."""

    async def page(self, *, after: str = "", limit: int, which: r.Which = r.ANY) -> Sequence[r.Endpoint]:
        """Return subscriptions that are not removed by id, those after one of them."""
        sql, values = _page(which)
        bound = (*values, after, limit)
        return await self.read(lambda c: with_endpoints(c, c.execute(sql, bound).fetchall()))

    async def starting(self, prefix: str, *, limit: int) -> Sequence[r.Subscription]:
        """Return subscriptions that are not removed and whose key starts so, by source, key, connection."""

        def work(connection: Connection) -> Sequence[r.Subscription]:
            found: list[Row] = []
            for (source,) in connection.execute(_SOURCES).fetchall():
                rows = connection.execute(_STARTING, (source, prefix, limit - len(found))).fetchall()
                found += takewhile(lambda row: row[3].startswith(prefix), rows)
            return [subscription(row) for row in found]

        return await self.read(work)

    async def subscribers_called(self, key: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return those with a key, of whatever dynamic trigger, by that."""
        rows = await self.read(lambda c: c.execute(SUBSCRIBERS_CALLED, (key, limit)).fetchall())
        return [subscriber_from(row) for row in rows]


def _page(which: r.Which) -> tuple[str, tuple[Value, ...]]:
    told: dict[str, tuple[Value, ...]] = {}
    if which.called is not None:
        told[_CALLED] = (which.called, which.called)
    for column, value in (  # +: no index for those, whose rows would have to be sorted by id
        ("connection = ?", which.connection),
        ("+source = ?", which.source),
        ("+state = ?", which.state),
    ):
        if value is not None:
            told[column] = (value,)
    conditions = " AND ".join([*told, "id > ?"])
    return f"{SUBSCRIPTION} AND {conditions} ORDER BY id LIMIT ?", sum(told.values(), ())
