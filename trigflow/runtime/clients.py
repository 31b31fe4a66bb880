"""API clients, one per connection and process, made when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio

from trigflow.core.errors import Unauthorized
from trigflow.runtime.discreet import hush_http_clients
from trigflow.sources.credentials import Credentials
from trigflow.sources.integration import Integration


class Clients:
    """Makes and closes the clients of an open app."""

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        given: Mapping[str, Credentials],
        environ: Mapping[str, str],
    ) -> None:
        """Know integrations by id; `given` credentials go before the environment."""
        self._integrations, self._given, self._environ = integrations, given, environ
        self._clients: dict[str, Any] = {}
        self._stack = AsyncExitStack()
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        hush_http_clients()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._clients.clear()
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def credentials(self, connection: str) -> Credentials | None:
        """Return a connection's credentials, if there are any."""
        integration = self._integrations.get(connection)
        given = self._given.get(connection)
        return given or (None if integration is None else integration.credentials(self._environ))

    def secrets(self) -> Sequence[str]:
        """Return the values of all credentials that there are: what no message may hold."""
        found = (self.credentials(connection) for connection in self._integrations)
        return [value for credentials in found if credentials is not None for value in credentials.values()]

    def missing(self, connection: str) -> str:
        """Say what a connection without credentials needs."""
        integration = self._integrations.get(connection)
        ways = [] if integration is None else [way.remedy() for way in integration.auth]
        return f"no credentials: {' or '.join(ways) or 'this app has no such integration'}"

    async def get(self, connection: str) -> Any:
        """Return the client of a connection; Unauthorized where it has no credentials."""
        async with self._lock:
            if connection not in self._clients:
                self._clients[connection] = await self._make(connection)
            return self._clients[connection]

    async def _make(self, connection: str) -> Any:
        credentials = self.credentials(connection)
        if credentials is None:
            raise Unauthorized(f"connection {connection} has {self.missing(connection)}")
        client = self._integrations[connection].client(credentials)
        if hasattr(client, "__aexit__"):
            client = await self._stack.enter_async_context(client)
        return client
