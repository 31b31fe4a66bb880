"""Accounts' credentials, sealed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, Value, overwriting
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscribers import subscribers_through
from trigflow.stores.sqlite.subscriptions import SUBSCRIPTION, row_of, subscription, text_of, tuple_of

logger: logging.Logger = logging.getLogger("trigflow.store")
_COLUMNS = (
    "ref, integration, kind, sealed, account, label, state, cause, missing, expires_at, refresh_at, "
    "checked_at, created_at, updated_at"
)
_SELECT = f"SELECT {_COLUMNS} FROM connections"  # noqa: S608 - our own names
_DUE = f"{_SELECT} WHERE refresh_at IS NOT NULL AND refresh_at <= ? ORDER BY refresh_at, ref LIMIT ?"
# Not INSERT OR REPLACE: whoever has the right to make a token keeps it.
_PUT = (
    f"INSERT INTO connections({_COLUMNS}) VALUES({', '.join('?' * 14)}) ON CONFLICT(ref) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
)
_REPLACE = (
    f"UPDATE connections SET ({_COLUMNS}) = ({', '.join('?' * 14)}) "  # noqa: S608 - our own names
    "WHERE ref = ? AND created_at = ? AND updated_at = ?"
)
# A claim that lasts much longer than ours would is from before the clock was set back.
_CLAIM = (
    "UPDATE connections SET claimed_by = ?1, claimed_until = ?2 WHERE ref = ?3 AND (claimed_by IS NULL "
    "OR claimed_by = ?1 OR claimed_until < ?4 OR claimed_until > ?2 + (?2 - ?4))"
)
_THROUGH = f"{SUBSCRIPTION} AND connection = ? AND id > ? ORDER BY id LIMIT ?"


class ConnectionRows(Database):
    """Where accounts' credentials are kept."""

    async def connection(self, ref: str) -> r.Connection | None:
        """Return one."""
        row = await self.read(lambda connection: row_of(connection, f"{_SELECT} WHERE ref = ?", ref))
        return _connection(row) if row else None

    async def connections(self, *, integration: str | None = None) -> Sequence[r.Connection]:
        """Return all, by ref."""
        where, values = ("", ()) if integration is None else ("WHERE integration = ?", (integration,))
        sql = f"{_SELECT} {where} ORDER BY ref"
        rows = await self.read(lambda connection: connection.execute(sql, values).fetchall())
        return [_connection(row) for row in rows]

    async def connections_due(self, *, now: int, limit: int) -> Sequence[r.Connection]:
        """Return those whose token is to be made anew by now, the longest due first."""
        rows = await self.read(lambda connection: connection.execute(_DUE, (now, limit)).fetchall())
        return [_connection(row) for row in rows]

    async def put_connection(self, connection: r.Connection) -> None:
        """Keep a connection, in place of one of the same ref, whose bytes are overwritten."""
        row = _row(connection)

        def work(connection: Connection) -> None:
            with overwriting(connection):
                connection.execute(_PUT, row)

        await self.write(work)

    async def replace_connection(self, before: r.Connection, after: r.Connection) -> bool:
        """Keep a connection in place of another; what was removed is not brought back."""
        row = (*_row(after), before.ref, before.created_at, before.updated_at)

        def work(connection: Connection) -> bool:
            with overwriting(connection):
                connection.execute(_REPLACE, row)
            return connection.changes() == 1

        return await self.write(work)

    async def remove_connection(self, ref: str) -> bool:
        """Shred a connection: its bytes are overwritten, in the -wal too."""

        def work(connection: Connection) -> bool:
            with overwriting(connection):
                connection.execute("DELETE FROM connections WHERE ref = ?", (ref,))
            return connection.changes() == 1

        removed = await self.write(work)
        if removed and not await self.empty_wal():
            logger.warning("what was removed of %s stays in the -wal until that is written over", ref)
        return removed

    async def claim_connection(self, ref: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to make a token."""

        def work(connection: Connection) -> bool:
            with overwriting(connection):
                connection.execute(_CLAIM, (owner, until, ref, now))
            return connection.changes() == 1

        return await self.write(work)

    async def release_connection(self, ref: str, owner: str) -> None:
        """Give the right back."""
        sql = "UPDATE connections SET claimed_by = NULL WHERE ref = ? AND claimed_by = ?"

        def work(connection: Connection) -> None:
            with overwriting(connection):
                connection.execute(sql, (ref, owner))

        await self.write(work)

    async def connected(self, ref: str) -> int:
        """Tell how many subscriptions that are not removed go through a connection."""
        sql = "SELECT count(*) FROM subscriptions WHERE state <> 'removed' AND connection = ?"
        ((count,),) = await self.read(lambda connection: connection.execute(sql, (ref,)).fetchall())
        return int(count)

    async def through(self, ref: str, *, limit: int, after: str = "") -> Sequence[r.Subscription]:
        """Return subscriptions that go through a connection."""
        rows = await self.read(lambda c: c.execute(_THROUGH, (ref, after, limit)).fetchall())
        return [subscription(row) for row in rows]

    async def subscribed_through(self, ref: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return some of those who subscribed through a connection."""
        return await self.read(lambda connection: subscribers_through(connection, ref, limit))


def _row(c: r.Connection) -> tuple[Value, ...]:
    return (
        c.ref, c.integration, c.kind, c.sealed, c.account, c.label, c.state, c.cause, text_of(c.missing),
        c.expires_at, c.refresh_at, c.checked_at, c.created_at, c.updated_at,
    )  # fmt: skip


def _connection(row: Row) -> r.Connection:
    (ref, integration, kind, sealed, account, label, state, cause, missing, *times) = row
    return r.Connection(
        ref, integration, kind, sealed, account, label, state, cause, tuple_of(missing), *times
    )
