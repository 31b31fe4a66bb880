"""What people do with a subscription, beside a process that takes deliveries and knows of it later."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trigflow import App, Delivery, Event, ExternalSource, Integration, event, hmac_sha256, trigger
from trigflow.core.errors import TrigflowError
from trigflow.core.http import Headers, Request
from trigflow.opened import Opened
from trigflow.runtime.registration.steering import Steering

pytestmark = pytest.mark.anyio

Some = dict[str, str]
hook: ExternalSource[Some, object, Some] = ExternalSource(
    "steered.hook", params=Some, client=object, data=Some, verify=hmac_sha256("X-Sig"), instructions="by hand"
)


@hook.handler
def handle(delivery: Delivery[Some, Some]) -> Iterable[Event]:
    return [Event("thing", str(delivery.payload["id"]))]


class Steered(Integration, id="steered"):
    """A provider without an API."""

    @event("thing", dict[str, object], source=hook)
    def thing(self) -> Some:
        """Something happened."""
        return {}


@trigger(Steered().thing())
async def job(payload: dict[str, object]) -> None: ...


def app_of(store: Path) -> App:
    return App([job], store=str(store), register="off", executes=False)


def steering(opened: Opened) -> Steering:
    parts = (opened.store, opened.reconciler, opened.sources, opened.vault, opened.clock)
    return Steering(*parts, who="ann")


@asynccontextmanager
async def two_processes(tmp_path: Path) -> AsyncGenerator[tuple[Opened, Opened], None]:
    """One that takes deliveries, and one beside it where somebody does something."""
    store = tmp_path / "t.db"
    async with app_of(store) as serving, app_of(store).inspect() as beside:
        yield serving.opened, beside.opened


async def deliver(opened: Opened, number: int) -> None:
    (endpoint,) = await opened.store.endpoints()
    body = b'{"id": %d}' % number
    (key,) = opened.routes.keys_of(endpoint)
    mac = hmac.new(key.secret, body, hashlib.sha256).hexdigest()
    headers = Headers.of([("X-Sig", mac), ("Content-Type", "application/json")])
    request = Request("POST", opened.reconciler.url_of(endpoint), headers, body)
    assert (await opened.receive(endpoint.token, request)).status == 200


async def states(opened: Opened) -> list[str]:
    return [run.state for run in reversed(await opened.store.runs(limit=100))]


async def identity(opened: Opened) -> tuple[str, str, str]:
    (endpoint,) = await opened.store.endpoints()
    return endpoint.subscriptions[0].identity


async def test_what_a_process_holds_that_has_not_heard_of_the_resume_is_let_go_all_the_same(
    tmp_path: Path,
) -> None:
    async with two_processes(tmp_path) as (serving, beside):
        name = await identity(serving)
        await steering(beside).pause(name)
        await deliver(serving, 1)  # from here on it remembers that it is paused
        assert await states(serving) == ["held"]
        assert await steering(beside).resume(name) == 1
        await deliver(serving, 2)
        assert await states(serving) == ["queued", "queued"]


async def test_a_subscription_that_was_confirmed_while_it_was_paused_is_active_afterwards(
    tmp_path: Path,
) -> None:
    async with two_processes(tmp_path) as (serving, beside):
        name = await identity(serving)
        steer = steering(beside)
        await steer.pause(name)
        await steer.resume(name)
        (endpoint,) = await beside.store.endpoints()
        assert endpoint.subscriptions[0].state == "pending"
        await steer.pause(name)
        serving.routes.forget(endpoint.token)
        await deliver(serving, 1)
        await steer.resume(name)
        (endpoint,) = await beside.store.endpoints()
        assert (endpoint.subscriptions[0].state, endpoint.subscriptions[0].coverage) == ("active", "unknown")


async def test_what_is_held_goes_on_when_its_subscription_is_removed(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (serving, beside):
        name = await identity(serving)
        await steering(beside).pause(name)
        await deliver(serving, 1)
        done = await steering(beside).remove(name, force=True, grace=serving.settings.check_every)
        assert done.error == ""
        assert await states(serving) == ["queued"]


async def test_who_holds_the_right_to_register_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (serving, beside):
        name = await identity(serving)
        async with serving.reconciler.claimed(name) as row:
            assert row is not None
            async with beside.reconciler.claimed(name) as other:
                assert other is None
        assert await steering(beside).pause(name)


async def test_what_needs_an_api_is_refused_where_there_is_none(tmp_path: Path) -> None:
    async with two_processes(tmp_path) as (serving, beside):
        (endpoint,) = await serving.store.endpoints()
        for what in ("renew", "rotate"):
            with pytest.raises(TrigflowError, match="takes a person: by hand"):
                await steering(beside).ask(endpoint.subscriptions[0], what)
