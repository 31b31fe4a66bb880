"""Many connections, clients that fail, and accounts that could be taken for each other."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

import httpx
import pytest

from tests.runtime.connecting import KEY
from trigflow import Account, ApiKey, App, Auth, Checked, Credentials, Field, Integration, Token
from trigflow.runtime.connections import clients as module
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
OPEN: set[int] = set()
INSTALLED: list[Account] = []
JAMMED: list[bool] = []


class DockClient:
    def __init__(self, token: str) -> None:
        self.token = token

    async def __aenter__(self) -> Self:
        OPEN.add(id(self))
        return self

    async def __aexit__(self, *_: object) -> None:
        OPEN.discard(id(self))
        if self.token.startswith("jams") and JAMMED:
            raise OSError(f"the door of {self.token} jams")


class DockApp(Auth):
    kind = "dock-app"
    mints = True
    fields = (Field("account", "DOCK_ACCOUNT", "Account", secret=False, required=False),)
    app_fields = (Field("app_key", "DOCK_APP_KEY", "App key"),)

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        account = kept.get("account")
        return Token({"token": f"of-{account}"}, now + timedelta(hours=1), account or "the-app")


class Docks(Integration, id="docks", auth=[ApiKey("DOCK_TOKEN"), DockApp()]):
    def client(self, credentials: Credentials) -> DockClient:
        return DockClient(credentials["token"])

    async def check(self, client: DockClient) -> Checked:
        return Checked()

    async def accounts(self, client: DockClient) -> Sequence[Account]:
        return INSTALLED


docks = Docks()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def app(clock: VirtualClock) -> AsyncIterator[App]:
    OPEN.clear()
    JAMMED.clear()
    INSTALLED[:] = [Account("north", "1", {"account": "1"})]
    told: Any = {docks: {"app_key": "k" * 20}}
    made = App(store="memory:", secret_key=KEY, register="off", clock=clock, app_credentials=told)
    async with made.inspect() as app:
        yield app


async def test_however_many_connections_are_used_the_clients_are_so_many(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    monkeypatch.setattr(module, "MOST_RETIRED", 10)
    refs = [await app.connect(docks, f"user-{number}", {"token": f"t{number}"}) for number in range(40)]
    for _ in range(3):
        for ref in refs:
            await app.opened.clients.get(ref)
    assert len(OPEN) <= 16


async def test_who_comes_again_gets_the_same_client_while_it_is_open(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    refs = [await app.connect(docks, f"user-{number}", {"token": f"t{number}"}) for number in range(4)]
    clients = [await app.opened.clients.get(ref) for ref in refs]
    assert [await app.opened.clients.get(ref) for ref in refs] == clients
    assert len(OPEN) == 4


async def test_a_client_that_can_not_be_closed_is_no_matter_of_the_others(
    app: App, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    jams = await app.connect(docks, "jams", {"token": "jams-0123456789"})
    await app.opened.clients.get(jams)
    await app.connect(docks, "jams", {"token": "well-0123456789"})
    await app.opened.clients.get(jams)
    other = await app.connect(docks, "other", {"token": "other"})
    clock.advance(timedelta(hours=1))
    JAMMED.append(True)
    with caplog.at_level(logging.WARNING):
        assert (await app.opened.clients.get(other)).token == "other"
    assert "could not be closed" in caplog.text
    assert "jams-0123456789" not in caplog.text


async def test_what_a_person_named_is_not_given_to_an_account_of_the_same_name(app: App) -> None:
    ref = await app.connect(docks, "north", {"token": "of-a-person"})
    await app.opened.connections.accounts(docks)
    assert (await app.opened.clients.get(ref)).token == "of-a-person"


async def test_an_account_that_a_person_named_otherwise_is_still_there(app: App) -> None:
    mine = await app.opened.connections.add(docks, "mine", {"account": "1"}, kind="dock-app")
    itself = await app.opened.connections.add(docks, "", {}, kind="dock-app")
    await app.opened.connections.accounts(docks)
    assert (await app.opened.clients.get(mine)).token == "of-1"
    assert (await app.opened.clients.get(itself)).token == "of-None"
    INSTALLED.clear()
    await app.opened.connections.accounts(docks)
    states = {one.ref: one.state for one in await app.connections()}
    assert states == {"docks": "good", "docks/mine": "reauthorize", "docks/north": "reauthorize"}
