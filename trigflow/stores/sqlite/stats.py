"""What is in a store: rows, bytes, ages. Only reads: for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from trigflow.stores.sqlite.care import reading
from trigflow.stores.sqlite.connection import Connection

# Where a row's time is not known, or would have to be looked for in all rows, no age is told.
_TABLES: Mapping[str, str] = {
    "deliveries": "(SELECT received_at FROM deliveries ORDER BY id {} LIMIT 1)",
    "events": "",
    "dedupe": "",
    "runs": "(SELECT created_at FROM runs ORDER BY id {} LIMIT 1)",
    "finishes": "",
    "attempts": "",
    "tasks": "",
    "logs": "(SELECT at FROM logs ORDER BY rowid {} LIMIT 1)",
    "queue": "",
    "endpoints": "",
    "keys": "",
    "subscriptions": "",
    "subscribers": "",
    "connections": "",
    "registrations": "(SELECT at FROM registrations ORDER BY id {} LIMIT 1)",
    "recoveries": "(SELECT at FROM recoveries ORDER BY id {} LIMIT 1)",
    "alerts": "(SELECT since FROM alerts ORDER BY since {} LIMIT 1)",
    "audit": "(SELECT at FROM audit ORDER BY rowid {} LIMIT 1)",
    "wants": "",
    "expectations": "",
    "instances": "",
}
# Not counted unless asked for: with ten million deliveries that are five GB to be read.
_LARGE = frozenset({"deliveries", "events", "dedupe", "runs", "finishes", "attempts", "tasks", "logs"})
_OUTCOMES = "SELECT outcome, count(*) FROM deliveries GROUP BY outcome ORDER BY outcome"
_QUEUE = (
    "SELECT CASE WHEN held THEN 'held' WHEN owner IS NOT NULL THEN 'running' WHEN waits THEN 'waiting' "
    "WHEN due_at > ? THEN 'delayed' ELSE 'queued' END, count(*) FROM queue GROUP BY 1 ORDER BY 1"
)
# A table together with its indexes; reads every page of the file.
_BYTES = (
    "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat('main', 1) d JOIN sqlite_schema s ON s.name = d.name "
    "GROUP BY 1"
)


@attrs.frozen
class Table:
    """The rows of a table; times in unix milliseconds, None where there are none or it can't be told.

    rows, size (bytes, with indexes): None where they were not asked for.
    """

    name: str
    rows: int | None
    oldest: int | None
    newest: int | None
    size: int | None


@attrs.frozen
class Stats:
    """What is in a store; sizes in bytes.

    free: of `size`, the pages that what comes next will fill. outcomes: deliveries by outcome, if asked for.
    queue: runs that have not ended by state, `delayed` being queued ones whose time has not come.
    """

    version: int
    store_id: str
    size: int
    wal: int
    free: int
    tables: Sequence[Table]
    outcomes: Mapping[str, int]
    queue: Mapping[str, int]


def stats(path: Path, *, now: int, full: bool) -> Stats:
    """Look at what is in a store, which may be in use; raises as `care.check` does.

    now: unix milliseconds. full: count and measure every table, which reads the whole file.
    """
    with reading(path) as connection:
        connection.execute("BEGIN")  # all of it as it is at one moment
        size_of: dict[str, int] = dict(connection.execute(_BYTES).fetchall()) if full else {}
        page: int = connection.pragma("page_size")
        ((store_id,),) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchall()
        return Stats(
            version=connection.pragma("user_version"),
            store_id=store_id,
            size=connection.pragma("page_count") * page,
            wal=_size(Path(f"{path}-wal")),
            free=connection.pragma("freelist_count") * page,
            tables=[_table(connection, name, size_of.get(name), full=full) for name in _TABLES],
            outcomes=dict(connection.execute(_OUTCOMES).fetchall()) if full else {},
            queue=dict(connection.execute(_QUEUE, (now,)).fetchall()),
        )


def _table(connection: Connection, name: str, size: int | None, *, full: bool) -> Table:
    end = _TABLES[name]
    rows = f"(SELECT count(*) FROM {name})" if full or name not in _LARGE else "NULL"  # noqa: S608
    ages = f"{end.format('')}, {end.format('DESC')}" if end else "NULL, NULL"
    sql = f"SELECT {rows}, {ages}"
    ((count, oldest, newest),) = connection.execute(sql).fetchall()
    return Table(name, count, oldest, newest, size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
