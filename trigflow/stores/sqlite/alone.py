"""Whether other processes have a store open.

    absent --enter--> alone --share--> shared --leave or death--> absent
               └────> shared (somebody else is there)

A lock on a file beside the store; the kernel gives it back whatever way a process
ends, so that it can't be left behind as a row can. Whoever is alone keeps others
waiting, so it opens or replaces the file and shares at once. Without fcntl
(Windows), or on a file system without locks, nobody ever knows to be alone.

On Linux each also locks a byte of its own, far behind the end of the file. What a
process writes down as its own carries the number of that byte (its place): others
tell its death from slowness at once, also while they all work.
"""

from __future__ import annotations

import os
import secrets
import struct
import sys
from pathlib import Path

from trigflow.core.errors import StoreUnavailable

if sys.platform != "win32":
    import fcntl


class Presence:
    """This process's hold on the lock file of a store."""

    def __init__(self, store: Path) -> None:
        """Name the store; nothing is opened yet."""
        self._store, self._path = store, Path(f"{store}.lock")
        self._file: int | None = None
        self.place: int | None = None  # of the byte that is locked; None where none could be

    def enter(self) -> bool:
        """Be present until `leave`; tell whether no other process is, nor can be before `share`.

        Waits while somebody else is alone. Raises OSError where the folder can't be written.
        """
        try:
            return self._take()
        except BlockingIOError:
            self.share()
            return False

    def enter_alone(self) -> None:
        """Be present until `leave`, and keep others out; StoreUnavailable where somebody is there."""
        try:
            self._take()
        except BlockingIOError:
            self.leave()
            raise StoreUnavailable(f"{self._store} is open in another process; stop it first") from None

    def _take(self) -> bool:
        if sys.platform == "win32":
            return False
        # flock, not lockf: it belongs to this open file, so that two stores in one process see each other.
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._take_place()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            return False
        return True

    def share(self) -> None:
        """Let others be present, too."""
        if sys.platform != "win32" and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def _take_place(self) -> None:
        if sys.platform == "linux" and self._file is not None:
            place = secrets.randbits(62)
            try:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _byte(fcntl.F_WRLCK, place))
            except OSError:  # a file system without locks
                return
            self.place = place

    def is_gone(self, place: int | None) -> bool:
        """Tell whether whoever had a place has left or died; False where that is not certain."""
        if sys.platform != "linux" or place is None or None in (self._file, self.place):
            return False
        if place == self.place:  # our own lock is in nobody's way who asks through our file
            return False
        assert self._file is not None  # noqa: S101 - see above
        try:
            found = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _byte(fcntl.F_WRLCK, place))
        except OSError:
            return False
        (kind,) = struct.unpack_from("h", found)
        return bool(kind == fcntl.F_UNLCK)

    def leave(self) -> None:
        """Be absent."""
        file, self._file, self.place = self._file, None, None
        if file is not None:
            os.close(file)


def _byte(kind: int, place: int) -> bytes:
    """Return a `struct flock` (fcntl(2)) for one byte; of a file, not of a process, so its pid is 0."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, place, 1, 0)
