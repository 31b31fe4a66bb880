"""Giving disk space back that a store no longer needs. Blocking, and for people.

give_back    the last pages move into free ones, a few at a time: the store may be in use
rewrite      all rows are written anew, beside it: nobody else may have it open
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import apsw
import attrs

from trigflow.core.errors import SetupError, StoreUnavailable
from trigflow.stores.sqlite.alone import Presence
from trigflow.stores.sqlite.care import kept_alone, reading, sync, unfinished_beside
from trigflow.stores.sqlite.connection import Connection, connect
from trigflow.stores.sqlite.database import AUTO_VACUUM
from trigflow.stores.sqlite.writer import translated

STEP = 200  # pages moved in a transaction: a few ms in which nothing else is written
INCREMENTAL = 2  # what PRAGMA auto_vacuum answers
MARGIN = 1.1  # of what a rewritten store needs at least


@attrs.frozen
class Shrunk:
    """A store's size in bytes, before and after."""

    before: int
    after: int


def give_back(path: Path, *, rest: Callable[[float], object] = time.sleep) -> Shrunk:
    """Give free pages back while the store may be in use.

    rest: called after each step with the seconds that it took.
    Raises SetupError for a store that was made without this ability, StoreUnavailable where it can't
    be written; what was given back until then stays so.
    """
    with reading(path) as connection:
        if connection.pragma("auto_vacuum") != INCREMENTAL:
            raise SetupError(f"{path} can't be shrunk while it is in use; use --full")
    presence, before = Presence(path), path.stat().st_size
    try:
        presence.enter()
        presence.share()
        with closing(connect(path)) as connection:
            while connection.pragma("freelist_count"):
                began = time.monotonic()
                connection.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()
                rest(time.monotonic() - began)
            connection.pragma("wal_checkpoint", "passive")
    except apsw.Error as error:
        raise StoreUnavailable(f"{path}: {translated(error)}") from error
    finally:
        presence.leave()
    return Shrunk(before, path.stat().st_size)


def rewrite(path: Path) -> Shrunk:
    """Write a store anew without any gaps, and put that in its place.

    Raises StoreUnavailable while a process has it open, or where the disk has too little room.
    """
    with kept_alone(path), unfinished_beside(path) as unfinished:
        with closing(connect(path)) as connection:
            _refuse_if_full(connection, path)
            busy, *_ = connection.pragma("wal_checkpoint", "truncate")
            if busy:
                raise StoreUnavailable(f"{path} is open in another program; stop it first")
            before = path.stat().st_size
            connection.pragma("auto_vacuum", AUTO_VACUUM)
            connection.execute("VACUUM INTO ?", (str(unfinished),)).fetchall()
        _hand_on(path, unfinished)
        sync(unfinished)
        for end in ("-wal", "-shm"):  # empty now; one that stayed would be taken for the new file's
            Path(f"{path}{end}").unlink(missing_ok=True)
        unfinished.replace(path)
        sync(path.parent)
    return Shrunk(before, path.stat().st_size)


def _refuse_if_full(connection: Connection, path: Path) -> None:
    used = connection.pragma("page_count") - connection.pragma("freelist_count")
    needed = int(used * connection.pragma("page_size") * MARGIN)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreUnavailable(
            f"{path} needs {needed:,} bytes beside it to be written anew, there are {free:,}; free some, or "
            "go without --full, which needs none"
        )


def _hand_on(path: Path, successor: Path) -> None:
    """Give the successor the owner and the mode of what it replaces."""
    old = path.stat()
    successor.chmod(old.st_mode & 0o777)
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(successor, old.st_uid, old.st_gid)
