"""The file itself: opening, reading, writing, closing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
import apsw
import lz4.block

from trigflow.core.errors import StoreUnavailable, StoreUnusable
from trigflow.stores.sqlite.schema import prepare
from trigflow.stores.sqlite.writer import Writer, translated

T = TypeVar("T")
# Older ones can damage a WAL that several connections reset (SQLite 3.51.3's notes).
OLDEST_SQLITE = 3_051_003
BUSY_MS = 5_000
READERS = 4


class Database:
    """A SQLite file with one writing connection and a few that read.

    Opened per process, after any fork. WAL and synchronous=FULL: what was
    committed survives a power cut.
    """

    def __init__(self, path: str | Path, *, store_id: Callable[[], str]) -> None:
        """Name the file; nothing is opened yet. `store_id` mints the id of a new store."""
        self.path = Path(path)
        self._mint = store_id
        self._store_id: str | None = None
        self._writer: Writer | None = None
        self._idle: list[apsw.Connection] = []
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def store_id(self) -> str:
        """The random name minted with the store."""
        if self._store_id is None:
            raise StoreUnavailable("the store is not open; use it inside `async with app`")
        return self._store_id

    async def __aenter__(self) -> Self:
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise StoreUnusable(
                f"SQLite {apsw.sqlite_lib_version()} can damage its WAL; install apsw>=3.51.3"
            )
        self._limiter = anyio.CapacityLimiter(READERS)
        connection = await anyio.to_thread.run_sync(self._open)
        self._writer = Writer(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
        while self._idle:
            self._idle.pop().close()
        self._store_id = None

    def _open(self) -> apsw.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = apsw.Connection(str(self.path))
            connection.set_busy_timeout(BUSY_MS)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("wal_autocheckpoint", 400)
            connection.pragma("temp_store", "memory")
            self._store_id = prepare(connection, store_id=self._mint())
        except apsw.NotADBError as error:
            raise StoreUnusable(f"{self.path} is not a SQLite database; choose another path") from error
        except apsw.CorruptError as error:
            raise StoreUnusable(f"{self.path} is damaged; restore a backup") from error
        except (apsw.Error, OSError) as error:
            told = translated(error)
            raise StoreUnavailable(f"{self.path}: {told}") from error
        return connection

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do work in a write transaction that others may share; see Writer.run."""
        if self._writer is None:
            raise StoreUnavailable("the store is not open; use it inside `async with app`")
        return await self._writer.run(work)

    def post(self, work: Callable[[apsw.Connection], object]) -> None:
        """Do work that nobody waits for."""
        if self._writer is not None:
            self._writer.post(work)

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do work on a connection that only reads, in a thread."""
        if self._writer is None or self._limiter is None:
            raise StoreUnavailable("the store is not open; use it inside `async with app`")
        return await anyio.to_thread.run_sync(self._read, work, limiter=self._limiter)

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(BUSY_MS)
        try:
            return work(connection)
        except apsw.Error as error:
            raise translated(error) from error
        finally:
            self._idle.append(connection)


def pack(body: bytes) -> bytes:
    """Compress a body for the store."""
    packed: bytes = lz4.block.compress(body)
    return packed


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given."""
    body: bytes = lz4.block.decompress(packed)
    return body
