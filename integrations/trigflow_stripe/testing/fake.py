"""FakeStripe: Stripe's REST API, as far as trigflow uses it, and its deliveries, on this machine.

Faithful to Stripe's documentation where it is precise; where it is not, the modules beside
this one say what is not certain. Two differences on purpose: endpoints may point to this
machine, which Stripe refuses; and `"*"` means every event, also those that Stripe wants to
be named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import attrs

from trigflow.testing.fake_faults import Faults, Gate, Moment
from trigflow.testing.fake_server import Call, Received, Refused, Reply, Server
from trigflow_stripe.testing.answers import Json
from trigflow_stripe.testing.clock import FakeClock, utc_now
from trigflow_stripe.testing.deliveries import LIVE_RETRIES, SANDBOX_RETRIES, Attempt
from trigflow_stripe.testing.endpoints import FakeEndpoint, Signing, new_secret
from trigflow_stripe.testing.front import Front
from trigflow_stripe.testing.post import Letter, PostOffice, letters_of
from trigflow_stripe.testing.world import TYPES, World, account, fixture

KEY = "sk_test_fake"
ROLLED_FOR = timedelta(hours=24)  # an old secret goes on signing that long at most


class FakeStripe:
    """A Stripe account with one key, the resources of the fixtures, and no endpoint.

    What sends (`emit`, `resend`, `forge`, `advance`) blocks the calling thread for at most
    10 s an attempt; beside an event loop call it from a worker thread.
    """

    def __init__(
        self,
        key: str = KEY,
        *,
        livemode: bool = False,
        clock: Callable[[], datetime] = utc_now,
        retries: Sequence[timedelta] | None = None,
        port: int = 0,
    ) -> None:
        """Make a Stripe that knows one key.

        clock: that the receiver lives by too; deliveries are signed with its time.
        retries: waits after each failure; the defaults are within what Stripe publishes.
        """
        self.calls: list[Call] = []
        self._lock = threading.RLock()
        self._clock = FakeClock(clock)
        self._world = World(self._clock, livemode=livemode)
        waits = retries if retries is not None else LIVE_RETRIES if livemode else SANDBOX_RETRIES
        self._post = PostOffice(self._world, self._clock, self._lock, waits)
        self._faults = Faults()
        self._front = Front(self._world, key)
        self._server = Server(self._answer, port=port)

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._faults.drop_all()
        self._server.close()

    # what is there

    @property
    def writes(self) -> list[Call]:
        """The calls that wanted to change something."""
        return [call for call in self.calls if call.method != "GET"]

    @property
    def endpoints(self) -> list[FakeEndpoint]:
        """Copies of the endpoints, the oldest first."""
        with self._lock:
            return [attrs.evolve(endpoint) for endpoint in self._world.endpoints.values()]

    @property
    def attempts(self) -> list[Attempt]:
        """All tries to deliver, the oldest first."""
        with self._lock:
            return list(self._world.attempts)

    @property
    def pending(self) -> int:
        """How many deliveries wait for their time."""
        return self._post.pending

    def event(self, id: str) -> Json:  # noqa: A002 - Stripe's word
        """Return an event as the API shows it."""
        with self._lock:
            return self._world.event(id)

    def put(self, resource: Json) -> None:
        """Have the API know a resource, such as a price."""
        with self._lock:
            self._world.put(resource)

    def add_account(self, id: str, name: str = "Connected") -> None:  # noqa: A002
        """Connect an account."""
        with self._lock:
            self._world.connected[id] = account(id, name)

    # what happens at Stripe

    def emit(
        self,
        type: str,  # noqa: A002 - Stripe's word
        resource: Mapping[str, Any] | None = None,
        *,
        account: str | None = None,
        previous_attributes: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002
    ) -> list[Attempt]:
        """Have something happen, and deliver it to every endpoint that wants it.

        resource: by default that of the fixtures. account: the connected account where it happened.
        """
        told = fixture(TYPES[type]) if resource is None else dict(resource)
        with self._lock:
            event = self._world.add_event(type, told, account=account, previous=previous_attributes, id_=id)
            wanting = [self._world.endpoints[one] for one in sorted(event.pending)]
            letters = letters_of(event.shown["id"], wanting)
        return [attempt for letter in letters for attempt in self._post.deliver(letter)]

    def resend(self, event: str, endpoint: str) -> Attempt:
        """Deliver an event once more, as a person may ask; its id is the old one."""
        return self._post.send(Letter(event, endpoint, is_extra=True))

    redeliver = resend

    def forge(
        self,
        endpoint: FakeEndpoint,
        type: str,  # noqa: A002
        resource: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """Send what only looks like a delivery: it is signed with another secret."""
        told = fixture(TYPES[type]) if resource is None else dict(resource)
        with self._lock:
            event = self._world.add_event(type, told, account=None, previous=None, id_=None)
            event.pending.clear()
        try:
            return self._post.send(Letter(event.shown["id"], endpoint.id), key=f"not {endpoint.secret}")
        finally:
            with self._lock:
                del self._world.events[event.shown["id"]]

    def advance(self, by: timedelta) -> list[Attempt]:
        """Let time pass: what is due meanwhile is tried again."""
        return self._post.advance(by)

    def release(self) -> list[Attempt]:
        """Send what is due by now, where the clock was moved by somebody else."""
        return self._post.release()

    def settle(self) -> None:
        """Return at once: nothing is ever sent in the background."""

    # what people do in the dashboard, behind our back

    def add_endpoint(self, url: str, enabled_events: Sequence[str], *, connect: bool = False) -> FakeEndpoint:
        """Make an endpoint that is somebody else's."""
        with self._lock:
            made = FakeEndpoint(
                self._world.next_id("we"),
                int(self._world.now().timestamp()),
                url,
                tuple(enabled_events),
                self._world.livemode,
                connect,
                signing=(Signing(new_secret()),),
            )
            self._world.endpoints[made.id] = made
            return attrs.evolve(made)

    def edit(self, endpoint: str, **fields: Any) -> None:
        """Change fields of an endpoint, such as `enabled_events` or `disabled`."""
        with self._lock:
            self._world.endpoints[endpoint] = attrs.evolve(self._world.endpoints[endpoint], **fields)

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint."""
        with self._lock:
            del self._world.endpoints[endpoint]

    def roll(self, endpoint: str, *, keep: timedelta = ROLLED_FOR) -> str:
        """Roll an endpoint's secret and return the new one; keep: how long the old one goes on signing."""
        if not timedelta() <= keep <= ROLLED_FOR:
            raise ValueError(f"Stripe keeps an old secret for at most {ROLLED_FOR}, not {keep}")
        with self._lock:
            found = self._world.endpoints[endpoint]
            until = self._clock() + keep
            old = [attrs.evolve(one, until=min(one.until or until, until)) for one in found.signing]
            made = Signing(new_secret())
            found.signing = (made, *old)
            return made.secret

    # misbehaviour

    def fail(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        times: int | None = 1,
        effective: bool = False,
    ) -> None:
        """Answer matching requests with an error.

        method: or "*"; path: a regular expression, searched in the path; times: None for ever.
        effective: the request is carried out, and only its answer is lost.
        """
        told = {"error": {"type": "api_error", "message": f"scripted {status}"}} if body is None else body
        with self._lock:
            self._faults.add(
                method, path, Reply(status, told, headers or {}), times=times, effective=effective
            )

    def forbid(self, method: str, path: str, permission: str, *, times: int | None = None) -> None:
        """Refuse matching requests for want of a permission, such as "rak_webhook_write"."""
        message = (
            f"The provided key 'rk_test_****' does not have the required permissions for this endpoint. "
            f"Having the '{permission}' permission would allow this request to continue."
        )
        self.fail(
            method, path, 403, {"error": {"type": "invalid_request_error", "message": message}}, times=times
        )

    def throttle(self, method: str = "*", path: str = "", *, times: int | None = 1) -> None:
        """Refuse matching requests for being too many; Stripe names no time to wait."""
        message = "Request rate limit exceeded."
        error = {"type": "invalid_request_error", "code": "rate_limit", "message": message}
        headers = {"Stripe-Rate-Limited-Reason": "global-rate", "Stripe-Should-Retry": "true"}
        self.fail(method, path, 429, {"error": error}, headers, times=times)

    def gate(self, method: str, path: str, moment: Moment = "before") -> Gate:
        """Hold the next matching request open until the gate is opened or dropped."""
        with self._lock:
            return self._faults.gate(method, path, moment)

    def lose(self, type: str = "*", *, times: int | None = 1) -> None:  # noqa: A002
        """Send the next events nowhere, and never again."""
        self._post.lose(type, times)

    def duplicate(self, type: str = "*", *, times: int | None = 1) -> None:  # noqa: A002
        """Send the next events twice."""
        self._post.duplicate(type, times)

    def delay(self, by: timedelta, type: str = "*", *, times: int | None = 1) -> None:  # noqa: A002
        """Keep the next events back for a time."""
        self._post.delay(by, type, times)

    def reorder(self, count: int, type: str = "*") -> None:  # noqa: A002
        """Keep the next events back until there are `count`, and send them last first."""
        self._post.reorder(count, type)

    # requests

    def _answer(self, received: Received) -> Reply:
        """Answer a request; the lock makes requests happen one after another."""
        path = unquote(urlsplit(received.target).path)
        with self._lock:
            gate = self._faults.gate_for(received.method, path)
        if gate is not None and gate.moment == "before":
            gate.hold()
        with self._lock:
            try:
                reply = self._decide(received, path)
            except Refused as refusal:
                reply = refusal.reply
            self.calls.append(Call(received.method, path, reply.status))
            headers = self._front.standing_headers(received)
        if gate is not None and gate.moment == "after":
            gate.hold()
        return attrs.evolve(reply, headers={**headers, **reply.headers})

    def _decide(self, received: Received, path: str) -> Reply:
        fault = self._faults.fault_for(received.method, path)
        if fault is not None and not fault.effective:
            return fault.reply
        reply = self._front.answer(received)
        return reply if fault is None else fault.reply
