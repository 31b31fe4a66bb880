"""API clients, one per connection and process, made when first needed and anew with new credentials.

made ──credentials change, or too many──> retired ──GRACE──> closed
  └─── connection removed or given up ──> dropped ──no work was lent it any more──> closed
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from contextvars import ContextVar, Token
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
import attrs

from trigflow.core.errors import Forbidden, NotConnected, Unauthorized
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.holding import LOOK, Held
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.ports import Clock
from trigflow.runtime.sealing.discreet import hush_http_clients, knowing, problem_of
from trigflow.sources.credentials import Credentials

logger: logging.Logger = logging.getLogger("trigflow")
MOST = 1_000  # clients that are kept
MOST_RETIRED = 4_000  # that are not closed yet
GRACE = 900.0  # seconds that a client whose credentials have changed stays open for those who use it
FORGET = 60.0  # seconds between two looks for connections that another process has removed
T = TypeVar("T")
_lent: ContextVar[Lent | None] = ContextVar("trigflow_lent", default=None)


@attrs.define(eq=False)
class _Made:
    """A client. uses: how many pieces of work have it now."""

    ref: str
    version: str
    client: Any
    stack: AsyncExitStack
    uses: int = 0


class Lent:
    """The clients that one piece of work (a run, a step) is given while this is entered.

    An Unauthorized that ends the work is told to the connection whose client it came from.
    again: what was refused may be had anew: the same work is worth another try.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._made: list[_Made] = []
        self._before: Token[Lent | None] | None = None
        self.again: bool = False

    async def __aenter__(self) -> Self:
        self._before = _lent.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._before is not None:
            _lent.reset(self._before)
        try:
            if error is not None:
                await self.heed(error)
        finally:
            made, self._made = self._made, []
            for one in made:
                one.uses -= 1
            if made:
                await self._clients.close_dropped()

    async def to(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await a piece of work."""
        async with self:
            return await work()
        raise AssertionError("errors are not swallowed")

    def note(self, made: _Made) -> None:
        """Remember a client until the work is done."""
        if made not in self._made:
            made.uses += 1
            self._made.append(made)

    def version_of(self, ref: str) -> str:
        """Return the version of a connection's client that was given; empty where none was."""
        return next((one.version for one in self._made if one.ref == ref), "")

    async def heed(self, error: BaseException) -> None:
        """Hear what went wrong; a refusal of credentials (401) is told to their connection."""
        refusal = next(_refusals(error), None)
        made = None if refusal is None else _called_by(refusal, self._made)
        if made is not None:
            self.again = await self._clients.refused(made.ref, made.version) or self.again


def _refusals(error: BaseException) -> Iterator[Unauthorized]:
    if isinstance(error, BaseExceptionGroup):
        for one in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _refusals(one)
    elif isinstance(error, Unauthorized) and not isinstance(error, Forbidden | NotConnected):
        yield error


def _called_by(error: Unauthorized, made: Sequence[_Made]) -> _Made | None:
    """Return the client that raised an error: the only one, else the one whose method it went through."""
    if len(made) < 2:
        return made[0] if made else None
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    through = [one for one in made if any(_is_in_method(frame, one.client) for frame in frames)]
    return through[0] if len(through) == 1 else None


def _is_in_method(frame: FrameType, client: object) -> bool:
    code = frame.f_code
    is_method = code.co_argcount > 0 and hasattr(type(client), code.co_name)
    return is_method and frame.f_locals.get(code.co_varnames[0]) is client


class Clients:
    """Makes and closes the clients of an open app."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        """Make clients for the credentials of connections."""
        self._connections, self._clock = connections, clock
        self._dropped: list[_Made] = []  # of connections that are gone, for those who still have one
        connections.on_removed = self.drop
        self._clients: OrderedDict[str, _Made] = OrderedDict()
        self._retired: OrderedDict[str, tuple[float, _Made]] = OrderedDict()  # by version, the oldest first
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        hush_http_clients()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        made = [*(one for _, one in self._retired.values()), *self._clients.values(), *self._dropped]
        self._dropped.clear()
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
        try:
            held = await self._connections.get(connection)
        except Unauthorized:  # removed by another process, or given up
            await self.drop(connection)
            raise
        made = self._clients.get(connection)
        if made is None or made.version != held.version:
            async with self._lock:
                made = await self._made(connection, held)
        if connection in self._clients:
            self._clients.move_to_end(connection)  # what is used is not what goes first
        lent = _lent.get()
        if lent is not None:
            lent.note(made)
        return made.client

    async def refused(self, ref: str, version: str) -> bool:
        """Hear that a provider answered 401 to a client; tell whether the next may be taken.

        Never raises: what is wrong with the work is what it was refused with.
        """
        heard = await attempt_async(lambda: self._connections.refused(ref, version))
        if isinstance(heard, Raised):
            told = problem_of(heard.error, knowing(self.secrets()))
            logger.warning("connection %s was refused, and nothing came of that: %s", ref, told)
            return False
        return heard.value

    async def drop(self, ref: str) -> None:
        """Let go of a connection's clients, and close those that no work has."""
        made = self._clients.pop(ref, None)
        retired = [version for version, (_, one) in self._retired.items() if one.ref == ref]
        self._dropped += [self._retired.pop(version)[1] for version in retired]
        self._dropped += [] if made is None else [made]
        await self.close_dropped()

    async def close_dropped(self) -> None:
        """Close the clients of connections that are gone, where no work has them any more."""
        idle = [one for one in self._dropped if not one.uses]
        self._dropped = [one for one in self._dropped if one.uses]
        with anyio.CancelScope(shield=True):
            for one in idle:
                await self._close(one)

    async def keep_fresh(self) -> None:
        """Renew tokens before they expire, and forget who was removed elsewhere, until cancelled."""
        look_at = self._clock.now() + FORGET
        while True:
            await self._connections.renew_due()
            now = self._clock.now()
            if not look_at - FORGET <= now < look_at:  # a clock may be set back
                look_at = now + FORGET
                await self.forget_removed()
            await self._clock.wait(anyio.Event(), until=self._clock.now() + LOOK)

    async def forget_removed(self) -> None:
        """Drop the clients of connections that are there no more; close those whose time is over."""
        held = {*self._clients, *(one.ref for _, one in self._retired.values())}
        for ref in held:
            if not await self._connections.exists(ref):
                await self.drop(ref)
        async with self._lock:
            await self._close_old()

    async def _made(self, connection: str, held: Held) -> _Made:
        made = self._clients.get(connection)
        if made is not None and made.version == held.version:
            return made
        again = self._back(held.version)
        if again is None:
            again = await self._new(connection, held)
        self._retire(made)
        self._clients[connection] = again
        self._clients.move_to_end(connection)
        if len(self._clients) > MOST:
            self._retire(self._clients.popitem(last=False)[1])
        await self._close_old()
        return again

    async def _new(self, ref: str, held: Held) -> _Made:
        stack = AsyncExitStack()
        client = held.integration.client(held.credentials)
        if hasattr(client, "__aexit__"):
            client = await stack.enter_async_context(client)
        return _Made(ref, held.version, client, stack)

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
