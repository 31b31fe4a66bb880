"""Credentials are checked, kept sealed, kept fresh, and taken away whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from hypothesis import given, strategies as st

from tests.runtime.connecting import KEY, Told, described, opened
from tests.sources.oauth_provider import Provider, provider
from trigflow import ApiError, Credentials, SetupError, StoreUnavailable, StoreUnusable, Token, Unauthorized
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.connections.tokens import refresh_at
from trigflow.runtime.sealing.vault import Vault
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
Open = Callable[..., Any]


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as running:
        running.tokens.add("a-good-token")
        yield running


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["memory:", "sqlite"])
def open_(request: pytest.FixtureRequest, stack: AsyncExitStack, tmp_path: Path, served: Provider) -> Open:
    """Open connections on each kind of store."""
    store = "memory:" if request.param == "memory:" else tmp_path / "store.db"
    return partial(opened, stack, store, described(served.url))


async def connected(connections: Connections, served: Provider, name: str = "user", **life: object) -> str:
    """Connect as after a consent, with tokens that the provider made."""
    if life:
        served.life = life["life"]
    integration = connections.known.required("parcels")
    way = integration.auth[2]
    granted = served.grant()
    now = datetime.fromtimestamp(connections._clock.now(), UTC)
    ends = None if served.life is None else now + timedelta(seconds=int(str(served.life)))
    values = {"token": granted["access_token"], "refresh_token": granted["refresh_token"]}
    return await connections.add_token(integration, name, way, {}, Token(values, ends, None), "a test")


# --- added


async def test_a_secret_that_is_given_without_its_field_is_refused_and_not_quoted(
    open_: Open, served: Provider
) -> None:
    connections = await open_()
    with pytest.raises(SetupError, match="by field") as refused:
        await connections.add(described(served.url), "user", cast("Any", "ZQ9"))
    assert not set("ZQ9") & set(str(refused.value))


async def test_what_the_provider_accepts_is_kept_with_whose_it_is(open_: Open, served: Provider) -> None:
    connections = await open_()
    ref = await connections.add(described(served.url), "user-42", {"token": "a-good-token"}, who="ann")
    assert ref == "parcels/user-42"
    assert (await connections.get(ref)).credentials == {"token": "a-good-token"}
    (row,) = await connections.listed()
    assert (row.kind, row.origin, row.state, row.account, row.label) == (
        "api-key",
        "store",
        "good",
        "7",
        "Ann",
    )
    (entry,) = await connections._store.audit(limit=9)
    assert (entry.who, entry.what, entry.subject) == ("ann", "connect", "connection parcels/user-42")


async def test_what_the_provider_refuses_is_not_kept(open_: Open, served: Provider) -> None:
    connections = await open_()
    with pytest.raises(Unauthorized) as raised:
        await connections.add(described(served.url), "user", {"token": "a-bad-token"})
    assert "a-bad-token" not in str(raised.value)  # which the integration quotes
    assert await connections.listed() == []


@pytest.mark.parametrize(
    ("values", "kind", "problem"),
    [
        ({"token": ""}, "api-key", "token must not be empty"),
        ({"tokne": "x"}, "api-key", "has no tokne"),
        ({"token": "x"}, "smoke-signs", "no credentials of kind 'smoke-signs'"),
    ],
)
async def test_credentials_that_can_not_be_right_are_told_without_asking(
    open_: Open, served: Provider, values: dict[str, str], kind: str, problem: str
) -> None:
    connections = await open_()
    with pytest.raises(SetupError, match=problem):
        await connections.add(described(served.url), "user", values, kind=kind)


@pytest.mark.parametrize("name", ["a/b", "../x", "x" * 101, "new\nline", " "])
async def test_a_name_that_could_be_mistaken_is_refused(open_: Open, served: Provider, name: str) -> None:
    connections = await open_()
    with pytest.raises(SetupError, match="can't be the name"):
        await connections.add(described(served.url), name, {"token": "a-good-token"})


async def test_nothing_is_called_for_what_is_done_by_hand(open_: Open) -> None:
    connections = await open_()
    nowhere = described("http://127.0.0.1:1")
    ref = await connections.add(nowhere, "hand", {"secret": "whsec"}, kind="manual")
    with pytest.raises(Unauthorized, match="by hand"):
        await connections.get(ref)
    assert connections.credentials(ref) is None
    assert "by hand" in connections.missing(ref)


async def test_client_credentials_are_checked_with_the_token_that_they_give(
    open_: Open, served: Provider
) -> None:
    connections = await open_()
    own = {"client_id": "our-app", "client_secret": "our-secret-5x"}
    ref = await connections.add(described(served.url), "own", own, kind="client-credentials")
    assert (await connections.get(ref)).credentials["token"] in served.tokens


async def test_what_is_on_the_disk_can_not_be_read_there(
    stack: AsyncExitStack, tmp_path: Path, served: Provider
) -> None:
    path = tmp_path / "store.db"
    connections = await opened(stack, path, described(served.url))
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    assert not any(b"a-good-token" in file.read_bytes() for file in tmp_path.iterdir())
    row = await connections._store.connection(ref)
    assert row is not None
    assert b"a-good-token" in Vault([KEY]).open(row.sealed)


async def test_a_wrong_key_is_told_as_such(stack: AsyncExitStack, tmp_path: Path, served: Provider) -> None:
    path = tmp_path / "store.db"
    first = await opened(stack, path, described(served.url))
    ref = await first.add(described(served.url), "user", {"token": "a-good-token"})
    other = await opened(stack, path, described(served.url))
    other.tokens._vault = Vault([Vault.new_key()])
    with pytest.raises(StoreUnusable, match="TRIGFLOW_SECRET_KEY"):
        await other.get(ref)


# --- where they come from


async def test_the_app_goes_before_the_store_and_the_store_before_the_environment(
    open_: Open, served: Provider
) -> None:
    connections = await open_(environ={"PARCELS_TOKEN": "of-environment"})
    assert (await connections.get("parcels")).credentials == {"token": "of-environment"}
    await connections.add(described(served.url), "", {"token": "a-good-token"})
    assert (await connections.get("parcels")).credentials == {"token": "a-good-token"}
    given_ = await open_(environ={"PARCELS_TOKEN": "env"}, given={"parcels": {"token": "of-app"}})
    assert (await given_.get("parcels")).credentials == {"token": "of-app"}
    with pytest.raises(SetupError, match="connections="):
        await given_.add(described(served.url), "", {"token": "a-good-token"})


async def test_the_environment_is_for_the_default_connection_alone(open_: Open) -> None:
    connections = await open_(environ={"PARCELS_TOKEN": "of-environment"})
    with pytest.raises(Unauthorized, match="trigflow connect parcels --name other"):
        await connections.get("parcels/other")


# --- fresh


@given(st.floats(1, 1e7), st.floats(0, 1))
def test_a_token_is_made_anew_before_its_end_and_after_its_beginning(life: float, chance: float) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    at = refresh_at(Token({}, now + timedelta(seconds=life)), now=now, chance=chance)
    assert at is not None
    left = now.timestamp() + life - at / 1000
    assert min(300, life / 10) - 0.002 <= left <= min(600, life / 5) + 0.002


async def test_a_token_is_made_anew_once_for_all_who_want_it(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    old = await connections.get(ref)
    clock.advance(timedelta(hours=2))
    found: list[Credentials] = []

    async def use() -> None:
        found.append((await connections.get(ref)).credentials)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)
    assert len({one["token"] for one in found}) == 1
    assert found[0]["token"] != old.credentials["token"]
    assert list(served.used.values()) == [1]


async def test_the_background_renews_ahead_of_the_end(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    clock.advance(timedelta(minutes=50))
    await connections.renew_due()
    assert not served.used
    clock.advance(timedelta(minutes=5))
    await connections.renew_due()
    assert sum(served.used.values()) == 1
    assert (await connections.get(ref)).credentials["token"] in served.tokens


async def test_a_refusal_for_good_is_told_once_and_nobody_gets_the_token(
    open_: Open, served: Provider
) -> None:
    clock, told = VirtualClock(), Told()
    connections = await open_(clock=clock, told=told)
    ref = await connected(connections, served)
    told.alerts.clear()
    served.refreshes.clear()
    clock.advance(timedelta(hours=2))
    for _ in range(3):
        with pytest.raises(Unauthorized, match="connected again"):
            await connections.get(ref)
        await connections.renew_due()
    ((subject, cause),) = told.alerts
    assert (subject, "invalid_grant" in cause) == (f"connection {ref}", True)
    (row,) = await connections.listed()
    assert row.state == "reauthorize"
    assert connections.credentials(ref) is None
    await connected(connections, served)
    assert (await connections.get(ref)).credentials["token"] in served.tokens
    assert told.alerts[-1] == (f"connection {ref}", "")


async def test_a_provider_that_is_away_is_asked_less_and_less_and_the_old_token_is_used_meanwhile(
    open_: Open, served: Provider
) -> None:
    clock, told = VirtualClock(), Told()
    connections = await open_(clock=clock, told=told)
    ref = await connected(connections, served)
    told.alerts.clear()
    old = (await connections.get(ref)).credentials["token"]
    served.odd = (503, b"", {})
    clock.advance(timedelta(minutes=56))
    served.forms.clear()
    for _ in range(4):
        await connections.renew_due()
        assert (await connections.get(ref)).credentials["token"] == old
    assert len(served.forms) == 1
    clock.advance(timedelta(minutes=10))
    with pytest.raises(ApiError, match="no token can be had now"):
        await connections.get(ref)
    asked = len(served.forms)
    with pytest.raises(ApiError, match="no token can be had now"):
        await connections.get(ref)
    assert (len(served.forms), told.alerts) == (asked, [])
    served.odd = None
    clock.advance(timedelta(minutes=20))
    assert (await connections.get(ref)).credentials["token"] in served.tokens - {old}


async def test_a_new_refresh_token_outlives_a_store_that_is_away(
    open_: Open, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    clock.advance(timedelta(hours=2))
    replace, left = connections._store.replace_connection, [20]

    async def replace_later(before: Any, after: Any) -> bool:
        if left[0]:
            left[0] -= 1
            raise StoreUnavailable("away")
        return bool(await replace(before, after))

    monkeypatch.setattr(connections._store, "replace_connection", replace_later)
    used: list[str] = []

    async def use() -> None:
        with pytest.raises(StoreUnavailable):
            await connections.get(ref)
        used.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        while not used:
            await anyio.sleep(0.001)
            clock.advance(timedelta(seconds=2))
    left[0] = 0
    assert (await connections.get(ref)).credentials["token"] in served.tokens
    assert list(served.used.values()) == [1]


async def test_a_caller_that_goes_away_does_not_lose_the_new_refresh_token(
    open_: Open, served: Provider
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    clock.advance(timedelta(hours=2))
    served.lock.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(connections.get, ref)
        while not served.arrived:
            await anyio.sleep(0.001)
        group.cancel_scope.cancel()
        served.lock.release()  # the answer comes when nobody waits for it any more
    assert list(served.used.values()) == [1]
    assert (await connections.get(ref)).credentials["token"] in served.tokens
    assert list(served.used.values()) == [1]


async def test_two_processes_use_a_refresh_token_once(
    stack: AsyncExitStack, tmp_path: Path, served: Provider
) -> None:
    path, go = tmp_path / "store.db", tmp_path / "go"
    connections = await opened(stack, path, described(served.url))
    await connected(connections, served, life=0)  # over at once
    served.life = 3600
    command = [sys.executable, "-m", "tests.runtime.connecting", str(path), served.url, str(go)]
    with (
        subprocess.Popen([*command, "a"], stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen([*command, "b"], stdout=subprocess.PIPE, text=True) as second,
    ):
        for one in (first, second):
            assert one.stdout is not None
            assert await anyio.to_thread.run_sync(one.stdout.readline) == "ready\n"
        served.lock.acquire()  # the first that asks waits: the other has all the time to ask, too
        go.touch()
        while not served.arrived:
            await anyio.sleep(0.005)
        await anyio.sleep(0.5)
        served.lock.release()
        out = [
            await anyio.to_thread.run_sync(partial(one.communicate, timeout=40)) for one in (first, second)
        ]
    tokens = {told.strip() for told, _ in out}
    assert list(served.used.values()) == [1]
    assert len(tokens) == 1
    assert tokens <= served.tokens


# --- removed


async def test_a_removed_connection_is_gone_with_its_subscriptions_and_tokens(
    open_: Open, served: Provider
) -> None:
    told = Told(problems=["hook 5: the provider refused"])
    connections = await open_(told=told)
    ref = await connected(connections, served)
    assert await connections.remove(ref, who="ann") == ["hook 5: the provider refused"]
    assert (told.removed, await connections.listed()) == ([ref], [])
    assert not served.refreshes
    with pytest.raises(Unauthorized):
        await connections.get(ref)
    with pytest.raises(SetupError, match="not known"):
        await connections.remove(ref)
    newest = (await connections._store.audit(limit=1))[0]
    assert (newest.who, newest.what, newest.detail) == ("ann", "disconnect", "1 problems")


async def test_a_check_says_what_the_provider_says_now(open_: Open, served: Provider) -> None:
    told = Told()
    connections = await open_(told=told)
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    told.alerts.clear()
    assert (await connections.check(ref)).label == "Ann"
    served.tokens.clear()
    with pytest.raises(Unauthorized):
        await connections.check(ref)
    (row,) = await connections.listed()
    assert row.state == "reauthorize"
    assert "a-good-token" not in row.cause
    assert [subject for subject, cause in told.alerts if cause] == [f"connection {ref}"]
    served.tokens.add("a-good-token")
    await connections.check(ref)
    assert (await connections.get(ref)).credentials == {"token": "a-good-token"}


# --- clients


async def test_a_client_is_made_anew_when_its_credentials_change(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    async with Clients(connections, clock) as clients:
        first = await clients.get(ref)
        assert await clients.get(ref) is first
        clock.advance(timedelta(hours=2))
        second = await clients.get(ref)
        assert (second is first, first.closed) == (False, False)  # a job may still use it
        clock.advance(timedelta(hours=2))
        third = await clients.get(ref)
        assert (first.closed, second.closed, third.closed) == (True, False, False)
        assert third.token in clients.secrets()
    assert (second.closed, third.closed) == (True, True)
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{served.url}/me", headers={"authorization": f"Bearer {third.token}"})
    assert answer.status_code == 200
