"""The post office: sends what endpoints are to be told, tries again, and misbehaves when it is told to.

letter --> sent --2xx--> delivered
            |  --else--> due again, later --> sent … --> failed for good
  rules:   lost · sent twice · kept until a time · kept until others came
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs

from trigflow_stripe.testing.clock import FakeClock
from trigflow_stripe.testing.deliveries import Attempt, headers_of, sent, signature
from trigflow_stripe.testing.endpoints import FakeEndpoint
from trigflow_stripe.testing.world import World


@attrs.frozen
class Letter:
    """An event on its way to one endpoint; number: which try it is, 1 for the first."""

    event: str
    endpoint: str
    number: int = 1
    is_extra: bool = False  # a manual resend, or a copy: it is not tried again


@attrs.define
class _Rule:
    """What to do with the first tries of the next events of a type; "*" is any."""

    type: str
    times: int | None
    act: Callable[[Letter], list[Attempt]]

    def takes(self, type_: str) -> bool:
        if self.times == 0 or self.type not in {type_, "*"}:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


class PostOffice:
    """Sends letters in the thread that calls; never sleeps."""

    def __init__(
        self, world: World, clock: FakeClock, lock: threading.RLock, retries: Sequence[timedelta]
    ) -> None:
        self._world, self._clock, self._lock = world, clock, lock
        self._retries = tuple(retries)
        self._rules: list[_Rule] = []
        self._due: list[tuple[datetime, Letter]] = []

    def deliver(self, letter: Letter) -> list[Attempt]:
        """Send an event for the first time unless a rule says otherwise."""
        type_ = self._world.event(letter.event)["type"]
        with self._lock:
            rule = next((rule for rule in self._rules if rule.takes(type_)), None)
        return [self.send(letter)] if rule is None else rule.act(letter)

    def send(self, letter: Letter, *, key: str | None = None) -> Attempt:
        """Send a letter now; key: another secret to sign with, for what is kept nowhere."""
        with self._lock:
            attempt = self._prepared(letter, key)
        done = sent(attempt)
        if key is None:
            with self._lock:
                self._keep(letter, done)
        return done

    def lose(self, type_: str, times: int | None) -> None:
        """Send the next events nowhere, and never again; Stripe counts them as delivered."""

        def act(letter: Letter) -> list[Attempt]:
            with self._lock:
                self._world.settled(letter.event, letter.endpoint, ok=True)
            return []

        self._rule(type_, times, act)

    def duplicate(self, type_: str, times: int | None) -> None:
        """Send the next events twice."""
        self._rule(
            type_, times, lambda letter: [self.send(letter), self.send(attrs.evolve(letter, is_extra=True))]
        )

    def delay(self, by: timedelta, type_: str, times: int | None) -> None:
        """Keep the next events back for a time."""

        def act(letter: Letter) -> list[Attempt]:
            with self._lock:
                self._due.append((self._clock() + by, letter))
            return []

        self._rule(type_, times, act)

    def reorder(self, count: int, type_: str) -> None:
        """Keep the next events back until there are `count`, and send them last first."""
        group: list[Letter] = []

        def act(letter: Letter) -> list[Attempt]:
            with self._lock:
                group.append(letter)
                ready = group[::-1] if len(group) == count else []
            return [self.send(one) for one in ready]

        self._rule(type_, count, act)

    def advance(self, by: timedelta) -> list[Attempt]:
        """Move the clock on, sending at each moment what is due then."""
        end = self._clock() + by
        done: list[Attempt] = []
        while (due := self._next(end)) is not None:
            at, letter = due
            self._clock.advance(max(at - self._clock(), timedelta()))
            done += self._again(letter)
        self._clock.advance(max(end - self._clock(), timedelta()))
        return done

    def release(self) -> list[Attempt]:
        """Send what is due by now, where the clock was moved by somebody else."""
        return self.advance(timedelta())

    @property
    def pending(self) -> int:
        """How many letters wait for their time."""
        with self._lock:
            return len(self._due)

    def _next(self, end: datetime) -> tuple[datetime, Letter] | None:
        with self._lock:
            first = min((due for due in self._due if due[0] <= end), key=lambda due: due[0], default=None)
            if first is not None:
                self._due.remove(first)
            return first

    def _again(self, letter: Letter) -> list[Attempt]:
        """Send what is due, unless its endpoint is gone or disabled: then it is dropped for good."""
        with self._lock:
            endpoint = self._world.endpoints.get(letter.endpoint)
            if endpoint is None or endpoint.disabled:
                self._world.settled(letter.event, letter.endpoint, ok=False)
                return []
        return [self.send(letter)]

    def _rule(self, type_: str, times: int | None, act: Callable[[Letter], list[Attempt]]) -> None:
        with self._lock:
            self._rules.append(_Rule(type_, times, act))

    def _prepared(self, letter: Letter, key: str | None) -> Attempt:
        endpoint = self._world.endpoints[letter.endpoint]
        event = self._world.event(letter.event)
        body = self._world.rendered(event, endpoint)
        now = self._clock()
        # Signed with the receiver's time: that does not move when our schedule is moved on.
        signed = signature(
            body,
            [key] if key is not None else endpoint.secrets_at(now),
            at=self._clock.base(),
            decoy=not endpoint.livemode,
        )
        return Attempt(
            event["id"],
            event["type"],
            endpoint.id,
            endpoint.url,
            letter.number,
            now,
            headers_of(signed),
            body,
        )

    def _keep(self, letter: Letter, attempt: Attempt) -> None:
        self._world.attempts.append(attempt)
        if letter.is_extra and not attempt.ok:
            return
        again = letter.number <= len(self._retries)
        if attempt.ok or not again:
            self._world.settled(letter.event, letter.endpoint, ok=attempt.ok)
        if not attempt.ok and again:
            due = self._clock() + self._retries[letter.number - 1]
            self._due.append((due, attrs.evolve(letter, number=letter.number + 1)))


def letters_of(event: str, endpoints: Sequence[FakeEndpoint]) -> list[Letter]:
    """Address an event to endpoints."""
    return [Letter(event, endpoint.id) for endpoint in endpoints]
