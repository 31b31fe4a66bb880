"""The default store: one SQLite file."""

from __future__ import annotations

from trigflow.stores.sqlite.connections import ConnectionRows
from trigflow.stores.sqlite.due import DueRows
from trigflow.stores.sqlite.health import HealthRows
from trigflow.stores.sqlite.intake import IntakeRows
from trigflow.stores.sqlite.keys import KeyRows
from trigflow.stores.sqlite.log import LogRows
from trigflow.stores.sqlite.lookup import LookupRows
from trigflow.stores.sqlite.pruning import PruningRows
from trigflow.stores.sqlite.registry import RegistryRows
from trigflow.stores.sqlite.resealing import SealedRows
from trigflow.stores.sqlite.runs import QueueRows, RunRows
from trigflow.stores.sqlite.strangers import StrangerRows
from trigflow.stores.sqlite.subscribers import SubscriberRows
from trigflow.stores.sqlite.wants import WantRows


class SqliteStore(
    IntakeRows, StrangerRows, RunRows, QueueRows, RegistryRows, DueRows, LookupRows, KeyRows, WantRows,
    SubscriberRows, ConnectionRows, HealthRows, SealedRows, LogRows, PruningRows,
):  # fmt: skip
    """Keeps everything in one SQLite file; see Database for how it is opened."""


__all__ = ["SqliteStore"]
