"""API clients, one per connection and process, made when first needed and anew with new credentials.

made ──credentials change, or too many──> retired ──GRACE──> closed
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import attrs

from trigflow.runtime.connections import Connections
from trigflow.runtime.discreet import hush_http_clients
from trigflow.runtime.holding import Held
from trigflow.runtime.ports import Clock
from trigflow.sources.credentials import Credentials

MOST = 1_000  # clients that are kept
GRACE = 900.0  # seconds that a client whose credentials have changed stays open for those who use it


@attrs.frozen
class _Made:
    version: str
    client: Any
    stack: AsyncExitStack


class Clients:
    """Makes and closes the clients of an open app."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        """Make clients for the credentials of connections."""
        self._connections, self._clock = connections, clock
        self._clients: OrderedDict[str, _Made] = OrderedDict()
        self._retired: list[tuple[float, _Made]] = []
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        hush_http_clients()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        made = [*(one for _, one in self._retired), *self._clients.values()]
        self._clients.clear()
        self._retired.clear()
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as stack:  # one that fails does not keep the others open
                for one in made:
                    stack.push_async_callback(one.stack.aclose)

    def credentials(self, connection: str) -> Credentials | None:
        """Return what is known of a connection's credentials; ask `load` first for those of the store."""
        return self._connections.credentials(connection)

    def secrets(self) -> Sequence[str]:
        """Return every secret that this process has had in hand: what no message may hold."""
        return self._connections.secrets()

    def missing(self, connection: str) -> str:
        """Say what a connection without credentials needs."""
        return self._connections.missing(connection)

    async def load(self, connections: Collection[str]) -> None:
        """Look connections up, so that `credentials` and `missing` tell of them without asking anybody."""
        await self._connections.load(connections)

    async def get(self, connection: str) -> Any:
        """Return the client of a connection, with credentials that are good now.

        Raises Unauthorized where there are none or a person is needed, ApiError where no token
        can be had now.
        """
        held = await self._connections.get(connection)
        made = self._clients.get(connection)
        if made is None or made.version != held.version:
            async with self._lock:
                made = await self._made(connection, held)
        return made.client

    async def _made(self, connection: str, held: Held) -> _Made:
        made = self._clients.get(connection)
        if made is not None and made.version == held.version:
            return made
        stack = AsyncExitStack()
        client = held.integration.client(held.credentials)
        if hasattr(client, "__aexit__"):
            client = await stack.enter_async_context(client)
        self._retire(made)
        made = self._clients[connection] = _Made(held.version, client, stack)
        self._clients.move_to_end(connection)
        if len(self._clients) > MOST:
            self._retire(self._clients.popitem(last=False)[1])
        await self._close_old()
        return made

    def _retire(self, made: _Made | None) -> None:
        if made is not None:
            self._retired.append((self._clock.now() + GRACE, made))

    async def _close_old(self) -> None:
        now = self._clock.now()
        over = [made for until, made in self._retired if until <= now]
        self._retired = [(until, made) for until, made in self._retired if until > now]
        for made in over:
            with anyio.CancelScope(shield=True):
                await made.stack.aclose()
