"""A run and a registration that are refused with a token go on with the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.runtime.connecting import KEY
from trigflow import (
    IO,
    Account,
    App,
    Auth,
    Checked,
    Credentials,
    Event,
    ExternalSource,
    Field,
    Integration,
    Registered,
    Registration,
    Retry,
    Token,
    Unauthorized,
    Unsigned,
    event,
    trigger,
)
from trigflow.testing.deliveries import signed

pytestmark = pytest.mark.anyio
GOOD: set[str] = set()  # tokens that the provider takes
MINTED: list[str] = []
CALLED: list[str] = []
PATIENCE = 30.0  # seconds


class LockClient:
    def __init__(self, token: str) -> None:
        self.token = token

    async def call(self) -> str:
        CALLED.append(self.token)
        if self.token not in GOOD:
            raise Unauthorized("the provider refuses the token")
        return "done"


class LockApp(Auth):
    kind = "lock-app"
    mints = True
    fields = (Field("account", "LOCK_ACCOUNT", "Account", secret=False, required=False),)
    app_fields = (Field("app_key", "LOCK_APP_KEY", "App key"),)

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        MINTED.append(f"{kept.get('account', 'itself')}-{len(MINTED) + 1}")
        GOOD.add(MINTED[-1])
        return Token({"token": MINTED[-1]}, now + timedelta(hours=1))


webhook = ExternalSource(
    "locks.webhook",
    params=str,
    client=LockClient,
    data=int,
    verify=Unsigned(because="a test"),
    key=str,
)


@webhook.handler
def handle(delivery: Any) -> Sequence[Event]:
    return [Event("opened", str(delivery.payload["id"]), delivery.payload)]


@webhook.register
async def register(reg: Registration[str, int], client: LockClient) -> Registered[int] | None:
    await client.call()
    return Registered(1)


class Locks(Integration, id="locks", auth=[LockApp()]):
    def client(self, credentials: Credentials) -> LockClient:
        return LockClient(credentials["token"])

    async def check(self, client: LockClient) -> Checked:
        await client.call()
        return Checked("1")

    async def accounts(self, client: LockClient) -> Sequence[Account]:
        return [Account("north", "7", {"account": "north"})]

    @event("opened", dict[str, Any], source=webhook)
    def opened(self) -> str:
        """A lock was opened."""
        return "all"


locks = Locks()
north = locks.through("north")


@pytest.fixture(params=["job", "task", "thread"])
def job(request: pytest.FixtureRequest) -> Any:
    if request.param == "thread":

        @trigger(north.opened(), id="job", retry=Retry(2, first=timedelta(0)))
        def plain(payload: dict[str, Any], client: LockClient) -> str:
            return anyio.from_thread.run(client.call)

        return plain

    @trigger(north.opened(), id="job", retry=Retry(2, first=timedelta(0)))
    async def job(payload: dict[str, Any], client: LockClient, io: IO) -> str:
        if request.param == "job":
            return await client.call()
        return await io.options(retry=Retry(2, first=timedelta(0))).task("call", client.call)

    return job


@pytest.fixture
async def app(job: Any, tmp_path: Path) -> AsyncIterator[App]:
    for one in (GOOD, MINTED, CALLED):
        one.clear()
    told: Any = {locks: {"app_key": "k" * 20}}
    store, url = str(tmp_path / "a.db"), "https://a.example.com"
    async with App([job], app_credentials=told, store=store, url=url, secret_key=KEY, register="off") as app:
        await app.opened.connections.accounts(locks)
        yield app


async def test_the_retry_of_a_run_has_a_client_with_another_token(app: App) -> None:
    first = (await app.opened.clients.get("locks/north")).token
    other = await app.opened.clients.get("locks")
    CALLED.clear()
    GOOD.discard(first)
    identity = ("locks.webhook", "all", "locks/north")
    sent = await signed(app.opened, webhook, "opened", b'{"id": 1}', "1", identity=identity)
    assert (await app.opened.receive(*sent)).status == 200
    with anyio.fail_after(PATIENCE):
        while len(CALLED) < 2:
            await anyio.sleep(0.005)
    north = [token for token in MINTED if token.startswith("north")]
    assert (CALLED, len(north)) == ([first, north[-1]], 2)
    assert await app.opened.clients.get("locks") is other


async def test_a_webhook_is_registered_with_another_token_at_the_next_look(app: App) -> None:
    first = (await app.opened.clients.get("locks/north")).token
    GOOD.discard(first)
    CALLED.clear()
    identity = ("locks.webhook", "all", "locks/north")
    await app.opened.rows.ensure()
    await app.opened.reconciler.look(identity)
    (endpoint,) = await app.opened.store.page(after="", limit=9)
    assert [s.state for s in endpoint.subscriptions] == ["pending"]  # nothing that a person hears of
    assert await app.opened.store.next_look(now=int(app.opened.clock.now() * 1000) + 1) is not None
    await app.opened.reconciler.look(identity)
    assert len(CALLED) == 2
    assert CALLED[0] == first
    (endpoint,) = await app.opened.store.page(after="", limit=9)
    assert [s.state for s in endpoint.subscriptions] == ["active"]
    assert await app.opened.store.alerts() == []
