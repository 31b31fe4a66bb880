"""What processes and subscribers want, and how soon they expect something."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscriptions import text_of, tuple_of

NOTHING: Mapping[str, int] = {}
_COLUMNS = "source, key, connection, params, events, expect_every"
_WANT = "INSERT OR REPLACE INTO wants VALUES(?,?,?,?,?,?,?,?)"
_FRESH = f"SELECT {_COLUMNS} FROM wants WHERE at >= ? ORDER BY source, key, connection, at, owner"  # noqa: S608
_OF = (
    f"SELECT {_COLUMNS} FROM wants WHERE source = ? AND key = ? AND connection = ? AND at >= ? "  # noqa: S608
    "ORDER BY at DESC, owner DESC"
)
_OF_SUBSCRIBERS = (
    "SELECT source, source_key, connection, params, events, expect_every, dynamic FROM subscribers "
    "WHERE source = ? AND source_key = ? AND connection = ? ORDER BY dynamic, key"
)
_EXPECTED = "SELECT dynamic, min(expect_every) FROM expectations WHERE at >= ? GROUP BY dynamic"


class WantRows(Database):
    """Where wants are kept."""

    async def put_wants(
        self, owner: str, wants: Sequence[r.Want], *, at: int, expects: Mapping[str, int] = NOTHING
    ) -> None:
        """Replace what one process wants."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM wants WHERE owner = ?", (owner,))
            connection.execute("DELETE FROM expectations WHERE owner = ?", (owner,))
            for dynamic, every in expects.items():
                connection.execute("INSERT INTO expectations VALUES(?,?,?,?)", (owner, dynamic, every, at))
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
            expected: dict[str, int] = dict(connection.execute(_EXPECTED, (since,)).fetchall())
            for identity in identities:
                wants = [_want(row) for row in connection.execute(_OF, (*identity, since))]
                for *row, dynamic in connection.execute(_OF_SUBSCRIBERS, identity):
                    wants.append(_also_expecting(_want(tuple(row)), expected.get(dynamic)))
                if wants:
                    found[identity] = united(wants)
            return found

        return await self.read(work)


def _want(row: Row) -> r.Want:
    source, key, connection, params, events, expect_every = row
    return r.Want(source, key, connection, params.encode(), tuple_of(events), expect_every)


def _also_expecting(want: r.Want, every: int | None) -> r.Want:
    """Return a want that expects something as soon as it did, or within `every` (ms) if that is sooner."""
    soonest = min((one for one in (want.expect_every, every) if one is not None), default=None)
    return msgspec.structs.replace(want, expect_every=soonest)


def united(wants: Sequence[r.Want]) -> r.Want:
    """Return several wants of one identity as one: params of the first, all events, the shortest time."""
    first = wants[0]
    events = tuple(sorted({event for want in wants for event in want.events}))
    times = [want.expect_every for want in wants if want.expect_every is not None]
    return r.Want(*first.identity, first.params, events, min(times, default=None))
