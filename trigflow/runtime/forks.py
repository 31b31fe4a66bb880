"""What is open when a process forks is not open in the child.

SQLite's connections, its locks and our loops belong to the process that made
them. A child that used them could damage the file, so what is open is told, and
refuses in the child. Nothing is closed there: closing would take the parent's
locks and its WAL away.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

FORKED = "this process was forked from one that has the app open; open the app after the fork"


class Inherited(Protocol):
    """Something that a child process must not use."""

    def forked(self) -> None:
        """Hear, in the child, that the process was forked."""
        ...


_open: WeakSet[Inherited] = WeakSet()


def refuse_in_children(one: Inherited) -> None:
    """Have `forked` called in every child, for as long as the thing exists."""
    _open.add(one)


def _in_child() -> None:
    for one in list(_open):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
