"""The default store: one SQLite file."""

from __future__ import annotations

from trigflow.stores.sqlite.intake import IntakeRows
from trigflow.stores.sqlite.log import LogRows
from trigflow.stores.sqlite.pruning import PruningRows
from trigflow.stores.sqlite.registry import RegistryRows
from trigflow.stores.sqlite.runs import QueueRows, RunRows


class SqliteStore(IntakeRows, RunRows, QueueRows, RegistryRows, LogRows, PruningRows):
    """Keeps everything in one SQLite file; see Database for how it is opened."""


__all__ = ["SqliteStore"]
