"""The fake as a process of its own, and what a test in another process may tell it.

    POST /_fake/{call}  {"argument": ...}  ->  {"result": ...}

No token is asked for: the fake binds to loopback, and what it guards is not real. A
wrong call or argument is a 400 with `error`. Times are in seconds, bytes are text.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

from trigflow.testing.fake_faults import Gate
from trigflow.testing.fake_server import Received, Refused, Reply
from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.fake import FakeGitHub

PREFIX = "/_fake/"
_SECONDS = ("by", "wait")


class ServedFake(FakeGitHub):
    """A FakeGitHub that is told over HTTP.

    The calls are its methods of the same name and arguments: add_repository,
    add_organization, add_hook, add_token, add_oauth_app, add_app, install, uninstall,
    suspend, select, revoke, refuse_login, hooks, app_hook, attempts, log, payload, emit, advance,
    settle, fail, forbid, throttle, restart, lose, duplicate, delay, reorder, edit_hook,
    delete_hook. And: calls(); redeliver(attempt: its id); down(); up();
    hold(method, path, moment) returns the number of a gate for gate_wait(gate, timeout),
    gate_open(gate) and gate_drop(gate).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gates: dict[int, Gate] = {}
        self._numbers = itertools.count(1)

    def _respond(self, received: Received) -> Reply:
        path = urlsplit(received.target).path
        if not path.startswith(PREFIX):
            return super()._respond(received)
        return self._controlled(path.removeprefix(PREFIX), received)

    def _controlled(self, name: str, received: Received) -> Reply:
        call = self._calls().get(name)
        if call is None or received.method != "POST":
            return Reply(404, {"error": f"POST {PREFIX}{name} is no call of the fake"})
        try:
            told: object = json.loads(received.body or b"{}")
            arguments = _arguments(cast("Mapping[str, Any]", told)) if isinstance(told, dict) else None
            if arguments is None:
                return Reply(400, {"error": "the arguments must be a JSON object"})
            return Reply(200, {"result": shown(call(**arguments))})
        except Refused as refusal:
            return Reply(400, {"error": refusal.reply.body})
        except (KeyError, TypeError, ValueError) as error:
            return Reply(400, {"error": f"{type(error).__name__}: {error}"})

    def _calls(self) -> Mapping[str, Callable[..., object]]:
        own: dict[str, Callable[..., object]] = {name: getattr(self, name) for name in _METHODS}
        return {
            **own,
            "calls": lambda: list(self.calls),
            "redeliver": self._redeliver_numbered,
            "hold": self._hold_numbered,
            "gate_wait": self._gate_wait,
            "gate_open": self._gate_open,
            "gate_drop": self._gate_drop,
            "down": self._go_down,
            "up": self._come_up,
        }

    def _redeliver_numbered(self, attempt: int) -> object:
        found = {one.id: one for one in self.log()}
        return self.redeliver(found[attempt])

    def _hold_numbered(self, **told: Any) -> int:
        number = next(self._numbers)
        self._gates[number] = self.hold(**told)
        return number

    def _gate_wait(self, gate: int, timeout: float) -> bool:
        return self._gates[gate].wait(timeout)

    def _gate_open(self, gate: int) -> None:
        self._gates[gate].open()

    def _gate_drop(self, gate: int) -> None:
        self._gates[gate].drop()

    def _go_down(self) -> None:
        self._front.down = True
        self.restart()

    def _come_up(self) -> None:
        self._front.down = False


_METHODS = (
    "add_app",
    "add_hook",
    "add_oauth_app",
    "add_organization",
    "add_repository",
    "add_token",
    "advance",
    "app_hook",
    "attempts",
    "delay",
    "delete_hook",
    "duplicate",
    "edit_hook",
    "emit",
    "fail",
    "forbid",
    "hooks",
    "install",
    "log",
    "lose",
    "payload",
    "refuse_login",
    "reorder",
    "restart",
    "revoke",
    "select",
    "settle",
    "suspend",
    "throttle",
    "uninstall",
)


def _arguments(told: Mapping[str, Any]) -> dict[str, Any]:
    """Turn seconds into time spans, for the arguments that are such."""
    return {
        name: timedelta(seconds=value) if name in _SECONDS and value is not None else value
        for name, value in told.items()
    }


def shown(value: object) -> Any:
    """Write what a call returned as JSON has it."""
    kind: Any = type(value)
    if attrs.has(kind):
        told = {name: shown(getattr(value, name)) for name in attrs.fields_dict(kind) if name != "public_key"}
        return told | ({"ok": value.ok} if isinstance(value, Attempt) else {})
    if isinstance(value, Mapping):
        return {str(name): shown(item) for name, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set):
        return [shown(item) for item in cast("list[object]", value)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, datetime) else value
