"""Whose client a job gets, whose accounts are found, and what a param may be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests.runtime.connecting import KEY
from trigflow import (
    Account,
    ApiError,
    ApiKey,
    App,
    Auth,
    Checked,
    Choice,
    Choices,
    Credentials,
    Event,
    ExternalSource,
    Field,
    Integration,
    SetupError,
    Token,
    Unauthorized,
    Unsigned,
    event,
    trigger,
)
from trigflow.testing import VirtualClock
from trigflow.testing.deliveries import signed

pytestmark = pytest.mark.anyio


class Depot:
    """The provider: its accounts, and what was asked of it."""

    def __init__(self) -> None:
        self.installed = ["north", "south"]
        self.refused: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []
        self.minted: list[str] = []


DEPOT = Depot()


class DepotClient:
    def __init__(self, token: str) -> None:
        self.token = token


class DepotApp(Auth):
    """Tokens of our app at the depot, and of the accounts that it is installed for."""

    kind = "depot-app"
    mints = True
    fields = (Field("account", "DEPOT_ACCOUNT", "Account", secret=False, required=False),)
    app_fields = (Field("app_key", "DEPOT_APP_KEY", "App key"),)

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        account = kept.get("account", "itself")
        if account in DEPOT.refused:
            raise Unauthorized(f"{account} is not installed")
        DEPOT.minted.append(account)
        return Token({"token": f"{account}-{len(DEPOT.minted)}"}, now + timedelta(hours=1))


@attrs.frozen
class Place:
    name: str = "default"


def place_of(place: Place) -> str:
    return place.name


webhook = ExternalSource(
    "depot.webhook",
    params=Place,
    client=DepotClient,
    data=Place,
    verify=Unsigned(because="a test"),
    key=place_of,
)


@webhook.handler
def handle(delivery: Any) -> Sequence[Event]:
    return [Event("parcel", str(delivery.payload["id"]), delivery.payload)]


@webhook.options("place")
async def places(depot: DepotClient, page: str | None) -> Choices:
    DEPOT.asked.append((depot.token, page))
    at = int(page or "0")
    return Choices([Choice(f"{at}", f"Place {at}")], None if at == 2 else str(at + 1))


class Depots(Integration, id="depots", auth=[ApiKey("DEPOT_TOKEN"), DepotApp()]):
    def client(self, credentials: Credentials) -> DepotClient:
        return DepotClient(credentials["token"])

    async def check(self, client: DepotClient) -> Checked:
        if client.token.startswith("bad"):
            raise Unauthorized("the token is refused")
        return Checked("1", client.token)

    async def accounts(self, client: DepotClient) -> Sequence[Account]:
        assert client.token.startswith("itself-")
        return [Account(name, f"id-{name}", {"account": name}) for name in DEPOT.installed]

    @event("parcel", dict[str, Any], source=webhook)
    def parcel(self, *, place: str = "default") -> Place:
        """A parcel came."""
        return Place(place)


depots = Depots()


def settings(store: Path, clock: VirtualClock, **more: Any) -> dict[str, Any]:
    return {"store": str(store), "secret_key": KEY, "register": "off", "clock": clock, **more}


@pytest.fixture
def clock() -> VirtualClock:
    DEPOT.__init__()  # type: ignore[misc]  # as it was in the beginning
    return VirtualClock()


@pytest.fixture
async def app(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[App]:
    told: Mapping[Any, Any] = {depots: {"app_key": "k" * 20}}
    async with App(app_credentials=told, **settings(tmp_path / "a.db", clock)).inspect() as app:
        yield app


async def test_a_job_gets_the_client_of_the_connection_that_its_event_came_from(
    tmp_path: Path, clock: VirtualClock
) -> None:
    seen: list[tuple[object, str]] = []
    acme = depots.through("acme")

    @trigger(depots.parcel(), acme.parcel(), id="parcels")
    async def parcels(payload: dict[str, Any], depot: DepotClient) -> None:
        seen.append((payload["id"], depot.token))

    told: Mapping[Any, Any] = {depots: "of-default", acme: {"token": "of-acme"}}
    async with App([parcels], connections=told, **settings(tmp_path / "b.db", clock)) as app:
        for number, ref in enumerate(["depots", "depots/acme"], 1):
            identity, body = ("depot.webhook", "default", ref), b'{"id": %d}' % number
            sent = await signed(app.opened, webhook, "parcel", body, str(number), identity=identity)
            assert (await app.opened.receive(*sent)).status == 200
        with anyio.fail_after(20):
            while len(seen) < 2:
                await anyio.sleep(0.005)
    assert sorted(seen) == [(1, "of-default"), (2, "of-acme")]


async def test_every_account_of_our_app_is_a_connection_whose_token_is_made_when_it_is_needed(
    app: App, clock: VirtualClock
) -> None:
    connections = app.opened.connections
    assert await connections.accounts(depots) == ["depots/north", "depots/south"]
    DEPOT.minted.clear()
    client = await app.opened.clients.get("depots/south")
    assert (client.token, DEPOT.minted) == ("south-1", ["south"])
    clock.advance(timedelta(minutes=50))
    assert await app.opened.clients.get("depots/south") is client
    clock.advance(timedelta(minutes=8))  # ahead of its end
    assert (await app.opened.clients.get("depots/south")).token == "south-2"


async def test_an_account_that_has_gone_waits_for_a_person_and_comes_back(app: App) -> None:
    connections = app.opened.connections
    await connections.accounts(depots)
    DEPOT.installed = ["north"]
    await connections.accounts(depots)
    states = {one.ref: one.state for one in await app.connections()}
    assert (states["depots/north"], states["depots/south"]) == ("good", "reauthorize")
    assert [row.subject for row in await app.opened.store.alerts()] == ["connection depots/south"]
    DEPOT.installed = ["north", "south"]
    await connections.accounts(depots)
    assert (await app.opened.clients.get("depots/south")).token.startswith("south-")


async def test_our_app_acts_for_itself_where_no_account_is_named(app: App) -> None:
    assert (await app.opened.clients.get("depots")).token == "itself-1"
    (one,) = await app.connections(depots)
    assert (one.ref, one.origin, one.kind) == ("depots", "environment", "depot-app")


async def test_people_connect_and_disconnect_at_run_time(app: App) -> None:
    ref = await app.connect(depots, "user-42", {"token": "good-one"}, who="ann")
    assert (ref, (await app.opened.clients.get(ref)).token) == ("depots/user-42", "good-one")
    with pytest.raises(Unauthorized):
        await app.connect(depots, "user-43", {"token": "bad-one"})
    assert await app.disconnect(ref) == []
    with pytest.raises(Unauthorized, match="no credentials"):
        await app.opened.clients.get(ref)


async def test_choices_come_page_by_page_and_are_remembered_for_a_minute(
    app: App, clock: VirtualClock
) -> None:
    await app.connect(depots, "ann", {"token": "of-ann"})
    await app.connect(depots, "bob", {"token": "of-bob"})
    for _ in range(2):
        first = await app.options(depots, "place", connection="ann")
        second = await app.options(depots, "place", connection="depots/ann", page=first.next)
    assert [one.label for one in (*first.items, *second.items)] == ["Place 0", "Place 1"]
    assert DEPOT.asked == [("of-ann", None), ("of-ann", "1")]
    await app.options(depots, "place", connection="bob")
    clock.advance(timedelta(minutes=1))
    await app.options(depots, "place", connection="ann")
    assert DEPOT.asked[2:] == [("of-bob", None), ("of-ann", None)]
    with pytest.raises(SetupError, match="it lists those of: place"):
        await app.options(depots, "colour", connection="ann")
    await app.disconnect("depots/ann")
    with pytest.raises(Unauthorized):
        await app.options(depots, "place", connection="ann")


async def test_choices_of_an_account_are_not_shown_to_the_next_one_of_the_same_name(
    app: App, clock: VirtualClock
) -> None:
    await app.connect(depots, "ann", {"token": "of-ann"})
    await app.options(depots, "place", connection="ann")
    await app.connect(depots, "ann", {"token": "of-another"})
    await app.options(depots, "place", connection="ann")
    assert DEPOT.asked == [("of-ann", None), ("of-another", None)]


async def test_choices_of_the_default_connection_are_asked_for_by_name_or_ref(app: App) -> None:
    await app.connect(depots, "", {"token": "default"})
    for connection in ("", "depots"):
        assert (await app.options(depots, "place", connection=connection)).next == "1"
    assert DEPOT.asked == [("default", None)]


async def test_choices_through_a_connection_of_another_integration_are_refused(app: App) -> None:
    with pytest.raises(SetupError, match="'github/ann' is not one of depots"):
        await app.options(depots, "place", connection="github/ann")


async def test_an_app_of_a_provider_that_is_not_set_up_gives_no_credentials(tmp_path: Path) -> None:
    async with App(**settings(tmp_path / "c.db", VirtualClock())).inspect() as app:
        assert await app.connections(depots) == []
        app.opened.connections.known.learn(depots)
        assert await app.connections(depots) == []
        with pytest.raises(Unauthorized, match="set DEPOT_TOKEN"):
            await app.opened.clients.get("depots")


async def test_an_installation_that_is_refused_waits_for_a_person(app: App, clock: VirtualClock) -> None:
    await app.opened.connections.accounts(depots)
    DEPOT.refused.add("north")
    with pytest.raises(Unauthorized, match="must be connected again"):
        await app.opened.clients.get("depots/north")
    with pytest.raises((Unauthorized, ApiError)):
        await app.opened.clients.get("depots/north")
    assert DEPOT.minted.count("north") == 0
