"""Which subscriptions are looked at next, and which connections nobody may call through now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from trigflow.core.waits import ENDS_SOON, GENTLY, MOST_QUIET
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscriptions import SELECT, row_of, with_endpoints

# The condition is that of the index, word for word, and nothing is asked that is not in it: however
# many are left out, only the index is gone through.
_THERE = "FROM subscriptions INDEXED BY subscriptions_due WHERE state <> 'removed'"
# One that would last longer than any does was begun before the clock was set back.
_MOST, _GENTLY, _SOON = (int(time.total_seconds() * 1000) for time in (MOST_QUIET, GENTLY, ENDS_SOON))
_NOW_QUIET = f"until > ?1 AND until <= ?1 + {_MOST}"
_MAY_BE_CALLED = f"connection NOT IN (SELECT connection FROM quiets WHERE {_NOW_QUIET})"  # noqa: S608 - our own
_NOT_FULL = (
    "connection NOT IN (SELECT value FROM json_each(?3)) "
    "AND substr(connection, 1, instr(connection || '/', '/') - 1) NOT IN (SELECT value FROM json_each(?4))"
)
_DUE = (
    f"{SELECT} WHERE id IN (SELECT id {_THERE} AND next_at <= ?1 AND {_MAY_BE_CALLED} AND {_NOT_FULL} "
    "ORDER BY next_at, id LIMIT ?2) ORDER BY next_at, id"
)
# What can't wait behind a crowd of others that are overdue for longer.
_ENDING = (
    f"{SELECT} WHERE id IN (SELECT id FROM subscriptions INDEXED BY subscriptions_ending "  # noqa: S608 - our own
    "WHERE lease_until IS NOT NULL AND state <> 'removed' AND lease_until <= ?5 AND next_at <= ?1 "
    f"AND {_MAY_BE_CALLED} AND {_NOT_FULL} ORDER BY lease_until, id LIMIT ?2) ORDER BY lease_until, id"
)
_NEXT = f"SELECT next_at {_THERE} AND {_MAY_BE_CALLED} ORDER BY next_at LIMIT 1"
# One step of the index for each, however many subscriptions go through it.
_AFTER = "SELECT min(connection) FROM subscriptions WHERE state <> 'removed' AND connection >"
_REFS = (
    f"WITH RECURSIVE refs(one) AS (SELECT ({_AFTER} ?1) UNION ALL SELECT ({_AFTER} one) FROM refs "  # noqa: S608
    "WHERE one IS NOT NULL LIMIT ?2) SELECT one FROM refs WHERE one IS NOT NULL"
)
_END = f"SELECT min(until) FROM quiets WHERE {_NOW_QUIET}"  # noqa: S608 - our own names
_HUSH = (
    "INSERT INTO quiets VALUES(?1, ?2, ?3) ON CONFLICT(connection) DO UPDATE "
    f"SET until = excluded.until, cause = excluded.cause WHERE until < excluded.until OR until > ?4 + {_MOST}"
)
_FORGET = f"DELETE FROM quiets WHERE until <= ? - {_GENTLY}"  # noqa: S608 - our own names
_QUIET = f"SELECT connection, until, cause FROM quiets WHERE connection = ?2 AND {_NOW_QUIET}"  # noqa: S608
_LATELY = f"SELECT connection FROM quiets WHERE until <= ?1 AND until > ?1 - {_GENTLY}"  # noqa: S608


class DueRows(Database):
    """Where it is kept what is due, and who has to wait."""

    async def due(
        self, *, now: int, limit: int, but: Collection[str] = (), but_of: Collection[str] = ()
    ) -> Sequence[r.Endpoint]:
        """Return subscriptions to be looked at by now, leases that end soon, then the longest due."""
        values = (now, limit, _json(but), _json(but_of))

        def work(connection: Connection) -> Sequence[r.Endpoint]:
            ending = connection.execute(_ENDING, (*values, now + _SOON)).fetchall()
            ids = {row[0] for row in ending}
            due = connection.execute(_DUE, values).fetchall() if len(ending) < limit else []
            rows = [*ending, *(row for row in due if row[0] not in ids)]
            return with_endpoints(connection, rows[:limit])

        return await self.read(work)

    async def next_look(self, *, now: int) -> int | None:
        """Tell when the next subscription is to be looked at, or a quiet period is over."""

        def work(connection: Connection) -> int | None:
            rows = [row_of(connection, sql, now) for sql in (_NEXT, _END)]
            return min((int(row[0]) for row in rows if row and row[0] is not None), default=None)

        return await self.read(work)

    async def refs_in_use(self, *, after: str = "", limit: int) -> Sequence[str]:
        """Return the connections of subscriptions, in order."""
        rows = await self.read(lambda c: c.execute(_REFS, (after, limit)).fetchall())
        return [ref for (ref,) in rows]

    async def hush(self, quiet: r.QuietPeriod, *, now: int) -> None:
        """Keep that a connection is quiet."""

        def work(connection: Connection) -> None:
            connection.execute(_FORGET, (now,))
            connection.execute(_HUSH, (quiet.connection, quiet.until, quiet.cause, now))

        await self.write(work)

    async def quiet(self, connection: str, *, now: int) -> r.QuietPeriod | None:
        """Return what is kept of a connection that is quiet now."""
        row = await self.read(lambda c: row_of(c, _QUIET, now, connection))
        return r.QuietPeriod(*row) if row else None

    async def quiet_lately(self, *, now: int) -> Collection[str]:
        """Return the connections whose quiet period is over since a moment ago."""
        rows = await self.read(lambda c: c.execute(_LATELY, (now,)).fetchall())
        return [ref for (ref,) in rows]


def _json(names: Collection[str]) -> str:
    return msgspec.json.encode(list(names)).decode()
