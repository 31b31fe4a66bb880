"""A small provider with a log of what it sent, whose webhook an app listens to."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict

import attrs

from trigflow import (
    ApiKey,
    App,
    Credentials,
    Delivery,
    Event,
    ExternalSource,
    Headers,
    Integration,
    Lost,
    Missed,
    Registered,
    Registration,
    Request,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.testing import VirtualClock

URL = "https://hooks.example.com"


@attrs.frozen
class Sent:
    """One event that the provider has; `kept`: its content is still there."""

    id: str
    at: float
    kept: bool = True
    readable: bool = True

    @property
    def body(self) -> bytes:
        """What is sent."""
        return json.dumps({"id": self.id}).encode() if self.readable else b"{"


@attrs.define(eq=False)
class Logged:
    """The provider: what it sent, in which order it tells it, and where reading it breaks off.

    breaks_after: items after which a reading raises. stops_after: items after which `on_stop` is called.
    """

    sent: list[Sent] = attrs.field(factory=list[Sent])
    order: Literal["newest", "oldest"] = "oldest"
    breaks_after: int | None = None
    stops_after: int | None = None
    on_stop: Callable[[], object] = lambda: None
    asked: list[datetime] = attrs.field(factory=list[datetime])
    pings: int = 0

    async def log(self, since: datetime) -> AsyncGenerator[Sent, None]:
        """Tell what was sent since a moment."""
        self.asked.append(since)
        told = sorted(self.sent, key=lambda one: one.at, reverse=self.order == "newest")
        for number, one in enumerate(one for one in told if one.at >= since.timestamp()):
            if number == self.breaks_after:
                raise ConnectionError("the log broke off at https://logged.example.com/log?token=hush-hush")
            if number == self.stops_after:
                self.on_stop()
            yield one


@attrs.frozen
class Place:
    """There is one."""


@attrs.frozen
class Hook:
    """What is kept of a webhook."""

    id: int


class Client:
    """Talks to the provider."""

    def __init__(self, provider: Logged) -> None:
        self.provider = provider


webhook: ExternalSource[Place, Client, Hook] = ExternalSource(
    "logged.webhook", params=Place, client=Client, data=Hook, verify=hmac_sha256("X-Signature")
)


@webhook.register
async def register(reg: Registration[Place, Hook], client: Client) -> Registered[Hook]:
    """Register."""
    return Registered(Hook(1))


@webhook.handler
def handle(delivery: Delivery[Place, Hook]) -> Iterable[Event]:
    """Read a delivery."""
    return [Event("thing.made", delivery.payload["id"])]


@webhook.recover
async def recover(
    reg: Registration[Place, Hook], since: datetime, client: Client
) -> AsyncIterator[Missed | Lost]:
    """Read the log."""
    async with aclosing(client.provider.log(since)) as log:
        async for one in log:
            at = datetime.fromtimestamp(one.at, UTC)
            if one.kept:
                yield Missed(one.body, at, Headers.of({"content-type": "application/json"}))
            else:
                yield Lost(at, "its content was kept for a day only")


@webhook.ping
async def ping(reg: Registration[Place, Hook], client: Client) -> None:
    """Send something now."""
    client.provider.pings += 1


class Thing(TypedDict):
    """What was made."""

    id: str


class LoggedService(Integration, id="logged", auth=[ApiKey("LOGGED_KEY")]):
    """A provider with a log."""

    provider: Logged = attrs.field(factory=Logged)

    def client(self, credentials: Credentials) -> Client:
        """Make a client."""
        return Client(self.provider)

    @event("thing.made", Thing, source=webhook)
    def thing_made(self) -> Place:
        """A thing was made."""
        return Place()


def app_of(provider: Logged, store: str, clock: VirtualClock, seen: list[str], **settings: Any) -> App:
    """Make an app that notes the ids of what it runs for."""
    logged = LoggedService(provider=provider)

    async def note(payload: dict[str, Any]) -> None:
        seen.append(payload["id"])

    job = trigger(logged.thing_made(), id="note")(note)
    return App(
        [job], url=URL, store=store, register="off", clock=clock, chance=lambda: 0.5,
        connections={logged: "key"}, **settings,
    )  # fmt: skip


async def deliver(app: App, one: Sent) -> int:
    """Deliver something as the provider does; return the status that it is answered with."""
    (endpoint,) = await app.opened.store.endpoints()
    (key, *_) = app.opened.routes.keys_of(endpoint)
    signature = hmac.new(key.secret, one.body, hashlib.sha256).hexdigest()
    headers = Headers.of({"x-signature": signature, "content-type": "application/json"})
    answer = await app.opened.receive(endpoint.token, Request("POST", URL, headers, one.body))
    return answer.status
