"""Looking after a store's file: is it whole, a copy of it, and back to a copy.

Blocking, and for people: nothing here is called while deliveries are taken. A
store may be in use while it is checked or copied; it can't be while it is
replaced.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

import apsw
import attrs

from trigflow.core.errors import SetupError, StoreError, StoreUnavailable, StoreUnusable
from trigflow.stores.sqlite.alone import Presence
from trigflow.stores.sqlite.connection import Connection, connect
from trigflow.stores.sqlite.database import unpack
from trigflow.stores.sqlite.rules import RULES, SHAPES, Rule
from trigflow.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS, check as check_ours
from trigflow.stores.sqlite.writer import translated

MOST_SHOWN = 5  # ids named with a problem
MOST_DAMAGE = 20  # lines of SQLite's own report
STEP = 4_096  # pages copied at a time
RESTORE = "restore a backup with `trigflow db restore`"


@attrs.frozen
class Problem:
    """Something that is not as it must be.

    kind: a short stable name. what: for people. remedy: what to do.
    """

    kind: str
    what: str
    remedy: str


@attrs.frozen
class Checked:
    """What a check found out; `version` is of the store's tables."""

    version: int
    problems: tuple[Problem, ...]


@attrs.frozen
class Copied:
    """A backup that was written and read again; `size` in bytes."""

    path: Path
    store_id: str
    size: int


@attrs.frozen
class Restored:
    """A store that was replaced; `kept` is where the file that was there before is, if one was."""

    path: Path
    store_id: str
    kept: Path | None


# --- is it whole


def check(path: Path, *, full: bool = False) -> Checked:
    """Say what is wrong with a store, which may be in use.

    full: compare every index with its table and unpack every body, too; several times slower.
    Raises SetupError where there is no file, StoreUnusable where it is not a store of this or
    an earlier release, StoreUnavailable where it can't be read.
    """
    with reading(path) as connection:
        try:
            return Checked(connection.pragma("user_version"), tuple(_problems(connection, full=full)))
        except (apsw.CorruptError, UnicodeDecodeError) as error:
            return Checked(0, (_damaged(str(error)),))


def _problems(connection: Connection, *, full: bool) -> Iterator[Problem]:
    damage = list(_damage(connection, full=full))
    yield from damage
    if damage:
        return  # what else is wrong follows from it
    version: int = connection.pragma("user_version")
    if version < len(MIGRATIONS):
        yield Problem(
            "older",
            f"the store has version {version}, this release {len(MIGRATIONS)}",
            "open it with this release, which brings it up to date: `trigflow runs list`",
        )
        return
    shapes = list(_missing_shapes(connection))
    yield from shapes
    if shapes:
        return
    for rule in RULES:
        yield from _broken(connection, rule)
    if full:
        yield from _unreadable(connection)


def _damage(connection: Connection, *, full: bool) -> Iterator[Problem]:
    pragma = "integrity_check" if full else "quick_check"
    try:
        lines = [row[0] for row in connection.execute(f"PRAGMA {pragma}({MOST_DAMAGE})")]
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        lines = [str(error)]
    yield from (_damaged(line) for line in lines if line != "ok")


def _damaged(line: str) -> Problem:
    return Problem("damaged", f"SQLite says: {' '.join(line.split())}", f"stop what uses it and {RESTORE}")


def _missing_shapes(connection: Connection) -> Iterator[Problem]:
    """Compare the tables with those that the migrations make."""
    with closing(connect(Path(":memory:"))) as new:
        for script in MIGRATIONS:
            new.execute(script)
        wanted = _shapes(new)
    there = _shapes(connection)
    for table, names in sorted(wanted.items()):
        lost = sorted(names - there.get(table, set()))
        if lost:
            yield Problem(
                "shape", f"table {table} lacks {', '.join(lost)}", f"somebody changed it; {RESTORE}"
            )


def _shapes(connection: Connection) -> dict[str, set[str]]:
    """Return the columns and indexes of each table."""
    found: dict[str, set[str]] = {}
    for table, name in connection.execute(SHAPES):
        found.setdefault(str(table), set()).add(str(name))
    return found


def _broken(connection: Connection, rule: Rule) -> Iterator[Problem]:
    ids = [row[0] for row in connection.execute(rule.sql)]
    if ids:
        shown = ", ".join(map(str, ids[:MOST_SHOWN])) + (", …" if len(ids) > MOST_SHOWN else "")
        yield Problem(rule.kind, f"{len(ids)} {rule.what}: {shown}", rule.remedy)


def _unreadable(connection: Connection) -> Iterator[Problem]:
    for table, column in (("deliveries", "body"), ("events", "payload")):
        rows = connection.execute(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
        bad = [id_ for id_, packed in rows if not _unpacks(packed)]
        if bad:
            yield Problem(
                "body", f"{len(bad)} of {table} can't be unpacked: {', '.join(bad[:MOST_SHOWN])}", RESTORE
            )


def _unpacks(packed: bytes) -> bool:
    try:
        unpack(packed)
    except StoreUnusable:
        return False
    return True


# --- a copy of it


def backup(store: Path, to: Path, *, force: bool = False) -> Copied:
    """Copy a store, which may be in use, as it is at one moment; the copy is read again before it counts.

    to: a file that is whole or not there at all. force: replace one that is there.
    Raises SetupError, StoreUnusable or StoreUnavailable; then nothing was changed.
    """
    if to.exists() and (to.samefile(store) if store.exists() else False):
        raise SetupError(f"{to} is the store itself; name another file")
    if to.exists() and not force:
        raise SetupError(f"{to} is there already; name another file, or replace it with --force")
    with reading(store) as source, unfinished_beside(to) as unfinished:
        _copy(source, unfinished)
        store_id = _verified(unfinished, store, full=False, refused={"damaged"})
        _put(unfinished, to, force=force)
    return Copied(to, store_id, to.stat().st_size)


def _copy(source: Connection, to: Path) -> None:
    """Copy what one moment sees: as long as our transaction lasts, writers go on unseen."""
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    with closing(connect(to)) as connection:
        connection.pragma("synchronous", "off")  # it is synced as a whole
        copying = cast("apsw.Connection", connection).backup("main", cast("apsw.Connection", source), "main")
        with copying:
            while not copying.done:
                copying.step(STEP)
        connection.pragma("journal_mode", "delete")  # one file, without a -wal beside it
    source.execute("COMMIT")


def _verified(copy: Path, original: Path, *, full: bool, refused: Collection[str]) -> str:
    """Return the id of the store in a copy; StoreUnusable where it has a refused kind of problem."""
    found = [problem for problem in check(copy, full=full).problems if problem.kind in refused]
    if found:
        raise StoreUnusable(f"{original} can't be copied: {found[0].what}")
    with reading(copy) as connection:
        ((store_id,),) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchall()
    return str(store_id)


@contextmanager
def unfinished_beside(path: Path) -> Generator[Path, None, None]:
    """Give a file beside another, for its owner's eyes only, that is gone in the end whatever happens."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL, 0o600))
        yield unfinished
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be written: {error.strerror or error}") from error
    except apsw.CorruptError:  # of what is being copied
        raise
    except apsw.Error as error:
        raise StoreUnavailable(f"{path} can't be written: {translated(error)}") from error
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{unfinished}{end}").unlink(missing_ok=True)


def _put(unfinished: Path, to: Path, *, force: bool) -> None:
    sync(unfinished)
    if force:
        unfinished.replace(to)
    else:
        _put_new(unfinished, to)
    sync(to.parent)


def _put_new(unfinished: Path, to: Path) -> None:
    try:
        os.link(unfinished, to)  # unlike a rename, it never replaces
    except FileExistsError:
        raise SetupError(f"{to} has come to be there meanwhile; name another file") from None
    except OSError:  # a file system without links
        unfinished.rename(to)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# --- back to a copy


def restore(copy: Path, store: Path, *, now: str) -> Restored:
    """Put a backup in a store's place; the old files stay beside it.

    now: part of the old file's new name, such as 20260131-120000.
    Raises StoreUnavailable while a process has the store open, SetupError or StoreUnusable for a
    backup that is not one; then nothing was changed.
    """
    if copy.exists() and store.exists() and copy.samefile(store):
        raise SetupError(f"{copy} is the store itself; name its backup")
    with kept_alone(store):
        pass  # before a long copy, which would be for nothing
    with unfinished_beside(store) as unfinished:
        with reading(copy) as source:
            _copy(source, unfinished)
        store_id = _verified(unfinished, copy, full=True, refused={"damaged", "shape", "body"})
        with kept_alone(store):
            kept = _set_aside(store, unfinished, f"{store}.before-{now}") if store.exists() else None
            sync(unfinished)
            unfinished.replace(store)
            for end in ("-wal", "-shm"):  # of a file that was taken away before
                Path(f"{store}{end}").unlink(missing_ok=True)
            sync(store.parent)
    return Restored(store, store_id, kept)


def _set_aside(store: Path, successor: Path, name: str) -> Path:
    """Keep the old file under another name, with what its -wal holds; its owner and mode are handed on."""
    _tidy(store)
    kept, wal = Path(name), Path(f"{store}-wal")
    try:
        os.link(store, kept)
    except FileExistsError:
        raise SetupError(f"{kept} is there already; take it away") from None
    except OSError:  # a file system without links; until the end there is no store
        store.rename(kept)
    old = kept.stat()
    successor.chmod(old.st_mode & 0o777)
    with suppress(PermissionError, AttributeError):  # Windows has no owners
        os.chown(successor, old.st_uid, old.st_gid)
    if wal.exists():
        wal.rename(f"{kept}-wal")
    return kept


def _tidy(store: Path) -> None:
    """Bring what the -wal holds into the file; a damaged one stays as it is."""
    with suppress(apsw.Error), closing(connect(store)) as connection:
        connection.pragma("wal_checkpoint", "truncate")


@contextmanager
def kept_alone(store: Path) -> Generator[None, None, None]:
    """Keep everybody else out of a store; StoreUnavailable where somebody is in it."""
    presence = Presence(store)
    try:
        presence.enter_alone()
        yield
    finally:
        presence.leave()


# --- opening it to read


@contextmanager
def reading(path: Path) -> Generator[Connection, None, None]:
    """Open a store without changing it, if it is one."""
    if not path.is_file():
        raise SetupError(f"there is no file {str(path)!r}")
    try:
        with closing(connect(path, readonly=True)) as connection:
            if connection.pragma("application_id") != APPLICATION_ID:
                raise StoreUnusable(f"{path} is no store of trigflow")
            with suppress(apsw.CorruptError):  # whoever reads on meets it, and says where
                check_ours(connection)
            yield connection
    except apsw.NotADBError as error:
        raise StoreUnusable(f"{path} is not a SQLite database, or its first page is damaged") from error
    except apsw.Error as error:
        told = translated(error)
        kind = type(told) if isinstance(told, StoreError) else StoreUnusable
        raise kind(f"{path}: {told}") from error
