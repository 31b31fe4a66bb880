"""The post office: sends what hooks are to be told, and misbehaves when it is told to.

    letter --> sent, logged
      rules:   lost (logged or not) · sent twice · kept until a time · kept until others came

It waits for no time to come: what was kept back leaves when the clock was advanced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

import attrs

from trigflow_github.testing.deliveries import Attempt, prepared, sent
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.world import World


@attrs.frozen
class Letter:
    """An event on its way to one hook; held_at: since when it is kept back."""

    hook: FakeHook
    event: str
    payload: bytes = attrs.field(repr=False)
    delivery: str
    content_type: str | None = None
    redelivery: bool = False
    held_at: datetime | None = None


@attrs.define
class _Rule:
    """What to do with the next letters of an event; "*" is any event but a ping."""

    event: str
    times: int | None
    act: Callable[[Letter], list[Attempt]]

    def takes(self, letter: Letter) -> bool:
        fits = self.event == letter.event or (self.event == "*" and letter.event != "ping")
        if self.times == 0 or not fits:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


class PostOffice:
    """Sends letters in the thread that calls, or in the background; never sleeps."""

    def __init__(self, world: World, lock: threading.RLock) -> None:
        self._world, self._lock = world, lock
        self._rules: list[_Rule] = []
        self._kept: list[tuple[datetime, Letter]] = []
        self._sender = ThreadPoolExecutor(4, "fake-github")
        self._pending: list[Future[Any]] = []

    def deliver(self, letter: Letter) -> list[Attempt]:
        """Send a letter unless a rule says otherwise; return the attempts that were logged."""
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(letter)), None)
        return [self.send(letter)] if rule is None else rule.act(letter)

    def send(self, letter: Letter, *, key: str | None = None, kept: bool = True) -> Attempt:
        """Send a letter; key: another secret to sign with; kept: log it."""
        attempt = self._prepared(letter, key)
        return self._logged(sent(attempt, verify=letter.hook.insecure_ssl != "1"), kept=kept)

    def lose(self, event: str, times: int | None, *, logged: bool, status: int) -> None:
        """Send the next letters nowhere."""

        def act(letter: Letter) -> list[Attempt]:
            error = "" if status else "lost on its way"
            attempt = attrs.evolve(self._prepared(letter), status=status, error=error)
            return [self._logged(attempt)] if logged else []

        self._rule(event, times, act)

    def duplicate(self, event: str, times: int | None) -> None:
        """Send the next letters twice."""
        self._rule(event, times, lambda letter: [self.send(letter), self.send(letter)])

    def delay(self, by: timedelta, event: str, times: int | None) -> None:
        """Keep the next letters back for a time."""

        def act(letter: Letter) -> list[Attempt]:
            with self._lock:
                now = self._world.now()
                self._kept.append((now + by, attrs.evolve(letter, held_at=now)))
            return []

        self._rule(event, times, act)

    def reorder(self, count: int, event: str) -> None:
        """Keep the next letters back until there are `count`, and send them last first."""
        group: list[Letter] = []

        def act(letter: Letter) -> list[Attempt]:
            with self._lock:
                group.append(letter)
                ready = group[::-1] if len(group) == count else []
            return [self.send(one) for one in ready]

        self._rule(event, count, act)

    def release(self) -> list[Attempt]:
        """Send what was kept back until now; what was for a hook that is gone or off is dropped."""
        with self._lock:
            now = self._world.now()
            due = sorted((kept for kept in self._kept if kept[0] <= now), key=lambda kept: kept[0])
            self._kept = [kept for kept in self._kept if kept[0] > now]
            found = [(letter, self._world.find_hook(letter.hook.id)) for _, letter in due]
        return [self.send(attrs.evolve(letter, hook=hook)) for letter, hook in found if hook and hook.active]

    def later(self, action: Callable[[], object]) -> None:
        """Do it in the background."""
        with self._lock:
            self._pending.append(self._sender.submit(action))

    def settle(self) -> None:
        """Wait until the background has nothing left to do."""
        with self._lock:
            pending, self._pending = self._pending, []
        wait(pending)

    def close(self) -> None:
        """Send what is under way, and no more."""
        self._sender.shutdown()

    def _rule(self, event: str, times: int | None, act: Callable[[Letter], list[Attempt]]) -> None:
        with self._lock:
            self._rules.append(_Rule(event, times, act))

    def _prepared(self, letter: Letter, key: str | None = None) -> Attempt:
        with self._lock:
            return prepared(
                letter.hook,
                letter.event,
                letter.payload,
                number=self._world.next_id(),
                delivery=letter.delivery,
                now=self._world.now(),
                key=key or letter.hook.secret,
                content_type=letter.content_type,
                redelivery=letter.redelivery,
                throttled_at=letter.held_at,
            )

    def _logged(self, attempt: Attempt, *, kept: bool = True) -> Attempt:
        if kept:
            with self._lock:
                self._world.remember(attempt)
        return attempt
