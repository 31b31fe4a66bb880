"""What a job may ask for of where its event came from: the delivery, and the connection's client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trigflow.runtime import records as r
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.intake.replay import kept_delivery
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.ports import Store
from trigflow.runtime.sealing.sealed import Sealer

MOST = 10_000  # subscriptions whose connection is remembered


class Origins:
    """Knows through which connection each subscription goes; that never changes."""

    def __init__(
        self,
        store: Store,
        sources: Mapping[str, AnySource],
        clients: Clients,
        owners: Mapping[Any, str],
        sealer: Sealer,
        url_of: Callable[[str, str], str],
    ) -> None:
        """Work for one open app.

        owners: the default connection of each client class. url_of: a public URL, of path and query.
        """
        self._store, self._sources, self._clients, self._owners = store, sources, clients, owners
        self._sealer, self._url_of = sealer, url_of
        self._known: dict[str, tuple[type, str]] = {}

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        """Return the client that a job asks for by annotation.

        That of another integration than the event's is its default connection's.
        """
        kind, connection = await self._of(run.subscription_id)
        return await self._clients.get(connection if kind is annotation else self._owners[annotation])

    async def delivery(self, run: r.LoadedRun) -> object:
        """Return the delivery that brought a run's event."""
        return await kept_delivery(
            self._store, self._sources, self._sealer, run.delivery_id, run.subscription_id, self._url_of
        )

    async def _of(self, subscription_id: str) -> tuple[type | None, str]:
        known = self._known.get(subscription_id)
        if known is None:
            found = await self._store.subscription(subscription_id)
            source = None if found is None else self._sources.get(found.source)
            if found is None or source is None or not found.connection:
                return None, ""
            if len(self._known) >= MOST:
                self._known.clear()
            known = self._known[subscription_id] = source.client, found.connection
        return known
