"""The file itself: opening, reading, writing, closing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import apsw

from trigflow.core.errors import StoreUnavailable, StoreUnusable
from trigflow.stores.sqlite.alone import Presence
from trigflow.stores.sqlite.connection import Connection, connect
from trigflow.stores.sqlite.schema import check, prepare
from trigflow.stores.sqlite.writer import Writer, translated

T = TypeVar("T")
# Older ones can damage a WAL that several connections reset (SQLite 3.51.3's notes).
OLDEST_SQLITE = 3_051_003
READERS = 4
# Without stubs of its own; what it takes and gives is said here once.
_lz4: Any = importlib.import_module("lz4.block")
_compress: Callable[[bytes], bytes] = _lz4.compress
_decompress: Callable[[bytes], bytes] = _lz4.decompress


class Database:
    """A SQLite file with one writing connection and a few that read.

    Opened per process, after any fork. WAL and synchronous=FULL: what was
    committed survives a power cut.
    """

    def __init__(self, path: str | Path, *, store_id: Callable[[], str]) -> None:
        """Name the file; nothing is opened yet. `store_id` mints the id of a new store."""
        self.path: Path = Path(path)
        self._mint = store_id
        self._store_id: str | None = None
        self._presence = Presence(self.path)
        self._writer: Writer | None = None
        self._idle: list[Connection] = []
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def store_id(self) -> str:
        """The random name minted with the store."""
        if self._store_id is None:
            raise _closed()
        return self._store_id

    async def __aenter__(self) -> Self:
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise StoreUnusable(
                f"SQLite {apsw.sqlite_lib_version()} can damage its WAL; install apsw>=3.51.3"
            )
        self._limiter = anyio.CapacityLimiter(READERS)
        connection = await anyio.to_thread.run_sync(self._open)
        connection.set_busy_timeout(0)  # the loop never waits for a lock
        self._writer = Writer(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        writer, self._writer = self._writer, None
        # Readers first: the last connection to close tidies the WAL away, and readers may not write.
        while self._idle:
            self._idle.pop().close()
        if writer is not None:
            await writer.close()
        self._presence.leave()
        self._store_id = None

    def _open(self) -> Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = connect(self.path)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                self._presence.leave()
                raise
        except apsw.NotADBError as error:
            raise StoreUnusable(f"{self.path} is not a SQLite database; choose another path") from error
        except apsw.CorruptError as error:
            raise StoreUnusable(f"{self.path} is damaged; restore a backup") from error
        except (apsw.Error, OSError) as error:
            told = translated(error)
            raise StoreUnavailable(f"{self.path}: {told}") from error
        return connection

    def _prepare(self, connection: Connection) -> None:
        check(connection)  # before anything that would change another program's file
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("wal_autocheckpoint", 400)
        connection.pragma("temp_store", "memory")
        self._store_id = prepare(connection, store_id=self._mint())
        # Whoever is written down as alive while nobody is was killed: its runs are free at once.
        self._presence.enter(lambda: _forget_instances(connection))

    async def write(self, work: Callable[[Connection], T], then: Callable[[T], object] | None = None) -> T:
        """Do work in a write transaction that others may share; see Writer.run."""
        if self._writer is None:
            raise _closed()
        return await self._writer.run(work, then)

    def post(self, work: Callable[[Connection], object]) -> None:
        """Do work that nobody waits for, if the store is open."""
        if self._writer is not None:
            with suppress(StoreUnavailable):
                self._writer.post(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do work on a connection that only reads, in a thread."""
        if self._writer is None or self._limiter is None:
            raise _closed()
        return await anyio.to_thread.run_sync(self._read, work, limiter=self._limiter)

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = None
        try:
            connection = self._reader()
            return work(connection)
        except apsw.Error as error:
            raise translated(error) from error
        finally:
            if connection is not None:
                self._give_back(connection)

    def _reader(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return connect(self.path, readonly=True)

    def _give_back(self, connection: Connection) -> None:
        if self._writer is None:
            connection.close()
        else:
            self._idle.append(connection)


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the store is not open; use it inside `async with app`")


def _forget_instances(connection: Connection) -> None:
    connection.execute("DELETE FROM instances")


def pack(body: bytes) -> bytes:
    """Compress a body for the store."""
    return _compress(body)


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given."""
    return _decompress(packed)
