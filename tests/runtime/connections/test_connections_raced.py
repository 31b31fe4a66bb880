"""What happens to a connection while somebody else does something with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from tests.runtime.connecting import described, opened
from tests.runtime.connections.test_connections import connected
from tests.sources.oauth_provider import Provider, provider
from trigflow import ApiError, Unauthorized
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
Open = Callable[..., Any]
UNAUTHORIZED = (401, b'{"error": "invalid_grant"}', {"Content-Type": "application/json"})


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as running:
        running.tokens.add("a-good-token")
        yield running


@pytest.fixture(params=["memory:", "sqlite"])
async def open_(
    request: pytest.FixtureRequest, tmp_path: Path, served: Provider
) -> AsyncIterator[Callable[..., Any]]:
    store = "memory:" if request.param == "memory:" else tmp_path / "store.db"
    async with AsyncExitStack() as stack:
        yield partial(opened, stack, store, described(served.url))


async def during(connections: Connections, served: Provider, ref: str, act: Callable[[], Any]) -> list[str]:
    """Use a connection whose token is over, and do something between the provider's answer and the write."""
    ended: list[str] = []

    async def use() -> None:
        try:
            await connections.get(ref)
            ended.append("used")
        except Unauthorized as error:
            ended.append(str(error))

    before = served.arrived
    served.lock.acquire()
    async with anyio.create_task_group() as group:
        group.start_soon(use)
        while served.arrived == before:
            await anyio.sleep(0.001)
        await act()
        served.lock.release()
    return ended


@pytest.mark.parametrize("answer", [None, UNAUTHORIZED, (503, b"", {})])
async def test_a_connection_removed_while_its_token_is_made_stays_removed(
    open_: Open, served: Provider, answer: Any
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    clock.advance(timedelta(hours=2))
    served.odd = answer
    store = connections._store
    ended = await during(connections, served, ref, partial(store.remove_connection, ref))
    assert ended == [f"connection {ref} was removed"]
    assert await store.connection(ref) is None


@pytest.mark.parametrize("answer", [None, UNAUTHORIZED, (503, b"", {})])
async def test_what_another_process_kept_meanwhile_is_not_written_over(
    open_: Open, served: Provider, answer: Any
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    clock.advance(timedelta(hours=2))
    served.odd = answer
    row = await connections._store.connection(ref)
    ends = int(clock.now() * 1000) + 3_600_000
    newer = attrs.evolve(
        row, sealed=connections.tokens.sealed({"token": "newer", "refresh_token": "newest"}),
        expires_at=ends, refresh_at=ends - 1000, updated_at=row.updated_at + 5,
    )  # fmt: skip
    assert await during(connections, served, ref, partial(connections._store.put_connection, newer)) == [
        "used"
    ]
    assert await connections._store.connection(ref) == newer


async def test_a_check_of_a_token_that_was_replaced_meanwhile_does_not_condemn_the_new_one(
    open_: Open, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = await open_()
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    checked = connections._checked

    async def replaced_meanwhile(*told: Any) -> Any:
        served.tokens.add("another-good-token")
        monkeypatch.setattr(connections, "_checked", checked)
        await connections.add(described(served.url), "user", {"token": "another-good-token"})
        served.tokens.discard("a-good-token")
        return await checked(*told)

    monkeypatch.setattr(connections, "_checked", replaced_meanwhile)
    with pytest.raises(Unauthorized):
        await connections.check(ref)
    (row,) = await connections.listed()
    assert row.state == "good"
    assert (await connections.get(ref)).credentials["token"] == "another-good-token"


async def test_removing_gives_the_newest_tokens_back(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)

    async def slowly(_: str) -> list[str]:
        clock.advance(timedelta(hours=2))
        await connections.get(ref)  # a job goes on while the subscriptions are removed
        return []

    connections._remove_subscriptions = slowly
    assert await connections.remove(ref) == []
    assert not served.refreshes


async def test_tokens_of_a_short_life_are_used_for_most_of_it(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    served.life = 100
    own = {"client_id": "our-app", "client_secret": "our-secret-5x"}
    ref = await connections.add(described(served.url), "own", own, kind="client-credentials")
    row = await connections._store.connection(ref)
    token = connections.tokens.values(row)["token"]  # without a refresh token, as most providers answer
    own = {**own, "token": token}
    alone = attrs.evolve(row, sealed=connections.tokens.sealed(own), refresh_at=None)
    await connections._store.put_connection(alone)
    clock.advance(timedelta(seconds=6))
    made = len(served.forms)
    for _ in range(5):
        await connections.get(ref)
        clock.advance(timedelta(seconds=15))
    assert len(served.forms) == made
    clock.advance(timedelta(seconds=12))  # 93 of 100
    await connections.get(ref)
    assert len(served.forms) == made + 1


async def test_a_token_that_can_not_be_refreshed_is_used_to_its_end(open_: Open, served: Provider) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    row = await connections._store.connection(ref)
    token = connections.tokens.values(row)["token"]
    alone = attrs.evolve(row, sealed=connections.tokens.sealed({"token": token}), refresh_at=None)
    await connections._store.put_connection(alone)
    clock.advance(timedelta(minutes=59))
    assert (await connections.get(ref)).credentials["token"] == token
    clock.advance(timedelta(minutes=1))
    with pytest.raises(Unauthorized, match="can't be refreshed"):
        await connections.get(ref)


async def test_a_token_that_was_replaced_or_removed_is_still_no_word_for_a_message(
    open_: Open, served: Provider
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connected(connections, served)
    old = dict((await connections.get(ref)).credentials)
    clock.advance(timedelta(hours=2))
    new = dict((await connections.get(ref)).credentials)
    await connections.remove(ref)
    assert {*old.values(), *new.values()} <= set(connections.secrets())


async def test_what_no_key_opens_does_not_keep_failures_from_being_told(
    open_: Open, served: Provider
) -> None:
    connections = await open_(given={"parcels/given": {"token": "of-the-app"}})
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    row = await connections._store.connection(ref)
    await connections._store.put_connection(attrs.evolve(row, ref="parcels/odd", sealed=b"not ours"))
    await connections.load(["parcels/odd"])
    assert {"of-the-app", "a-good-token"} <= set(connections.secrets())


async def test_a_row_is_not_believed_for_ever_after_the_clock_was_set_back(
    open_: Open, served: Provider
) -> None:
    clock = VirtualClock()
    connections = await open_(clock=clock)
    ref = await connections.add(described(served.url), "user", {"token": "a-good-token"})
    await connections.get(ref)
    connections._rows[ref] = (clock.now() + 3600, connections._rows[ref][1])
    await connections._store.remove_connection(ref)
    with pytest.raises(Unauthorized):
        await connections.get(ref)


async def test_a_provider_that_fails_is_not_asked_by_everybody_who_waits(
    open_: Open, served: Provider
) -> None:
    clock = VirtualClock()
    own = {"PARCELS_OWN_ID": "our-app", "PARCELS_OWN_SECRET": "our-secret-5x"}
    connections = await open_(clock=clock, environ=own)
    served.odd = (503, b"", {})
    for _ in range(5):
        with pytest.raises(ApiError):
            await connections.get("parcels")
    assert len(served.forms) == 1
    served.odd = (429, b"", {"Retry-After": "600"})
    clock.advance(timedelta(seconds=16))
    for wait in (0, 16, 500):
        clock.advance(timedelta(seconds=wait))
        with pytest.raises(ApiError):
            await connections.get("parcels")
    assert len(served.forms) == 2, "the provider said when it may be asked again"
    served.odd = None
    clock.advance(timedelta(seconds=100))
    assert (await connections.get("parcels")).credentials["token"] in served.tokens
