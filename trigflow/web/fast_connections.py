"""uvicorn's httptools protocol with bounds; see trigflow.web.connections."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trigflow.web.connections import HEAD_TIMEOUT

LARGEST_HEAD = 128 * 1024  # bytes read until the header fields are whole; the intake takes fewer
MOST_WAITING = 100  # requests behind one that is not answered yet; senders of webhooks send none


class BoundedHttpTools(HttpToolsProtocol):
    """httptools; a head that is too large, does not end, or is one of too many at once is refused."""

    _head = 0  # bytes read since a head began
    _late: asyncio.TimerHandle | None = None  # runs while a head is awaited

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._head_is_whole()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and see whether a head is still not whole."""
        super().data_received(data)
        cycle = self.cycle
        # uvicorn makes a scope when a head begins, and a cycle of it when the head is whole.
        if cycle and cycle.scope is self.scope:
            if self._late is not None:
                self._head_is_whole()
            if len(self.pipeline) > MOST_WAITING:
                self.transport.close()
            return
        self._head += len(data)
        if self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT, self._give_up)
        if self._head > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The header fields are too large.")

    def _head_is_whole(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._head = None, 0

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
