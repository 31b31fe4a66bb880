"""What a stop signal does to a server.

    signal ──> /readyz says no ──linger──> no new requests ──> requests, then runs end ──> ended
       └─ a second signal, or `within` seconds after the lingering: ended at once ────────────^

Ended at once is what a crash is: nothing that was acknowledged is lost, and runs
go on in the next process after their last kept task.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from trigflow.app import App
from trigflow.cli.screen import warn
from trigflow.core.errors import SetupError

STUCK = 1  # exit code
YOUNG = 20_000  # objects more than at the last look until the cycle collector looks again


class Stoppable(uvicorn.Server):
    """A server that ends within a known time."""

    def __init__(self, config: uvicorn.Config, app: App, *, linger: float, within: float) -> None:
        """Serve as configured; linger, within: seconds."""
        super().__init__(config)
        self._app, self._linger, self._within = app, linger, within
        self._asked = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app and listen."""
        await super().startup(sockets)
        _spare_the_collector()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear a signal."""
        if self._asked:
            _end("stopped twice: ended at once", 128 + sig)
        self._asked = True
        try:
            self._app.opened.drain()
        except SetupError:  # it is still opening
            self._linger = 0.0
        told = f"ended {self._within:g} s after it was asked to: something does not stop"
        _later(self._linger + self._within, lambda: _end(told, STUCK))
        if self._linger:
            _later(self._linger, lambda: super(Stoppable, self).handle_exit(sig, None))
        else:
            super().handle_exit(sig, frame)


def _spare_the_collector() -> None:
    """Keep Python's cycle collector from walking, again and again, over what is there for good.

    It took a tenth of the time of an event: at every 700 objects more than before it looks at what is
    in flight, and every now and then at all modules and classes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def _end(told: str, code: int) -> None:
    warn(f"{told}; runs that had not ended go on in the next process")
    sys.stderr.flush()
    os._exit(code)


def _later(seconds: float, call: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
