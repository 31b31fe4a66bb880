"""What is in a store: rows, bytes, ages. Only reads, and counts every row: for people."""

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
    "subscriptions": "",
    "registrations": "(SELECT at FROM registrations ORDER BY id {} LIMIT 1)",
    "wants": "",
    "instances": "",
}
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

    size: bytes, with indexes; None where it was not asked for.
    """

    name: str
    rows: int
    oldest: int | None
    newest: int | None
    size: int | None


@attrs.frozen
class Stats:
    """What is in a store; sizes in bytes.

    free: of `size`, the pages that what comes next will fill. outcomes: deliveries by outcome.
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


def stats(path: Path, *, now: int, sizes: bool) -> Stats:
    """Count what is in a store, which may be in use; raises as `care.check` does.

    now: unix milliseconds. sizes: measure each table, too, which reads the whole file.
    """
    with reading(path) as connection:
        connection.execute("BEGIN")  # all of it as it is at one moment
        size_of: dict[str, int] = dict(connection.execute(_BYTES).fetchall()) if sizes else {}
        page: int = connection.pragma("page_size")
        ((store_id,),) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchall()
        return Stats(
            version=connection.pragma("user_version"),
            store_id=store_id,
            size=connection.pragma("page_count") * page,
            wal=_size(Path(f"{path}-wal")),
            free=connection.pragma("freelist_count") * page,
            tables=[_table(connection, name, size_of.get(name)) for name in _TABLES],
            outcomes=dict(connection.execute(_OUTCOMES).fetchall()),
            queue=dict(connection.execute(_QUEUE, (now,)).fetchall()),
        )


def _table(connection: Connection, name: str, size: int | None) -> Table:
    end = _TABLES[name]
    ages = f"{end.format('')}, {end.format('DESC')}" if end else "NULL, NULL"
    sql = f"SELECT (SELECT count(*) FROM {name}), {ages}"  # noqa: S608
    ((rows, oldest, newest),) = connection.execute(sql).fetchall()
    return Table(name, rows, oldest, newest, size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
