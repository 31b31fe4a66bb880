"""The fake as a process of its own, told over HTTP: see `trigflow.testing.fake_control`."""

from __future__ import annotations

from typing import Any

from trigflow.testing.fake_control import Calls, Gates, Told
from trigflow.testing.fake_server import Received, Reply
from trigflow_github.testing.fake import FakeGitHub


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
        self._told = Told(self._calls(), seconds=("by", "wait"), hidden=("public_key",))

    def _respond(self, received: Received) -> Reply:
        told = self._told.answer(received)
        return super()._respond(received) if told is None else told

    def _calls(self) -> Calls:
        gates = Gates(self.hold)
        return {
            **{name: getattr(self, name) for name in _METHODS},
            **gates.calls,
            "hold": gates.hold,
            "calls": lambda: list(self.calls),
            "redeliver": self._redeliver_numbered,
            "down": self._go_down,
            "up": self._come_up,
        }

    def _redeliver_numbered(self, attempt: int) -> object:
        found = {one.id: one for one in self.log()}
        return self.redeliver(found[attempt])

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
