"""What processes and subscribers want."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscriptions import text_of, tuple_of

_COLUMNS = "source, key, connection, params, events, expect_every"
_WANT = "INSERT OR REPLACE INTO wants VALUES(?,?,?,?,?,?,?,?)"
_FRESH = f"SELECT {_COLUMNS} FROM wants WHERE at >= ? ORDER BY source, key, connection, at, owner"  # noqa: S608
_OF = (
    f"SELECT {_COLUMNS} FROM wants WHERE source = ? AND key = ? AND connection = ? AND at >= ? "  # noqa: S608
    "ORDER BY at DESC, owner DESC"
)
_OF_SUBSCRIBERS = (
    "SELECT source, source_key, connection, params, events, NULL FROM subscribers "
    "WHERE source = ? AND source_key = ? AND connection = ? ORDER BY dynamic, key"
)


class WantRows(Database):
    """Where wants are kept."""

    async def put_wants(self, owner: str, wants: Sequence[r.Want], *, at: int) -> None:
        """Replace what one process wants."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM wants WHERE owner = ?", (owner,))
            for want in wants:
                row = (
                    owner, *want.identity, want.params.decode(), text_of(want.events), want.expect_every, at,
                )  # fmt: skip
                connection.execute(_WANT, row)

        await self.write(work)

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        rows = await self.read(lambda connection: connection.execute(_FRESH, (since,)).fetchall())
        return [_want(row) for row in rows]

    async def wanted(self, identities: Collection[Identity], *, since: int) -> Mapping[Identity, r.Want]:
        """Return what processes and subscribers want together."""

        def work(connection: Connection) -> Mapping[Identity, r.Want]:
            found: dict[Identity, r.Want] = {}
            for identity in identities:
                rows = connection.execute(_OF, (*identity, since)).fetchall()
                rows += connection.execute(_OF_SUBSCRIBERS, identity).fetchall()
                if rows:
                    found[identity] = united([_want(row) for row in rows])
            return found

        return await self.read(work)


def _want(row: Row) -> r.Want:
    source, key, connection, params, events, expect_every = row
    return r.Want(source, key, connection, params.encode(), tuple_of(events), expect_every)


def united(wants: Sequence[r.Want]) -> r.Want:
    """Return several wants of one identity as one: params of the first, all events, the shortest time."""
    first = wants[0]
    events = tuple(sorted({event for want in wants for event in want.events}))
    times = [want.expect_every for want in wants if want.expect_every is not None]
    return r.Want(*first.identity, first.params, events, min(times, default=None))
