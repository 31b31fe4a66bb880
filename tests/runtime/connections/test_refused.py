"""A token that the provider refuses before its end is made anew, once; who was removed leaves no client."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.runtime.connecting import Told, described, opened
from tests.sources.oauth_provider import Provider, provider
from trigflow import Forbidden, Token, Unauthorized
from trigflow.runtime.connections.clients import Clients, Lent
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
Open = Callable[..., Any]
CLOCK = VirtualClock()


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


async def connected(connections: Connections, served: Provider, *, refreshes: bool = True) -> str:
    """Connect as after a consent, with a token that is good for an hour."""
    granted, integration = served.grant(), connections.known.required("parcels")
    ends = datetime.fromtimestamp(CLOCK.now(), UTC) + timedelta(hours=1)
    values = {"token": granted["access_token"]}
    values |= {"refresh_token": granted["refresh_token"]} if refreshes else {}
    token = Token(values, ends if refreshes else None, None)
    return await connections.add_token(integration, "user", integration.auth[2], {}, token, "a test")


async def work(clients: Clients, ref: str) -> bool:
    """Do as a job does; tell whether it worked."""
    try:
        async with Lent(clients):
            await (await clients.get(ref)).me()
    except Unauthorized:
        return False
    return True


async def met(clients: Clients, ref: str, error: Exception) -> None:
    """Do as a job that raises an error of whatever it does."""
    async with Lent(clients):
        await clients.get(ref)
        raise error


async def state_of(connections: Connections) -> str:
    (row,) = await connections.listed()
    return row.state


async def test_a_refused_token_is_made_anew_and_the_retry_works(open_: Open, served: Provider) -> None:
    clock, told = CLOCK, Told()
    connections = await open_(clock=clock, told=told)
    ref = await connected(connections, served)
    told.alerts.clear()
    async with Clients(connections, clock) as clients:
        assert await work(clients, ref)
        served.tokens.clear()  # taken back long before its end
        assert not await work(clients, ref)
        assert await work(clients, ref)
    assert (sum(served.used.values()), await state_of(connections), told.alerts) == (1, "good", [])


async def test_it_is_made_once_however_many_calls_are_refused(open_: Open, served: Provider) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    async with Clients(connections, clock) as clients:
        client = await clients.get(ref)
        served.tokens.clear()

        async def one(started: anyio.Event) -> None:
            try:
                async with Lent(clients):
                    assert await clients.get(ref) is client
                    started.set()
                    await all_started.wait()
                    await client.me()
            except Unauthorized:
                assert await work(clients, ref)

        all_started = anyio.Event()
        async with anyio.create_task_group() as group:
            events = [anyio.Event() for _ in range(6)]
            for event in events:
                group.start_soon(one, event)
            for event in events:
                await event.wait()
            all_started.set()
    assert list(served.used.values()) == [1]


async def test_another_process_that_was_refused_takes_the_token_that_was_made_meanwhile(
    stack: AsyncExitStack, tmp_path: Path, served: Provider
) -> None:
    clock = CLOCK
    one = await opened(stack, tmp_path / "s.db", described(served.url), clock=clock)
    two = await opened(stack, tmp_path / "s.db", described(served.url), clock=clock, owner="two")
    ref = await connected(one, served)
    async with Clients(one, clock) as ours, Clients(two, clock) as theirs:
        assert await work(ours, ref)
        assert await work(theirs, ref)
        served.tokens.clear()
        for clients in (ours, theirs):
            assert not await work(clients, ref)
            assert await work(clients, ref)
    assert list(served.used.values()) == [1]


async def test_who_still_has_an_old_client_later_has_nothing_made_anew(open_: Open, served: Provider) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    async with Clients(connections, clock) as clients:
        async with Lent(clients) as late:
            client = await clients.get(ref)
            served.tokens.clear()
            assert not await work(clients, ref)
            assert await work(clients, ref)
            clock.advance(timedelta(minutes=6))
            try:
                await client.me()
            except Unauthorized as error:
                await late.heed(error)
        assert late.again
        assert await work(clients, ref)
    assert sum(served.used.values()) == 1


async def test_what_is_refused_also_when_new_is_given_up_and_told(open_: Open, served: Provider) -> None:
    clock, told = CLOCK, Told()
    connections = await open_(clock=clock, told=told)
    ref = await connected(connections, served)
    told.alerts.clear()
    async with Clients(connections, clock) as clients:
        for _ in range(6):
            assert not await work_refused(clients, ref, served)
    assert sum(served.used.values()) == 1
    assert await state_of(connections) == "reauthorize"
    assert [subject for subject, cause in told.alerts if cause] == [f"connection {ref}"]


async def work_refused(clients: Clients, ref: str, served: Provider) -> bool:
    """Work while the provider refuses every token, the newest, too."""
    try:
        async with Lent(clients):
            client = await clients.get(ref)
            served.tokens.clear()
            await client.me()
    except Unauthorized:
        return False
    return True


async def test_a_401_that_says_nothing_of_the_token_costs_one_renewal_and_no_connection(
    open_: Open, served: Provider
) -> None:
    clock, told = CLOCK, Told()
    connections = await open_(clock=clock, told=told)
    ref = await connected(connections, served)
    told.alerts.clear()
    async with Clients(connections, clock) as clients:
        for _ in range(6):
            with pytest.raises(Unauthorized):
                await met(clients, ref, Unauthorized("of something else"))
    assert sum(served.used.values()) == 1
    assert (await state_of(connections), told.alerts) == ("good", [])


async def test_a_token_that_can_not_be_made_anew_is_given_up_once_the_provider_says_so(
    open_: Open, served: Provider
) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served, refreshes=False)
    async with Clients(connections, clock) as clients:
        for refused in (False, True):
            if refused:
                served.tokens.clear()
                clock.advance(timedelta(minutes=6))
            with pytest.raises(Unauthorized):
                await met(clients, ref, Unauthorized("of something else"))
            assert await state_of(connections) == ("reauthorize" if refused else "good")


async def test_a_pasted_key_is_not_given_up_for_a_call_that_was_refused(
    open_: Open, served: Provider
) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    async with Clients(connections, clock) as clients:
        served.tokens.clear()
        for _ in range(3):
            assert not await work(clients, ref)
    assert await state_of(connections) == "good"


@pytest.mark.parametrize("error", [Forbidden("may not"), ValueError("no matter of credentials")])
async def test_nothing_else_than_a_401_ends_a_token(open_: Open, served: Provider, error: Exception) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    async with Clients(connections, clock) as clients:
        first = await clients.get(ref)
        with pytest.raises(type(error)):
            await met(clients, ref, error)
        assert await clients.get(ref) is first
    assert not served.used


async def test_of_two_connections_that_a_job_uses_only_the_refused_one_is_renewed(
    open_: Open, served: Provider
) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    own = {"client_id": "our-app", "client_secret": "our-secret-5x"}
    other = await connections.add(described(served.url), "own", own, kind="client-credentials")
    async with Clients(connections, clock) as clients:
        for refused, good in ((ref, other), (other, ref)):
            first, kept = await clients.get(refused), await clients.get(good)
            served.tokens.discard(first.token)
            with pytest.raises(ExceptionGroup):
                await both(clients, refused, good)
            assert await clients.get(good) is kept
            assert await clients.get(refused) is not first
            assert await work(clients, refused)


async def test_a_token_of_credentials_outside_the_store_is_made_anew_too_and_not_again_and_again(
    open_: Open, served: Provider
) -> None:
    clock = CLOCK
    own = {"client_id": "our-app", "client_secret": "our-secret-5x"}
    connections = await open_(clock=clock, given={"parcels": own})
    async with Clients(connections, clock) as clients:
        assert await work(clients, "parcels")
        served.tokens.clear()
        assert not await work(clients, "parcels")
        assert await work(clients, "parcels")
        served.tokens.clear()
        made = set[int]()
        for _ in range(4):
            made.add(id(await clients.get("parcels")))
            assert not await work(clients, "parcels")
        assert len(made) == 1
        clock.advance(timedelta(minutes=5))
        assert not await work(clients, "parcels")
        assert await work(clients, "parcels")


async def both(clients: Clients, called: str, other: str) -> None:
    """Do as a job that has two clients and calls with one, in a task of its own."""
    async with Lent(clients), anyio.create_task_group() as group:
        _, client = await clients.get(other), await clients.get(called)
        group.start_soon(client.me)


# --- removed


async def test_the_client_of_a_removed_connection_is_closed_once_no_work_has_it(
    open_: Open, served: Provider
) -> None:
    clock = CLOCK
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    async with Clients(connections, clock) as clients:
        idle = await clients.get(ref)
        clock.advance(timedelta(hours=2))
        async with Lent(clients):
            client = await clients.get(ref)
            await connections.remove(ref)
            assert (idle.closed, client.closed) == (True, False)
        assert client.closed
        kept = [weakref.ref(idle), weakref.ref(client)]
        del idle, client
        gc.collect()
        assert [one() for one in kept] == [None, None]  # nor is its token in memory for it


async def test_another_process_closes_it_when_it_looks_or_is_asked_for_it(
    stack: AsyncExitStack, tmp_path: Path, served: Provider
) -> None:
    clock = CLOCK
    one = await opened(stack, tmp_path / "s.db", described(served.url), clock=clock)
    two = await opened(stack, tmp_path / "s.db", described(served.url), clock=clock, owner="two")
    async with Clients(two, clock) as clients:
        for asks in (False, True):
            ref = await connected(one, served)
            clock.advance(timedelta(seconds=6))
            client = await clients.get(ref)
            await clients.forget_removed()
            assert not client.closed
            await one.remove(ref)
            clock.advance(timedelta(seconds=6))
            if asks:
                with pytest.raises(Unauthorized):
                    await clients.get(ref)
            else:
                await clients.forget_removed()
            assert client.closed


# --- well again


async def test_what_is_told_of_credentials_is_closed_when_they_are_good_again(
    open_: Open, served: Provider
) -> None:
    told = Told()
    connections = await open_(told=told)
    for put in (True, False):
        told.alerts.clear()
        if put:
            await connections.add(described(served.url), "user", {"token": "a-good-token"})
        else:
            await connections.check("parcels/user")
        assert told.alerts == [("credentials of parcels/user", ""), ("connection parcels/user", "")]


async def test_what_the_environment_holds_is_well_too_once_it_is_checked(
    open_: Open, served: Provider
) -> None:
    told = Told()
    connections = await open_(told=told, environ={"PARCELS_TOKEN": "a-good-token"})
    await connections.check("parcels")
    assert ("credentials of parcels", "") in told.alerts
    told.alerts.clear()
    served.tokens.clear()
    with pytest.raises(Unauthorized):
        await connections.check("parcels")
    assert told.alerts == []
