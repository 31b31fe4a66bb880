"""Requests that are answered otherwise than they deserve: refused, throttled, held open.

    request --> gate "before"? --> fault? --> carried out --> gate "after"? --> answer

A fault may be for many requests; a gate holds one.
"""

from __future__ import annotations

import re
import threading
from typing import Literal, Self

import attrs

from trigflow.testing.fake_server import Dropped, Reply

Moment = Literal["before", "after"]


@attrs.define
class _Match:
    method: str
    path: re.Pattern[str]
    times: int | None

    def takes(self, method: str, path: str) -> bool:
        """Tell whether it is this request's turn, and count it."""
        if self.times == 0 or self.method not in {method, "*"} or not self.path.search(path):
            return False
        self.times = None if self.times is None else self.times - 1
        return True


@attrs.define
class Fault(_Match):
    """An answer for requests that match; effective: they are carried out, and only then answered so."""

    reply: Reply
    effective: bool


class Gate:
    """Holds one request open: it has arrived and is not answered before `open` or `drop`.

    moment: "before": nothing was done yet; "after": it was carried out, its answer is held.
    """

    def __init__(self, method: str, path: str, moment: Moment) -> None:
        self.moment = moment
        self._match = _Match(method, re.compile(path), 1)
        self._reached, self._decided = threading.Event(), threading.Event()
        self._first, self._dropped = threading.Lock(), False

    def takes(self, method: str, path: str) -> bool:
        """Tell whether it holds this request; once."""
        return self._match.takes(method, path)

    def wait(self, timeout: float) -> bool:
        """Wait until a request is held; False after `timeout` seconds without one."""
        return self._reached.wait(timeout)

    def open(self) -> None:
        """Let the request go on; the caller may be gone, a provider would not know."""
        self._decide(dropped=False)

    def drop(self) -> None:
        """End its connection: "before": it is never carried out; "after": it was."""
        self._decide(dropped=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.open()

    def _decide(self, *, dropped: bool) -> None:
        with self._first:  # the first decision counts
            if not self._decided.is_set():
                self._dropped = dropped
                self._decided.set()

    def hold(self) -> None:
        """Stand in the way; Dropped if the connection is to end."""
        self._reached.set()
        self._decided.wait()
        if self._dropped:
            raise Dropped


class Faults:
    """What was told, in the order in which it applies; the caller keeps the lock."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._gates: list[Gate] = []

    def add(
        self, method: str, path: str, reply: Reply, *, times: int | None, effective: bool = False
    ) -> None:
        """Answer matching requests so; times: None for ever."""
        self._faults.append(Fault(method, re.compile(path), times, reply, effective))

    def gate(self, method: str, path: str, moment: Moment) -> Gate:
        """Hold the next matching request."""
        made = Gate(method, path, moment)
        self._gates.append(made)
        return made

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Return the fault whose turn it is."""
        return next((fault for fault in self._faults if fault.takes(method, path)), None)

    def gate_for(self, method: str, path: str) -> Gate | None:
        """Return the gate that holds this request."""
        return next((gate for gate in self._gates if gate.takes(method, path)), None)

    def drop_all(self) -> None:
        """End the connections of all requests that are held, and hold no more."""
        gates, self._gates = self._gates, []
        for gate in gates:
            gate.drop()
