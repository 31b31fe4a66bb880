"""API clients, one per connection and process, made when first needed and anew with new credentials.

made ──credentials change, or too many──> retired ──GRACE──> closed
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import attrs

from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.holding import Held
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.ports import Clock
from trigflow.runtime.sealing.discreet import hush_http_clients, knowing, problem_of
from trigflow.sources.credentials import Credentials

logger: logging.Logger = logging.getLogger("trigflow")
MOST = 1_000  # clients that are kept
MOST_RETIRED = 4_000  # that are not closed yet
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
        self._retired: OrderedDict[str, tuple[float, _Made]] = OrderedDict()  # by version, the oldest first
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        hush_http_clients()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        made = [*(one for _, one in self._retired.values()), *self._clients.values()]
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
        if connection in self._clients:
            self._clients.move_to_end(connection)  # what is used is not what goes first
        return made.client

    async def _made(self, connection: str, held: Held) -> _Made:
        made = self._clients.get(connection)
        if made is not None and made.version == held.version:
            return made
        again = self._back(held.version)
        if again is None:
            again = await self._new(held)
        self._retire(made)
        self._clients[connection] = again
        self._clients.move_to_end(connection)
        if len(self._clients) > MOST:
            self._retire(self._clients.popitem(last=False)[1])
        await self._close_old()
        return again

    async def _new(self, held: Held) -> _Made:
        stack = AsyncExitStack()
        client = held.integration.client(held.credentials)
        if hasattr(client, "__aexit__"):
            client = await stack.enter_async_context(client)
        return _Made(held.version, client, stack)

    def _back(self, version: str) -> _Made | None:
        """Take back a client that went only because there were too many."""
        found = self._retired.pop(version, None)
        return None if found is None else found[1]

    def _retire(self, made: _Made | None) -> None:
        if made is not None:
            self._retired[made.version] = (self._clock.now() + GRACE, made)

    async def _close_old(self) -> None:
        while self._retired:
            version, (until, made) = next(iter(self._retired.items()))
            if until > self._clock.now() and len(self._retired) <= MOST_RETIRED:
                return
            del self._retired[version]
            with anyio.CancelScope(shield=True):
                await self._close(made)

    async def _close(self, made: _Made) -> None:
        closed = await attempt_async(made.stack.aclose)
        if isinstance(closed, Raised):  # no matter of whoever wants another client now
            told = problem_of(closed.error, knowing(self.secrets()))
            logger.warning("the client of a connection could not be closed: %s", told)
