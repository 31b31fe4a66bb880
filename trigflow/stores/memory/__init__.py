"""A store that forgets: for tests, and for trying things out. The same rules as SQLite, in dictionaries."""

from __future__ import annotations

from trigflow.stores.memory.connections import ConnectionTables
from trigflow.stores.memory.due import DueTables
from trigflow.stores.memory.health import HealthTables
from trigflow.stores.memory.log import LogTables
from trigflow.stores.memory.lookup import LookupTables
from trigflow.stores.memory.registry import RegistryTables
from trigflow.stores.memory.retention import RetentionTables
from trigflow.stores.memory.strangers import StrangerTables
from trigflow.stores.memory.subscribers import SubscriberTables
from trigflow.stores.memory.wants import WantTables


class MemoryStore(
    LogTables, RegistryTables, DueTables, LookupTables, SubscriberTables, WantTables, ConnectionTables,
    HealthTables, RetentionTables, StrangerTables,
):  # fmt: skip
    """Keeps everything until the process ends."""


__all__ = ["MemoryStore"]
