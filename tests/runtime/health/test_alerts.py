"""People are told once for one cause, and no sink disturbs anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from trigflow import Alert, App, Headers, Key, Request, SettingsError, standard_webhooks
from trigflow.core.alerts import AlertSink
from trigflow.core.settings import resolve
from trigflow.runtime import records as r
from trigflow.runtime.health.alert_webhook import AlertWebhook
from trigflow.runtime.health.alerts import Alerts
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
URL = "https://alerts.example.com/in"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Open the same store again and again, as processes do."""
    memory = MemoryStore(store_id="store")
    if request.param == "memory":
        return lambda: memory
    return lambda: SqliteStore(str(tmp_path / "t.db"), store_id=lambda: "store")


@asynccontextmanager
async def telling(alerts: Alerts) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(alerts.keep_telling)
        yield
        group.cancel_scope.cancel()


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not done():
            await anyio.sleep(0.005)


async def all_told(store: Store) -> None:
    with anyio.fail_after(10):
        while any(row.told_at is None for row in await store.alerts()):
            await anyio.sleep(0.005)


class Receiver:
    """A URL that alerts are posted to; refuses the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(503 if len(self.requests) <= self.refusals else 204)

    def webhook(self, clock: VirtualClock, secret: str | None = SECRET) -> AlertWebhook:
        return AlertWebhook(URL, secret, clock, httpx.MockTransport(self))


@pytest.fixture
def told() -> list[Alert]:
    return []


async def test_functions_of_either_kind_are_told_what_is_wrong_and_what_to_do(
    opening: Callable[[], Any], clock: VirtualClock, told: list[Alert]
) -> None:
    async def hear(alert: Alert) -> None:
        told.append(alert)

    async with opening() as store:
        alerts = Alerts(store, clock, [told.append, hear])
        async with telling(alerts):
            await alerts.raise_("subscription sub_1", "silent: nothing came", "look", "github repo:a/b")
            await until(lambda: len(told) == 2)
            await all_told(store)
        assert told[0] == told[1]
        alert = told[0]
        assert (alert.subject, alert.cause, alert.action) == (
            "subscription sub_1",
            "silent: nothing came",
            "look",
        )
        assert (alert.about, alert.at.timestamp()) == ("github repo:a/b", clock.now())
        (row,) = await store.alerts()
        assert row.told_at == int(clock.now() * 1000)


async def test_one_cause_is_told_once_by_whoever_and_after_a_restart_too(
    opening: Callable[[], Any], clock: VirtualClock, told: list[Alert]
) -> None:
    async with opening() as first, opening() as second:
        ours, theirs = Alerts(first, clock, [told.append]), Alerts(second, clock, [told.append])
        async with telling(ours), telling(theirs):
            for attempt in range(3):
                clock.advance(timedelta(seconds=1))
                await ours.raise_("subscription sub_1", f"failing: refused {attempt} times", "look")
                await theirs.raise_("subscription sub_1", f"failing: refused {attempt + 7} times", "look")
            await until(lambda: bool(told))
            await theirs.raise_("subscription sub_1", "failing: needs a scope", "look")
            await until(lambda: len(told) == 2)
            await all_told(first)
            clock.advance(timedelta(hours=2))
            await anyio.wait_all_tasks_blocked()
    if isinstance(first, MemoryStore):
        return
    async with opening() as store:
        again = Alerts(store, clock, [told.append])
        async with telling(again):
            await again.raise_("subscription sub_1", "failing: refused 99 times", "look")
            clock.advance(timedelta(hours=2))
            await anyio.wait_all_tasks_blocked()
    assert [one.cause for one in told] == ["failing: refused … times", "failing: needs a scope"]


async def test_what_is_over_is_told_again_when_it_comes_back(
    opening: Callable[[], Any], clock: VirtualClock, told: list[Alert]
) -> None:
    async with opening() as store:
        alerts = Alerts(store, clock, [told.append])
        async with telling(alerts):
            await alerts.raise_("a", "broken", "mend")
            await alerts.raise_("b", "broken", "mend")
            await alerts.clear("a", but="broken")
            await alerts.raise_("a", "broken", "mend")
            await alerts.clear("a")
            await alerts.raise_("a", "broken", "mend")
            await until(lambda: len(told) == 3)
    assert sorted(one.subject for one in told) == ["a", "a", "b"]


async def test_a_function_that_raises_or_hangs_keeps_nobody_from_hearing(
    clock: VirtualClock, told: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(alert: Alert) -> None:
        raise RuntimeError("no pager with token=abcdef123456")

    receiver = Receiver()
    alerts = Alerts(MemoryStore(store_id="s"), clock, [broken, told.append], receiver.webhook(clock))
    with caplog.at_level(logging.ERROR):
        async with telling(alerts):
            await alerts.raise_("a", "broken", "mend")
            await until(lambda: bool(receiver.requests))
    assert len(told) == 1
    assert "on_alert raised" in caplog.text
    assert "abcdef123456" not in caplog.text


async def test_the_webhook_is_signed_with_standard_webhooks_and_names_the_alert(
    clock: VirtualClock,
) -> None:
    receiver = Receiver()
    alerts = Alerts(MemoryStore(store_id="s"), clock, (), receiver.webhook(clock))
    async with telling(alerts):
        await alerts.raise_("subscription sub_1", "silent: nothing came", "look", "github repo:a/b")
        await until(lambda: bool(receiver.requests))
    (sent,) = receiver.requests
    request = Request("POST", URL, Headers.of(list(sent.headers.items())), sent.content)
    standard_webhooks().verify(request, [Key(SECRET.encode())], now=clock.now())
    signed = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.content
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert sent.headers["webhook-signature"] == f"v1,{expected}"
    assert sent.headers["webhook-id"].startswith("alert_")
    assert msgspec.json.decode(sent.content) == {
        "type": "alert.raised",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {
            "subject": "subscription sub_1",
            "cause": "silent: nothing came",
            "action": "look",
            "at": "2026-01-01T00:00:00Z",
            "about": "github repo:a/b",
        },
    }


async def test_a_webhook_that_refuses_is_tried_again_with_the_same_id_until_it_takes_it(
    opening: Callable[[], Any], clock: VirtualClock, told: list[Alert]
) -> None:
    receiver = Receiver(refusals=2)
    async with opening() as store:
        alerts = Alerts(store, clock, [told.append], receiver.webhook(clock))
        async with telling(alerts):
            await alerts.raise_("a", "broken", "mend")
            for tries in (1, 2, 3):
                await until(
                    lambda tries=tries: len(receiver.requests) == tries and clock.waiting == 1 + (tries < 3)
                )
                clock.advance(timedelta(seconds=60))
            await all_told(store)
    assert len(told) == 1
    assert len({one.headers["webhook-id"] for one in receiver.requests}) == 1


async def test_what_a_process_could_not_tell_any_more_is_told_by_one_of_the_others(
    opening: Callable[[], Any], clock: VirtualClock, told: list[Alert]
) -> None:
    async with opening() as first, opening() as second:
        await Alerts(first, clock).raise_("a", "broken", "mend")  # and then it is killed
        others = [Alerts(store, clock, [told.append]) for store in (first, second)]
        assert [await one.tell_left() for one in others] == [0, 0]
        clock.advance(timedelta(minutes=11))
        assert [await one.tell_left() for one in others] == [1, 0]
        clock.advance(timedelta(minutes=11))
        assert [await one.tell_left() for one in others] == [0, 0]
    assert [(one.subject, one.cause) for one in told] == [("a", "broken")]


def a_subscription(state: r.SubscriptionState, cause: str = "") -> r.Subscription:
    return r.Subscription(
        "sub_1", "end_1", "github.webhook", "repo:a/b", "github", b"{}", state=state, cause=cause
    )


async def test_a_subscription_alerts_while_it_is_unhealthy_and_for_its_latest_cause_alone(
    opening: Callable[[], Any], clock: VirtualClock
) -> None:
    async with opening() as store:
        alerts = Alerts(store, clock)
        for state, cause, expected in (
            ("active", "", []),
            ("failing", "refused 1 times", ["failing: refused … times"]),
            ("failing", "refused 2 times", ["failing: refused … times"]),
            ("silent", "nothing came", ["silent: nothing came"]),
            ("paused", "", []),
            ("expired", "", ["expired"]),
            ("active", "", []),
        ):
            await alerts.follow(a_subscription(state, cause))  # pyright: ignore[reportArgumentType]
            assert [row.cause for row in await store.alerts()] == expected


def test_settings_of_alerts_are_checked_and_not_shown() -> None:
    for keywords in (
        {"alert_url": "pager.internal"},
        {"alert_secret": "hunter22"},
        {"alert_secret": "whsec_c2hvcnQ="},
    ):
        with pytest.raises(SettingsError) as refused:
            resolve(keywords, {})
        assert not [value for value in keywords.values() if value in str(refused.value)]
    settings = resolve({"alert_url": URL, "alert_secret": SECRET}, {}).settings
    assert SECRET not in repr(settings)


async def test_an_app_tells_its_own_functions(told: list[Alert]) -> None:
    app = App([], store="memory:")
    sink: AlertSink = app.on_alert(told.append)
    assert sink == told.append
    async with app:
        await app.opened.upkeep.alerts.raise_("a", "broken", "mend")
        await until(lambda: bool(told))
