"""The parts of a running fake, put together."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trigflow.testing.fake_faults import Faults
from trigflow.testing.fake_server import Received, Reply, Server
from trigflow_github.testing.access import Caller
from trigflow_github.testing.answers import Json
from trigflow_github.testing.clock import FakeClock
from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.front import Front
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.post import Letter, PostOffice
from trigflow_github.testing.routes import Mail
from trigflow_github.testing.world import Place, World, new_guid

SCOPES = ("repo", "admin:org_hook")


class Machine:
    """World, front, faults, post office, server and clock; one lock for all."""

    def __init__(self, token: str, *, limit: int, clock: Callable[[], datetime], port: int) -> None:
        self.clock: FakeClock = FakeClock(clock)
        self._lock = threading.RLock()
        self._server = Server(self._respond, port=port)
        self._world = World(self._server.url, self.clock)
        self._post = PostOffice(self._world, self._lock)
        self._faults = Faults()
        mail = Mail(self._send_later, self._resend_later)
        self._front = Front(self._world, self._faults, mail, self._lock, limit=limit)
        self._world.tokens.grant(token, Caller("personal", "user 583231", SCOPES))
        self._world.add_repository("acme/web")

    @property
    def url(self) -> str:
        """The base URL to give to a client; the login is below it too."""
        return self._server.url

    def now(self) -> datetime:
        """Return the fake's time."""
        return self.clock()

    def advance(self, by: timedelta | None = None, **parts: float) -> list[Attempt]:
        """Move the clock on and send what was kept back until then; parts: as of timedelta."""
        self.clock.advance(timedelta(**parts) if by is None else by)
        return self._post.release()

    def settle(self) -> None:
        """Wait until what was to be sent in the background has been sent."""
        self._post.settle()

    def _respond(self, received: Received) -> Reply:
        return self._front.answer(received)

    def _send_later(self, hook: FakeHook, event: str, payload: Json) -> None:
        letter = Letter(hook, event, in_bytes(payload), new_guid())
        self._post.later(lambda: self._post.deliver(letter))

    def _resend_later(self, hook: FakeHook, number: int) -> None:
        old = self._world.attempt_of(hook, number)
        letter = Letter(hook, old.event, old.payload, old.delivery, redelivery=True)
        self._post.later(lambda: self._post.deliver(letter))

    def _place(self, name: str) -> Place:
        return self._world.known(name)


def in_bytes(payload: Mapping[str, Any] | bytes) -> bytes:
    """Write a payload as GitHub does, without spaces."""
    if isinstance(payload, bytes):
        return payload
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
