"""Whether other processes have a store open.

    open --nobody else--> exclusive --`forget` has run--> shared --death or close--> free
      └───somebody else────────────────────────────────────^

A lock on a file beside the store; the kernel gives it back whatever way a process
ends, so that it can't be left behind as a row can. Without fcntl (Windows) nobody
ever knows to be alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Presence:
    """This process's hold on the lock file of a store."""

    def __init__(self, store: Path) -> None:
        """Name the store; nothing is opened yet."""
        self._path = Path(f"{store}.lock")
        self._file: int | None = None

    def enter(self, when_alone: Callable[[], None]) -> None:
        """Be present until `leave`; call `when_alone` first if no other process is, and before one can be."""
        if sys.platform == "win32":
            return
        # flock, not lockf: it belongs to this open file, so that two stores in one process see each other.
        self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError:  # a file system without locks
            return
        else:
            when_alone()
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Be absent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
