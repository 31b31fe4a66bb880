"""The options that many commands share, and opening what they name without working in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter, validators

from trigflow.app import App
from trigflow.cli.targets import load
from trigflow.core.errors import SetupError
from trigflow.opened import MEMORY, random_name
from trigflow.runtime.ports import Store
from trigflow.stores.sqlite import SqliteStore

TargetName: TypeAlias = Annotated[
    str | None, Parameter(help="module:app, file.py or file.py:app. Without it: the app in this folder.")
]
StorePath: TypeAlias = Annotated[
    str | None, Parameter(name="--store", help="Path of the SQLite file, instead of the app's setting.")
]
PublicUrl: TypeAlias = Annotated[
    str | None, Parameter(name="--url", help="Public URL, instead of the app's setting.")
]
AsJson: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON with stable keys, for programs.")
]
Limit: TypeAlias = Annotated[
    int, Parameter(help="How many are shown, newest first.", validator=validators.Number(gte=1))
]


def set_up(target: str | None, store: str | None, url: str | None = None) -> App:
    """Load an app and give it the settings of the command line."""
    app = load(target)
    app.override(store=store, url=url)
    return app


@asynccontextmanager
async def inspected(
    target: str | None, store: str | None, url: str | None = None, *, writes: bool = True
) -> AsyncGenerator[App, None]:
    """Open an app that another process may be serving: nothing is executed or registered here.

    writes: make the store where there is none; else one in memory stands in.
    """
    app = set_up(target, store, url)
    path = app.resolved().settings.store
    if writes:
        _refuse_memory(path)
    elif not exists(path):
        app.override(store=MEMORY)
    async with app.inspect():
        yield app


@asynccontextmanager
async def looked_into(target: str | None, store: str | None) -> AsyncGenerator[Store, None]:
    """Open the store alone; where it is named, the app is not even imported."""
    path = store or set_up(target, None).resolved().settings.store
    _refuse_memory(path)
    if not exists(path):
        raise SetupError(f"there is no store {path!r} yet; start the app, or name its store with --store")
    async with SqliteStore(path, store_id=lambda: random_name(5)) as opened:
        yield opened


def exists(path: str) -> bool:
    """Tell whether a store is there."""
    return Path(path).exists()


def _refuse_memory(path: str) -> None:
    if path == MEMORY:
        raise SetupError(
            "the app keeps everything in memory, where only its own process can look; set another store"
        )
