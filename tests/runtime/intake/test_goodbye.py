"""A hub asks whether a subscription is to end: the answer is ours to know, also once it is removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    Registered,
    Registration,
    Secret,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.core.http import Headers, Request, Response
from trigflow.runtime.intake.routes import LATE
from trigflow.sources.handshake import hub_intent
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
TOPIC = "https://news.example.com/feed"


class Hub:
    """A hub; `asks` is called during each call, as some hubs ask back inside."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.asks: Callable[[str], Awaitable[object]] | None = None

    async def call(self, mode: str) -> None:
        self.calls.append(mode)
        if self.asks is not None:
            await self.asks(mode)


def app_of(hub: Hub, clock: VirtualClock) -> App:
    source: ExternalSource[dict[str, str], Any, str] = ExternalSource(
        "hub.feed", params=dict[str, str], client=object, data=str, key=lambda params: params["topic"],
        verify=hmac_sha256("X-Hub-Signature"), handshakes=[hub_intent()], secret=Secret.GENERATED,
        facts=lambda params, secret: {"topic": params["topic"]},
    )  # fmt: skip

    @source.register
    async def register(reg: Registration[dict[str, str], str], client: object) -> Registered[str]:
        await hub.call("subscribe")
        return Registered("it")

    @source.unregister
    async def unregister(reg: Registration[dict[str, str], str], client: object) -> None:
        await hub.call("unsubscribe")

    @source.handler
    def handle(delivery: Delivery[dict[str, str], str]) -> Iterable[Event]:
        return []

    class Feeds(Integration, id="hub"):
        """A hub's feeds."""

        def client(self, credentials: object) -> object:
            return object()

        @event("entry", dict[str, object], source=source)
        def entry(self, *, topic: str) -> dict[str, str]:
            """Something new."""
            return {"topic": topic}

    feeds = Feeds()

    @trigger(feeds.entry(topic=TOPIC))
    async def job(payload: dict[str, object]) -> None: ...

    return App(
        [job],
        store="memory:",
        register="off",
        url="https://h.example.com",
        clock=clock,
        connections={feeds: "t"},
    )  # fmt: skip


async def asked(app: App, token: str, mode: str, topic: str = TOPIC) -> Response:
    query = urlencode({"hub.mode": mode, "hub.topic": topic, "hub.challenge": "a-challenge"})
    request = Request("GET", f"https://h.example.com/e/x/{token}?{query}", Headers(), b"", query)
    return await app.opened.receive(token, request)


async def removed(app: App) -> str:
    """Register and remove; return the endpoint's token."""
    await app.apply()
    (endpoint,) = await app.opened.store.endpoints()
    await app.opened.rows.withdraw()
    await app.apply(grace=timedelta(0))
    assert not await app.opened.store.endpoints()
    return endpoint.token


async def test_what_we_asked_to_end_is_confirmed_after_its_removal_and_nothing_else_is() -> None:
    hub, clock = Hub(), VirtualClock()
    async with app_of(hub, clock).inspect() as app:
        token = await removed(app)
        assert hub.calls == ["subscribe", "unsubscribe"]
        yes = await asked(app, token, "unsubscribe")
        assert (yes.status, yes.body) == (200, b"a-challenge")
        for mode, topic in (("subscribe", TOPIC), ("unsubscribe", f"{TOPIC}s"), ("denied", TOPIC)):
            no = await asked(app, token, mode, topic)
            assert no.status == 404
            assert b"a-challenge" not in no.body
        late = Request("POST", "https://h.example.com/e/x/t", Headers(), b"late")
        assert (await app.opened.receive(token, late)).status == 200
        clock.advance(timedelta(seconds=LATE + 10))
        assert (await asked(app, token, "unsubscribe")).status == 404


async def test_what_we_did_not_ask_to_end_is_refused() -> None:
    async with app_of(Hub(), VirtualClock()).inspect() as app:
        await app.apply()
        (endpoint,) = await app.opened.store.endpoints()
        assert (await asked(app, endpoint.token, "unsubscribe")).status == 404
        assert (await asked(app, endpoint.token, "subscribe")).status == 200
        (s,) = endpoint.subscriptions
        await app.opened.store.remove_subscription(s.id, at=1)  # nobody told the hub
        app.opened.routes.forget(endpoint.token)
        assert (await asked(app, endpoint.token, "unsubscribe")).status == 404


async def test_a_hub_that_asks_inside_the_call_hears_what_the_call_is_for() -> None:
    hub, answers = Hub(), list[tuple[str, int]]()
    async with app_of(hub, VirtualClock()).inspect() as app:
        tokens: list[str] = []

        async def ask(mode: str) -> None:
            tokens.extend(one.token for one in await app.opened.store.endpoints())
            answers.append((mode, (await asked(app, tokens[0], mode)).status))

        hub.asks = ask
        await removed(app)
    assert answers == [("subscribe", 200), ("unsubscribe", 200)]


async def test_what_is_wanted_again_before_it_ended_is_confirmed_again() -> None:
    hub = Hub()
    async with app_of(hub, VirtualClock()).inspect() as app:
        await app.apply()
        (endpoint,) = await app.opened.store.endpoints()
        (s,) = endpoint.subscriptions

        async def refuse(mode: str) -> None:
            raise RuntimeError("the hub is away")

        hub.asks = refuse
        await app.opened.reconciler.remove(s.identity, "somebody removes it")
        app.opened.routes.forget(endpoint.token)
        assert (await asked(app, endpoint.token, "unsubscribe")).status == 200
        hub.asks = None
        await app.apply()  # it is wanted after all
        assert hub.calls[-1] == "subscribe"
        assert (await asked(app, endpoint.token, "subscribe")).status == 200
        assert (await asked(app, endpoint.token, "unsubscribe")).status == 404
