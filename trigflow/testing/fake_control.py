"""A fake provider in a process of its own: what a program in another process may tell it.

    POST /_fake/{call}  {"argument": ...}  ->  {"result": ...}

No token is asked for: a fake binds to loopback, and what it guards is not real. A wrong
call or argument is a 400 with `error`. Times are in seconds, bytes are text.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

from trigflow.testing.fake_faults import Gate
from trigflow.testing.fake_server import Received, Refused, Reply

PREFIX = "/_fake/"
Calls = Mapping[str, Callable[..., object]]


class Told:
    """Answers the requests that are for the fake itself.

    seconds: arguments that are time spans. hidden: fields that no answer shows.
    """

    def __init__(self, calls: Calls, *, seconds: Collection[str], hidden: Collection[str] = ()) -> None:
        self._calls, self._seconds, self._hidden = calls, seconds, hidden

    def answer(self, received: Received) -> Reply | None:
        """Do what is told; None where the request is for the provider that is played."""
        path = urlsplit(received.target).path
        if not path.startswith(PREFIX):
            return None
        call = self._calls.get(path.removeprefix(PREFIX))
        if call is None or received.method != "POST":
            return Reply(404, {"error": f"POST {path} is no call of the fake"})
        try:
            told: object = json.loads(received.body or b"{}")
            if not isinstance(told, dict):
                return Reply(400, {"error": "the arguments must be a JSON object"})
            result = call(**self._arguments(cast("Mapping[str, Any]", told)))
            return Reply(200, {"result": shown(result, hidden=self._hidden)})
        except Refused as refusal:
            return Reply(400, {"error": refusal.reply.body})
        except (KeyError, TypeError, ValueError) as error:
            return Reply(400, {"error": f"{type(error).__name__}: {error}"})

    def _arguments(self, told: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: timedelta(seconds=value) if name in self._seconds and value is not None else value
            for name, value in told.items()
        }


class Gates:
    """Gates by numbers, which travel where the gates themselves can't."""

    def __init__(self, hold: Callable[..., Gate]) -> None:
        """Take what makes a gate."""
        self._hold = hold
        self._gates: dict[int, Gate] = {}
        self._numbers = itertools.count(1)

    def hold(self, **told: Any) -> int:
        """Hold the next matching request open; return the number of its gate."""
        number = next(self._numbers)
        self._gates[number] = self._hold(**told)
        return number

    @property
    def calls(self) -> Calls:
        """What may be told about a gate, once it has a number."""
        return {"gate_wait": self._wait, "gate_open": self._open, "gate_drop": self._drop}

    def _wait(self, gate: int, timeout: float) -> bool:
        return self._gates[gate].wait(timeout)

    def _open(self, gate: int) -> None:
        self._gates[gate].open()

    def _drop(self, gate: int) -> None:
        self._gates[gate].drop()


def shown(value: object, *, hidden: Collection[str] = ()) -> Any:
    """Write what a call returned as JSON has it: values with their fields and properties."""
    kind = type(value)
    if attrs.has(kind):
        own = [name for name, _ in inspect.getmembers(kind, lambda one: isinstance(one, property))]
        names = (name for name in (*attrs.fields_dict(kind), *own) if name not in hidden)
        return {name: shown(getattr(value, name), hidden=hidden) for name in names}
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(name): shown(item, hidden=hidden) for name, item in items}
    if isinstance(value, list | tuple | set):
        return [shown(item, hidden=hidden) for item in cast("list[object]", value)]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, datetime) else value
