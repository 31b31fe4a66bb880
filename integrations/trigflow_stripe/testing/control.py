"""The fake as a process of its own, told over HTTP: see `trigflow.testing.fake_control`."""

from __future__ import annotations

from typing import Any

from trigflow.testing.fake_control import Calls, Gates, Told
from trigflow.testing.fake_server import Dropped, Received, Reply
from trigflow_stripe.testing.fake import FakeStripe


class ServedFake(FakeStripe):
    """A FakeStripe that is told over HTTP.

    The calls are its methods of the same name and arguments: event, put, add_account, emit,
    resend, advance, release, add_endpoint, edit, delete, roll, fail, forbid, throttle, lose,
    duplicate, delay, reorder. And: calls(), writes(), endpoints(), attempts(), pending();
    down(); up(); gate(method, path, moment) returns the number of a gate for
    gate_wait(gate, timeout), gate_open(gate) and gate_drop(gate).
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_down = False
        self._told = Told(self._calls(), seconds=("by", "keep"))

    def _answer(self, received: Received) -> Reply:
        told = self._told.answer(received)
        if told is not None:
            return told
        if self._is_down:
            raise Dropped
        return super()._answer(received)

    def _calls(self) -> Calls:
        gates = Gates(self.gate)
        return {
            **{name: getattr(self, name) for name in _METHODS},
            **gates.calls,
            "gate": gates.hold,
            "calls": lambda: list(self.calls),
            "writes": lambda: self.writes,
            "endpoints": lambda: self.endpoints,
            "attempts": lambda: self.attempts,
            "pending": lambda: self.pending,
            "down": self._go_down,
            "up": self._come_up,
        }

    def _go_down(self) -> None:
        self._is_down = True
        self._server.drop()

    def _come_up(self) -> None:
        self._is_down = False


_METHODS = (
    "add_account",
    "add_endpoint",
    "advance",
    "delay",
    "delete",
    "duplicate",
    "edit",
    "emit",
    "event",
    "fail",
    "forbid",
    "lose",
    "put",
    "release",
    "reorder",
    "resend",
    "roll",
    "throttle",
)
