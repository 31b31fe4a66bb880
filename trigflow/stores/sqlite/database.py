"""The file itself: opening, reading, writing, closing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import apsw
import msgspec

from trigflow.core.errors import StoreUnavailable, StoreUnusable
from trigflow.runtime.forks import FORKED, refuse_in_children
from trigflow.stores.sqlite.alone import Presence
from trigflow.stores.sqlite.connection import Connection, connect, overwriting
from trigflow.stores.sqlite.place import refuse_network
from trigflow.stores.sqlite.schema import check, prepare
from trigflow.stores.sqlite.writer import Writer, translated

T = TypeVar("T")
# Older ones can damage a WAL that several connections reset (SQLite 3.51.3's notes).
OLDEST_SQLITE = 3_051_003
READERS = 4
AUTO_VACUUM = "incremental"  # free pages can be given back in small steps (see shrinking.py), and only then
LARGEST_WAL = 64 * 1024 * 1024  # bytes that the -wal keeps once nobody reads an older state of the store
REGISTRY = (
    "endpoints",
    "keys",
    "subscriptions",
    "subscribers",
    "connections",
)  # small, and without them nothing is understood
WAL_MS = 2_000  # how long who reads or writes is waited for, when the -wal is to be emptied at once
LOOK = 1.0  # seconds between two looks whether the files are there
CHECKED = 64 * 1024 * 1024  # bytes; a store up to this size is looked through when it is opened (50 ms)
# Without stubs of its own; what it takes and gives is said here once.
_lz4: Any = importlib.import_module("lz4.block")
_compress: Callable[[bytes], bytes] = _lz4.compress
_decompress: Callable[[bytes], bytes] = _lz4.decompress
_Undone: type[Exception] = _lz4.LZ4BlockError


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
        self._files: dict[Path, int] = {}
        self._looked_at = 0.0
        self._writer: Writer | None = None
        self._idle: list[Connection] = []
        self._watching: Connection | None = None
        self._inherited: list[object] = []
        self._limiter: anyio.CapacityLimiter | None = None

    @property
    def store_id(self) -> str:
        """The random name minted with the store."""
        if self._store_id is None:
            raise self._closed()
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
        try:
            self._watching = await self.read(lambda _: self._reader())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        refuse_in_children(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        writer, self._writer = self._writer, None
        # Readers first: the last connection to close tidies the WAL away, and readers may not write.
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.close()
        while self._idle:
            self._idle.pop().close()
        try:
            if writer is not None:
                await writer.close()
        finally:
            self._presence.leave()
            self._store_id = None

    def forked(self) -> None:
        """Hear, in a child process, that nothing here may be used: not even closed."""
        self._inherited += [self._writer, self._watching, *self._idle]
        self._writer, self._watching = None, None
        self._idle.clear()
        self._presence.leave()  # the lock stays with the parent's own copy of the file

    def _open(self) -> Connection:
        refuse_network(self.path)
        if self.path.is_dir():
            raise StoreUnavailable(f"{self.path} is a folder; name a file in it: {self.path / 'trigflow.db'}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._present()
        except apsw.NotADBError as error:
            raise StoreUnusable(f"{self.path} is not a SQLite database; choose another path") from error
        except apsw.CorruptError as error:
            raise StoreUnusable(f"{self.path} is damaged; restore a backup") from error
        except UnicodeDecodeError as error:  # in what SQLite says is wrong, or in a name
            raise StoreUnusable(f"{self.path} is damaged; restore a backup") from error
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} can't be opened: {error.strerror}; check the permissions of its file and folder"
            ) from error
        except apsw.Error as error:
            told = translated(error)
            raise StoreUnavailable(f"{self.path}: {told}") from error

    def _present(self) -> Connection:
        alone = self._presence.enter()
        try:
            connection = self._connect()
            try:
                self._prepare(connection, alone=alone)
                self._share()
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._presence.leave()
            raise
        return connection

    def _share(self) -> None:
        names = [Path(f"{self.path}{end}") for end in ("", "-wal", "-shm")]
        self._files = {name: inode for name in names if (inode := _inode(name)) is not None}
        self._presence.share()
        # The kernel lets go before it takes hold again: a restore may have come in between.
        if _inode(self.path) != self._files[self.path]:
            raise StoreUnavailable(f"{self.path} was replaced while it was being opened; open it again")

    def _connect(self) -> Connection:
        with suppress(FileExistsError):  # what it will hold is nobody else's business
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))
        return connect(self.path)

    def _prepare(self, connection: Connection, *, alone: bool) -> None:
        check(connection)  # before anything that would change another program's file
        if alone:
            self._look_through(connection)
        connection.pragma("auto_vacuum", AUTO_VACUUM)  # only a new file takes it up
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("wal_autocheckpoint", 400)
        connection.pragma("journal_size_limit", LARGEST_WAL)
        connection.pragma("temp_store", "memory")
        self._store_id = prepare(connection, store_id=self._mint())
        if alone:
            _free_what_the_dead_held(connection)

    def _look_through(self, connection: Connection) -> None:
        """Refuse a damaged file: what is written to one may be gone although SQLite says that it is kept."""
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        pragmas = [f"integrity_check({name})" for name in REGISTRY if (name,) in names]
        if self.path.stat().st_size <= CHECKED:
            pragmas.append("quick_check")
        for pragma in pragmas:
            for (found,) in connection.execute(f"PRAGMA {pragma}"):
                if found != "ok":
                    raise StoreUnusable(
                        f"{self.path} is damaged ({' '.join(found.split())}); restore a backup"
                    )

    def _look_around(self) -> None:
        """Refuse to write where somebody took our files away: nobody would find it again."""
        now = monotonic()
        if now < self._looked_at + LOOK:
            return
        if any(_inode(path) != inode for path, inode in self._files.items()):
            raise StoreUnavailable(
                f"{self.path}, or its -wal or -shm, was taken away while it was open; "
                "put it back, or stop this process, which saves what it holds"
            )
        self._looked_at = now

    async def write(self, work: Callable[[Connection], T], then: Callable[[T], object] | None = None) -> T:
        """Do work in a write transaction that others may share; see Writer.run."""
        if self._writer is None:
            raise self._closed()
        self._look_around()
        try:
            return await self._writer.run(work, then)
        except UnicodeDecodeError as error:
            raise _damaged() from error

    def post(self, work: Callable[[Connection], object]) -> None:
        """Do work that nobody waits for, if the store is open."""
        if self._writer is not None:
            with suppress(StoreUnavailable):
                self._writer.post(work)

    def version(self) -> int | None:
        """Return a number that changes when anybody commits; it is in memory that processes share."""
        if self._watching is None:
            return None
        try:
            version: int = self._watching.pragma("data_version")
        except apsw.Error:  # whoever comes after a crash puts the WAL in order first
            return None
        return version

    async def empty_wal(self) -> bool:
        """Bring what the -wal holds into the file and cut it off; False where somebody still reads from it.

        Who overwrites something calls it: until then the -wal, or the file, has what was there before.
        """
        return await anyio.to_thread.run_sync(self._empty_wal)

    def _empty_wal(self) -> bool:
        try:
            with closing(connect(self.path)) as connection:
                connection.set_busy_timeout(WAL_MS)
                ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except apsw.Error:
            return False
        return not busy

    def _closed(self) -> StoreUnavailable:
        if self._inherited:
            return StoreUnavailable(FORKED)
        return StoreUnavailable("the store is not open; use it inside `async with app`")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do work on a connection that only reads, in a thread."""
        if self._writer is None or self._limiter is None:
            raise self._closed()
        return await anyio.to_thread.run_sync(self._read, work, limiter=self._limiter)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            connection = self._reader()
            try:
                found = work(connection)
            except BaseException:
                # By force: it may keep in mind what was wrong with a file, and the next one does not.
                connection.close(True)
                raise
        except apsw.Error as error:
            raise translated(error) from error
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            raise _damaged() from error
        self._give_back(connection)
        return found

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


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _free_what_the_dead_held(connection: Connection) -> None:
    """Free, while nobody else is there, what is written down as somebody's: whoever that was is gone.

    Its runs, and its right to change subscriptions and connections, and to read logs after an outage.
    """
    connection.execute("DELETE FROM instances")
    connection.execute("DELETE FROM meta WHERE name = 'chore recover'")
    connection.execute("UPDATE subscriptions SET claimed_by = NULL WHERE claimed_by IS NOT NULL")
    with overwriting(connection):
        connection.execute("UPDATE connections SET claimed_by = NULL WHERE claimed_by IS NOT NULL")


def _damaged() -> StoreUnusable:
    return StoreUnusable("the store is damaged; see `trigflow db check`, and restore a backup")


def pack(body: bytes) -> bytes:
    """Compress a body for the store."""
    return _compress(body)


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given; StoreUnusable where it was damaged since."""
    try:
        return _decompress(packed)
    except (ValueError, MemoryError, _Undone) as error:  # of the first two: the size it says is wrong
        raise StoreUnusable(f"a kept body is damaged: {error}; restore a backup") from error
