"""Finding and removing what is old.

    a look (a thread that reads) ──names──> a removal (a small write transaction, on the loop)

A look walks rows in the order in which they came, from a place on, and ends at the
first that is too young; what must stay is stepped over. It reads all that a removal
will touch, because the loop must not wait for a disk. A removal checks again: a run
may have been started in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, Value, overwriting
from trigflow.stores.sqlite.database import Database

_SUBSCRIPTIONS = '["subscriptions",-1,""]'  # where the second half of what was removed begins
MOST_STUCK = 5_000  # deliveries older than their dedupe keys that are looked at one by one

# A run that has not ended, or ended too lately, keeps the delivery that it came from.
_NEEDED = (
    "EXISTS (SELECT 1 FROM events JOIN runs ON runs.event = events.id "
    "LEFT JOIN finishes ON finishes.run_id = runs.id WHERE events.delivery_id = d.id "
    "AND (finishes.ended_at IS NULL OR finishes.ended_at >= ?2))"
)
# Each gives: its place, whether it is too young, whether it must stay. Bindings: after, before, limit.
_RUNS = (
    "SELECT runs.id, runs.created_at >= ?2, finishes.ended_at IS NULL OR finishes.ended_at >= ?2 "
    "FROM runs LEFT JOIN finishes ON finishes.run_id = runs.id WHERE runs.id > ?1 ORDER BY runs.id LIMIT ?3"
)
_DELIVERIES = (
    f"SELECT d.id, d.received_at >= ?2, {_NEEDED} FROM deliveries d WHERE d.id > ?1 ORDER BY d.id LIMIT ?3"  # noqa: S608
)
_REGISTRATIONS = "SELECT id, at >= ?2, 0 FROM registrations WHERE id > ?1 ORDER BY id LIMIT ?3"
_RECOVERIES = "SELECT id, at >= ?2, 0 FROM recoveries WHERE id > ?1 ORDER BY id LIMIT ?3"
# Numbers, named by their text.
_AUDIT = (
    "SELECT CAST(rowid AS TEXT), at >= ?2, 0 FROM audit WHERE rowid > CAST(?1 AS INTEGER) "
    "ORDER BY rowid LIMIT ?3"
)
_REMOVED: Mapping[str, str] = {
    "endpoints": (
        "SELECT id, removed_at FROM endpoints WHERE state = 'removed' AND removed_at < ?2 "
        "AND (removed_at, id) > (?1, ?4) ORDER BY removed_at, id LIMIT ?3"
    ),
    "subscriptions": (
        "SELECT id, updated_at FROM subscriptions WHERE state = 'removed' AND updated_at < ?2 "
        "AND (updated_at, id) > (?1, ?4) ORDER BY updated_at, id LIMIT ?3"
    ),
}
_NOISE = "SELECT id, received_at >= ?2, 0 FROM deliveries WHERE outcome = ?4 AND id > ?1 ORDER BY id LIMIT ?3"
_BODIES = (
    f"SELECT d.id, d.received_at, d.rowid, {_NEEDED} FROM deliveries d WHERE d.body IS NOT NULL "  # noqa: S608
    "AND d.received_at < ?2 AND (d.received_at, d.rowid) > (?1, ?4) "
    "ORDER BY d.received_at, d.rowid LIMIT ?3"
)
_DEDUPE = (
    "SELECT subscription_id, event_id, at FROM dedupe WHERE (subscription_id, event_id) > (?, ?) "
    "ORDER BY subscription_id, event_id LIMIT ?"
)
_STUCK = (
    "SELECT d.received_at, events.subscription_id, coalesce(events.dedupe_id, events.event_id) "
    "FROM deliveries d "
    "LEFT JOIN events ON events.delivery_id = d.id WHERE d.id > '' ORDER BY d.id"
)
_PROCESSES = (
    "SELECT owner FROM wants GROUP BY owner HAVING max(at) < ?1 "
    "UNION SELECT owner FROM expectations GROUP BY owner HAVING max(at) < ?1 "
    "UNION SELECT id FROM instances WHERE beat_at < ?1 AND id NOT IN (SELECT owner FROM wants) "
    "AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.owner = instances.id) LIMIT ?2"
)
_TOUCHED: Mapping[r.Kind, Sequence[str]] = {
    "runs": (
        "SELECT * FROM runs WHERE id = ?",
        "SELECT * FROM tasks WHERE run_id = ?",
        "SELECT * FROM logs WHERE run_id = ?",
    ),
    "noise": ("SELECT * FROM deliveries WHERE id = ?",),
    "deliveries": (
        "SELECT * FROM deliveries WHERE id = ?",
        "SELECT * FROM events WHERE delivery_id = ?",
    ),
    "bodies": (
        "SELECT * FROM deliveries WHERE id = ?",
        "SELECT * FROM events WHERE delivery_id = ?",
    ),
}

# One that is over says no more than one that is not there. Consents leave two each.
_CHORES_OVER = "DELETE FROM meta WHERE name >= 'chore ' AND name < 'chore!' AND CAST(value AS INTEGER) <= ?"

_Find: TypeAlias = Callable[[Connection, int, str, int], r.Old]
_Remove: TypeAlias = Callable[[Connection, tuple[str, ...], int], bool]


class PruningRows(Database):
    """Where what is old is found and removed."""

    async def find_old(self, kind: r.Kind, *, before: int, after: str, limit: int) -> r.Old:
        """Look at up to `limit` rows."""

        def work(connection: Connection) -> r.Old:
            old = _FIND[kind](connection, before, after, limit)
            for sql in _TOUCHED.get(kind, ()):
                for name, *_ in old.names:
                    connection.execute(sql, (name,)).fetchall()
            return old

        return await self.read(work)

    async def remove_old(self, kind: r.Kind, names: Sequence[tuple[str, ...]], *, before: int) -> int:
        """Remove, in one transaction, which of these are still old."""
        remove = _REMOVE[kind]
        return await self.write(lambda connection: sum(remove(connection, name, before) for name in names))

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment."""

        def work(connection: Connection) -> bool:
            # A claim that lasts longer than ours would is from before the clock was set back.
            connection.execute(
                "INSERT INTO meta VALUES('chore ' || ?1, ?3) ON CONFLICT(name) DO UPDATE "
                "SET value = excluded.value WHERE CAST(value AS INTEGER) NOT BETWEEN ?2 + 1 AND ?3",
                (chore, now, until),
            )
            taken = connection.changes() > 0
            connection.execute(_CHORES_OVER, (now,))
            return taken

        return await self.write(work)


# --- looks


def _walk(rows: Sequence[Row], limit: int) -> r.Old:
    """Choose from rows of (place, is too young, must stay)."""
    names: list[tuple[str, ...]] = []
    for place, young, stays in rows:
        if young:
            return r.Old(tuple(names), None)
        if not stays:
            names.append((place,))
    return r.Old(tuple(names), rows[-1][0] if len(rows) == limit else None)


def _walking(sql: str) -> _Find:
    def find(connection: Connection, before: int, after: str, limit: int) -> r.Old:
        return _walk(connection.execute(sql, (after, before, limit)).fetchall(), limit)

    return find


def _find_noise(connection: Connection, before: int, after: str, limit: int) -> r.Old:
    """Walk one outcome after the other; a place is an outcome and an id."""
    outcome, _, id_ = after.partition(" ")
    outcome = outcome or r.NOISE[0]
    old = _walk(connection.execute(_NOISE, (id_, before, limit, outcome)).fetchall(), limit)
    if old.after is not None:
        return r.Old(old.names, f"{outcome} {old.after}")
    places: Sequence[str] = r.NOISE
    following = (*places, None)[places.index(outcome) + 1]
    return r.Old(old.names, None if following is None else f"{following} ")


def _find_bodies(connection: Connection, before: int, after: str, limit: int) -> r.Old:
    at, rowid = msgspec.json.decode(after, type=tuple[int, int]) if after else (-1, 0)
    rows = connection.execute(_BODIES, (at, before, limit, rowid)).fetchall()
    names = tuple((id_,) for id_, _, _, stays in rows if not stays)
    return r.Old(names, msgspec.json.encode(rows[-1][1:3]).decode() if len(rows) == limit else None)


def _find_dedupe(connection: Connection, before: int, after: str, limit: int) -> r.Old:
    """Walk all keys: an index by age would be as large as they are, and be written to by each event."""
    place = msgspec.json.decode(after, type=tuple[str, str]) if after else ("", "")
    before, stuck = _stuck(connection, before)
    rows = connection.execute(_DEDUPE, (*place, limit)).fetchall()
    names = tuple((s, e) for s, e, at in rows if at < before and (s, e) not in stuck)
    return r.Old(names, msgspec.json.encode(rows[-1][:2]).decode() if len(rows) == limit else None)


def _stuck(connection: Connection, before: int) -> tuple[int, set[tuple[str, str]]]:
    """Return which keys must stay because their event is there, and until when that is known.

    Deliveries go before their keys do, so that what is left is held by a run that has not ended.
    """
    found: set[tuple[str, str]] = set()
    for received_at, subscription, event in connection.execute(_STUCK):
        if received_at >= before:
            break
        if len(found) == MOST_STUCK:
            return received_at, found
        if event is not None:
            found.add((subscription, event))
    return before, found


def _find_processes(connection: Connection, before: int, after: str, limit: int) -> r.Old:
    rows = connection.execute(_PROCESSES, (before, limit)).fetchall()
    return r.Old(tuple((owner,) for (owner,) in rows), None)


def _find_removed(connection: Connection, before: int, after: str, limit: int) -> r.Old:
    """Walk endpoints, then subscriptions; a row is called by its table and its id."""
    place = msgspec.json.decode(after, type=tuple[str, int, str]) if after else ("endpoints", -1, "")
    table, at, id_ = place
    rows = connection.execute(_REMOVED[table], (at, before, limit, id_)).fetchall()
    names = tuple((table, id_) for id_, _ in rows)
    if len(rows) == limit:
        id_, at = rows[-1]
        return r.Old(names, msgspec.json.encode((table, at, id_)).decode())
    return r.Old(names, _SUBSCRIPTIONS if table == "endpoints" else None)


_FIND: Mapping[r.Kind, _Find] = {
    "runs": _walking(_RUNS),
    "noise": _find_noise,
    "deliveries": _walking(_DELIVERIES),
    "bodies": _find_bodies,
    "registrations": _walking(_REGISTRATIONS),
    "recoveries": _walking(_RECOVERIES),
    "audit": _walking(_AUDIT),
    "removed": _find_removed,
    "processes": _find_processes,
    "dedupe": _find_dedupe,
}

# --- removals


def _did(connection: Connection, sql: str, values: Iterable[Value]) -> bool:
    connection.execute(sql, tuple(values))
    return connection.changes() > 0


def _remove_run(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    ended = "DELETE FROM finishes WHERE run_id = ? AND ended_at < ?"
    if not _did(connection, ended, (*name, before)):
        return False
    for sql in (
        "DELETE FROM runs WHERE id = ?",
        "DELETE FROM tasks WHERE run_id = ?",
        "DELETE FROM attempts WHERE run_id = ?",
        "DELETE FROM logs WHERE run_id = ?",
    ):
        connection.execute(sql, name)
    return True


def _remove_delivery(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    """Remove a delivery with its events, and with what is left of their runs."""
    sql = f"DELETE FROM deliveries AS d WHERE d.id = ?1 AND d.received_at < ?2 AND NOT {_NEEDED}"  # noqa: S608
    if not _did(connection, sql, (*name, before)):
        return False
    runs = "SELECT runs.id FROM events JOIN runs ON runs.event = events.id WHERE events.delivery_id = ?"
    for run in connection.execute(runs, name).fetchall():
        _remove_run(connection, run, before)
    connection.execute("DELETE FROM events WHERE delivery_id = ?", name)
    return True


def _remove_noise(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    places = ", ".join("?" * len(r.NOISE))
    sql = f"DELETE FROM deliveries WHERE id = ? AND received_at < ? AND outcome IN ({places})"  # noqa: S608
    return _did(connection, sql, (*name, before, *r.NOISE))


def _remove_body(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    """Put a row without the body in its place.

    Not an UPDATE: SQLite would leave the page of each row as it is, and as good as empty.
    """
    sql = (
        "SELECT rowid, id, endpoint_id, subscription_id, received_at, outcome, cause, status, method, "  # noqa: S608
        "headers, NULL, trace, sealed, key_serial FROM deliveries d "
        f"WHERE d.id = ?1 AND d.body IS NOT NULL AND d.received_at < ?2 AND NOT {_NEEDED}"
    )
    rows = connection.execute(sql, (*name, before)).fetchall()
    for row in rows:
        connection.execute("DELETE FROM deliveries WHERE id = ?", name)
        connection.execute(
            "INSERT INTO deliveries(rowid, id, endpoint_id, subscription_id, received_at, outcome, cause, "
            "status, method, headers, body, trace, sealed, key_serial) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            row,
        )
        connection.execute(
            "UPDATE events SET payload = NULL, context = NULL WHERE delivery_id = ? "
            "AND (payload IS NOT NULL OR context IS NOT NULL)",
            name,
        )
    return bool(rows)


def _remove_processes(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    wanted = _did(connection, "DELETE FROM wants WHERE owner = ? AND at < ?", (*name, before))
    connection.execute("DELETE FROM expectations WHERE owner = ? AND at < ?", (*name, before))
    lived = _did(connection, "DELETE FROM instances WHERE id = ? AND beat_at < ?", (*name, before))
    return wanted or lived


def _remove_removed(connection: Connection, name: tuple[str, ...], before: int) -> bool:
    table, id_ = name
    if table == "endpoints":
        sql = "DELETE FROM endpoints WHERE id = ? AND state = 'removed' AND removed_at < ?"
        if not _did(connection, sql, (id_, before)):
            return False
        with overwriting(connection):
            connection.execute("DELETE FROM keys WHERE endpoint_id = ?", (id_,))
        return True
    sql = "DELETE FROM subscriptions WHERE id = ? AND state = 'removed' AND updated_at < ?"
    if not _did(connection, sql, (id_, before)):
        return False
    connection.execute("DELETE FROM fetches WHERE subscription_id = ?", (id_,))
    connection.execute("DELETE FROM cursors WHERE subscription_id = ?", (id_,))
    return True


def _removing(sql: str) -> _Remove:
    return lambda connection, name, before: _did(connection, sql, (*name, before))


_REMOVE: Mapping[r.Kind, _Remove] = {
    "runs": _remove_run,
    "noise": _remove_noise,
    "deliveries": _remove_delivery,
    "bodies": _remove_body,
    "registrations": _removing("DELETE FROM registrations WHERE id = ? AND at < ?"),
    "recoveries": _removing("DELETE FROM recoveries WHERE id = ? AND at < ?"),
    "audit": _removing("DELETE FROM audit WHERE rowid = CAST(? AS INTEGER) AND at < ?"),
    "removed": _remove_removed,
    "processes": _remove_processes,
    "dedupe": _removing("DELETE FROM dedupe WHERE subscription_id = ? AND event_id = ? AND at < ?"),
}
