"""Whether other processes have a store open.

    absent --enter--> alone --share--> shared --leave or death--> absent
               └────> shared (somebody else is there)

A lock on a file beside the store; the kernel gives it back whatever way a process
ends, so that it can't be left behind as a row can. Whoever is alone keeps others
waiting, so it opens or replaces the file and shares at once. Without fcntl
(Windows), or on a file system without locks, nobody ever knows to be alone.
"""

from __future__ import annotations

import os
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

    def leave(self) -> None:
        """Be absent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
