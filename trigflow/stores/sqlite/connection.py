"""A connection to SQLite: as much of apsw as we use, with types that say what our tables hold.

apsw's own annotations let every column be everything, which would put a cast at
each read. Our tables are STRICT: a column holds what it declares.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import apsw

BUSY_MS = 5_000

Value: TypeAlias = str | bytes | int | float | None
Row: TypeAlias = tuple[Any, ...]


class Rows(Protocol):
    """The rows of a statement."""

    def fetchall(self) -> list[Row]:
        """Return the rest of them."""
        ...

    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    """What apsw.Connection does."""

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open; some errors end it by themselves."""
        ...

    def execute(self, statements: str, bindings: Sequence[Value] | None = None, /) -> Rows:
        """Execute statements up to their first row."""
        ...

    def changes(self) -> int:
        """Tell how many rows the last INSERT, UPDATE or DELETE touched."""
        ...

    def pragma(self, name: str, value: Value = None, /) -> Any:
        """Read or set a pragma."""
        ...

    def set_busy_timeout(self, milliseconds: int, /) -> None:
        """Say how long a statement waits for another connection's lock."""
        ...

    def close(self, force: bool = False, /) -> None:
        """Close it; with force also where rows were not read to the end."""
        ...


def connect(path: Path, *, readonly: bool = False) -> Connection:
    """Open a connection that waits up to BUSY_MS for a lock."""
    writes = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY if readonly else writes)
    connection.set_busy_timeout(BUSY_MS)
    return cast("Connection", connection)


@contextmanager
def overwriting(connection: Connection) -> Generator[None, None, None]:
    """Have SQLite overwrite what is deleted or moved meanwhile, and the pages that it leaves free.

    Around every write to a table with secrets: one that makes a row longer, or splits a page, moves
    others. Not in general: that was 2 % of an event's time.
    """
    connection.pragma("secure_delete", "on")
    try:
        yield
    finally:
        connection.pragma("secure_delete", "off")
