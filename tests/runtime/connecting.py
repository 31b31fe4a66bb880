"""Connections of an app beside a provider on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import attrs

from tests.sources.oauth_provider import CLIENT
from tests.sources.parcels import Parcels, client_credentials, oauth, parcels
from trigflow import Credentials
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.connections.known import Known
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.ports import Clock
from trigflow.runtime.sealing.vault import Vault
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

KEY = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDA="
STORE_ID = "abcdefgh"


@attrs.define
class Told:
    """What somebody was told of connections, in order."""

    alerts: list[tuple[str, str]] = attrs.Factory(list)
    removed: list[str] = attrs.Factory(list)
    problems: list[str] = attrs.Factory(list)

    async def alert(self, subject: str, cause: str) -> None:
        self.alerts.append((subject, cause))

    async def remove(self, ref: str) -> list[str]:
        self.removed.append(ref)
        return self.problems


def described(url: str) -> Parcels:
    """Describe the provider with OAuth and client credentials, too."""
    return parcels(url, oauth(url), client_credentials(url))


async def opened(
    stack: AsyncExitStack,
    store: str | Path,
    integration: Parcels,
    *,
    told: Told | None = None,
    clock: Clock | None = None,
    owner: str = "one",
    given: Mapping[str, Mapping[str, str]] | None = None,
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> Connections:
    """Open connections on a store: its path, or memory:."""
    kept: Any = (
        MemoryStore(store_id=STORE_ID)
        if store == "memory:"
        else SqliteStore(str(store), store_id=lambda: STORE_ID)
    )
    await stack.enter_async_context(kept)
    known = Known(
        {integration.id: integration},
        {ref: Credentials(values) for ref, values in (given or {}).items()},
        {integration.id: Credentials(CLIENT)},
        environ or {},
    )
    told = told or Told()
    connections = Connections(
        known, kept, Vault([KEY]), clock or SystemClock(), owner=owner, chance=lambda: 0.5, alert=told.alert,
        remove_subscriptions=told.remove, **more,
    )  # fmt: skip
    stack.push_async_callback(connections.aclose)
    return connections


async def _refresh(store: str, url: str, go: str, owner: str) -> None:
    """Use one connection in a process of its own, once a file is there."""
    async with AsyncExitStack() as stack:
        connections = await opened(stack, store, described(url), owner=owner)
        print("ready", flush=True)
        while not Path(go).exists():
            await anyio.sleep(0.001)
        held = await connections.get("parcels/user")
        print(held.credentials["token"])


if __name__ == "__main__":
    store_, url_, go_, owner_ = sys.argv[1:]
    anyio.run(_refresh, store_, url_, go_, owner_)
