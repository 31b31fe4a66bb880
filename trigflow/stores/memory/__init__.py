"""A store that forgets: for tests, and for trying things out. The same rules as SQLite, in dictionaries."""

from __future__ import annotations

from trigflow.stores.memory.log import LogTables
from trigflow.stores.memory.registry import RegistryTables
from trigflow.stores.memory.retention import RetentionTables


class MemoryStore(LogTables, RegistryTables, RetentionTables):
    """Keeps everything until the process ends."""


__all__ = ["MemoryStore"]
