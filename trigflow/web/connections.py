"""uvicorn's HTTP protocols with bounds: what a sender may do before there is a request.

uvicorn waits for ever for a request to begin, and with httptools it takes as many header fields, and
as many requests one behind the other, as are sent: one connection could fill the memory. What comes
after the header fields is bounded by the intake itself.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT = 30.0  # seconds until the header fields of a request must be there


class BoundedH11(H11Protocol):
    """h11, which bounds header fields by itself; a connection that asks for nothing is closed."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more: a timer would keep all of the connection in memory."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        # uvicorn's annotation does not say that it is None before the first request.
        if not self.cycle and not self.transport.is_closing():
            self.transport.close()


def bounded_protocol() -> type[asyncio.Protocol]:
    """Return the faster protocol where httptools is installed."""
    if find_spec("httptools") is None:
        return BoundedH11
    from trigflow.web.fast_connections import BoundedHttpTools  # noqa: PLC0415 - httptools is an extra

    return BoundedHttpTools
