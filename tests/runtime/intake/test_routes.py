"""From a URL to its endpoint and from an account to its subscriptions: what is read, and how often."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow import ExternalSource, Headers, Request, Secret, Unsigned, header, json
from trigflow.core.errors import StoreUnavailable
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import FRESH, LONGEST_ACCOUNT, MOST, Route, Routes
from trigflow.runtime.ports import Registry
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.parts import Part
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import Connection
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio
VAULT = Vault(["A" * 43 + "="])
STALE = timedelta(seconds=FRESH)
ALMOST_STALE = timedelta(seconds=FRESH - 0.5)


class Counting(MemoryStore):
    """Notes what is read on the way of a request."""

    def __init__(self) -> None:
        super().__init__(store_id="abc")
        self.asked: list[Collection[Any]] = []
        self.is_away = False

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        await self._note(tokens)
        return await super().endpoints_at(tokens)

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        await self._note(addresses)
        return await super().receiving(addresses)

    async def _note(self, keys: Collection[Any]) -> None:
        self.asked.append(keys)
        await anyio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("it is away")


def source_with(account: Part | None, **more: Any) -> ExternalSource[str, object, int]:
    return ExternalSource(
        "test.webhook", params=str, client=object, data=int, secret=Secret.NONE,
        verify=Unsigned(because="routing is tested"), account=account, **more,
    )  # fmt: skip


@attrs.define
class Ways:
    """A store with one endpoint, and the routes to it."""

    store: Registry
    account: Part | None = attrs.field(factory=lambda: header("X-Account"))
    more: dict[str, Any] = attrs.field(factory=dict[str, Any])
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    routes: Routes = attrs.field(init=False)
    made: int = 0

    def __attrs_post_init__(self) -> None:
        source = source_with(self.account, **self.more)
        self.routes = Routes({source.id: source}, self.store, VAULT, self.clock)

    async def add(
        self, account: str | None = None, state: Any = "active", params: bytes = b'"params"'
    ) -> r.Subscription:
        self.made += 1
        endpoint = r.Endpoint("end_1", "token", "test.webhook", "active", b"{}")
        subscription = r.Subscription(
            f"sub_{self.made:06d}", endpoint.id, "test.webhook", f"k{self.made}", "c", params,
            state=state, account=account,
        )  # fmt: skip
        await self.store.create_subscriptions([(endpoint, subscription)])
        return subscription

    async def route(self) -> Route:
        found = await self.routes.find("token")
        assert found is not None
        return found

    async def sent(self, *accounts: str) -> Sequence[r.Subscription]:
        headers = Headers.of([("X-Account", one) for one in accounts])
        return await self.routes.addressed(await self.route(), Request("POST", "https://h/", headers, b""))

    async def names(self, *accounts: str) -> set[str]:
        return {one.id for one in await self.sent(*accounts)}


@asynccontextmanager
async def sqlite(path: Path) -> AsyncGenerator[SqliteStore]:
    async with SqliteStore(path / "store.db", store_id=lambda: "abc") as store:
        yield store


async def test_an_account_finds_its_own_subscriptions_and_an_unknown_one_none() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    one, other, _ = await ways.add("T1"), await ways.add("T1"), await ways.add("T2")
    assert await ways.names("T1") == {one.id, other.id}
    assert await ways.names("T3") == set()


async def test_a_subscription_that_was_removed_is_not_found_by_its_account() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    gone, hears = await ways.add("T1", state="removed"), await ways.add("T1")
    assert await ways.names("T1") == {hears.id}
    assert gone.id != hears.id


async def test_what_comes_for_one_that_its_provider_has_switched_off_is_taken_all_the_same() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    off = await ways.add("T1", state="disabled")
    assert await ways.names("T1") == {off.id}


async def test_where_accounts_are_not_told_apart_the_first_gets_all() -> None:
    ways = Ways(MemoryStore(store_id="abc"), account=None)
    first, second, _ = await ways.add(), await ways.add(), await ways.add()
    assert await ways.names() == {first.id}
    await ways.store.remove_subscription(first.id, at=1)
    assert await ways.names() == {first.id}
    ways.clock.advance(STALE)
    assert await ways.names() == {second.id}


async def test_the_facts_of_a_handshake_come_from_the_first_subscription() -> None:
    def facts(params: str, secret: str) -> dict[str, str]:
        return {"topic": params}

    ways = Ways(MemoryStore(store_id="abc"), more={"facts": facts})
    await ways.add("T1", params=b'"first"')
    await ways.add("T2")
    assert (await ways.route()).facts == {"topic": "first"}


async def test_a_request_without_accounts_and_one_whose_account_is_known_read_nothing() -> None:
    for account in (None, header("X-Account")):
        store = Counting()
        ways = Ways(store, account=account)
        await ways.add("T1")
        await ways.sent("T1")
        reads = len(store.asked)
        ways.clock.advance(ALMOST_STALE)
        assert len(await ways.sent("T1")) == 1
        assert len(store.asked) == reads == (1 if account is None else 2)


async def test_a_changed_row_is_seen_once_what_was_read_is_too_old() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    known = await ways.add("T1")
    assert (await ways.names("T1"), await ways.names("T2")) == ({known.id}, set())
    await ways.store.save_subscription(attrs.evolve(known, account="T2"))
    ways.clock.advance(ALMOST_STALE)
    assert (await ways.names("T1"), await ways.names("T2")) == ({known.id}, set())
    ways.clock.advance(STALE - ALMOST_STALE)
    assert (await ways.names("T1"), await ways.names("T2")) == (set(), {known.id})


async def test_after_forget_the_endpoint_and_its_accounts_are_read_anew() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    known = await ways.add("T1")
    assert (await ways.names("T1"), await ways.names("T2")) == ({known.id}, set())
    await ways.store.save_subscription(attrs.evolve(known, account="T2"), sealed_key=VAULT.seal(b"s"))
    ways.routes.forget("token")
    assert (await ways.names("T1"), await ways.names("T2")) == (set(), {known.id})
    assert [key.secret for key in (await ways.route()).keys] == [b"s"]


async def test_an_endpoint_that_was_found_stays_known_while_it_is_read_anew_and_until_it_is_gone() -> None:
    ways = Ways(MemoryStore(store_id="abc"))
    known = await ways.add("T1")
    assert not ways.routes.knows("token")
    await ways.route()
    ways.routes.forget("token")
    assert ways.routes.knows("token")
    await ways.store.remove_subscription(known.id, at=1)
    assert await ways.routes.find("token") is None
    assert not ways.routes.knows("token")


@pytest.mark.parametrize("accounts", [("T1",), ("T1", "T2", "T3"), ("unknown",)])
async def test_requests_at_once_at_a_stale_endpoint_share_their_reads(accounts: tuple[str, ...]) -> None:
    store = Counting()
    ways = Ways(store, account=json("accounts[*]"))
    await ways.add("T1")
    await ways.add("T2")
    body = b'{"accounts": ["' + b'", "'.join(one.encode() for one in accounts) + b'"]}'
    told: list[int] = []

    async def send() -> None:
        request = Request("POST", "https://h/", Headers(), body)
        told.append(len(await ways.routes.addressed(await ways.route(), request)))

    for _ in range(2):
        store.asked.clear()
        async with anyio.create_task_group() as group:
            for _ in range(64):
                group.start_soon(send)
        assert [set(keys) for keys in store.asked] == [{"token"}, {("end_1", one) for one in accounts}]
        ways.clock.advance(STALE)
    assert told == [len({"T1", "T2"} & set(accounts))] * 128


async def test_a_flood_of_unknown_accounts_is_read_together_and_remembered_within_bounds() -> None:
    store = Counting()
    ways = Ways(store)
    known = await ways.add("T1")
    assert await ways.names("T1") == {known.id}
    store.asked.clear()
    many = range(MOST + 2_000)

    async def send(part: int) -> None:
        for number in many[part::100]:
            assert await ways.sent(f"unknown-{number}") == []

    async with anyio.create_task_group() as group:
        for part in range(100):
            group.start_soon(send, part)
    assert len(store.asked) < len(many) / 20
    assert len(ways.routes) <= MOST + 2
    store.asked.clear()
    assert await ways.names("T1") == {known.id}
    assert store.asked == []


async def test_an_account_of_a_monstrous_length_is_found_but_not_remembered() -> None:
    store = Counting()
    ways = Ways(store)
    monstrous = "x" * (LONGEST_ACCOUNT + 1)
    known = await ways.add(monstrous)
    for _ in range(2):
        remembered = len(ways.routes)
        assert await ways.names(monstrous) == {known.id}
        assert await ways.names(monstrous + "y") == set()
        assert len(ways.routes) <= max(remembered, 1)


async def test_a_store_that_is_away_is_an_error_for_stale_requests_and_for_nobody_else() -> None:
    store = Counting()
    ways = Ways(store)
    await ways.add("T1")
    await ways.sent("T1")
    store.is_away = True
    assert len(await ways.sent("T1")) == 1
    with pytest.raises(StoreUnavailable):
        await ways.sent("T2")
    ways.clock.advance(STALE)
    with pytest.raises(StoreUnavailable):
        await ways.route()
    store.is_away = False
    assert len(await ways.sent("T1")) == 1


texts = st.sampled_from(["T1", "T2", "", "T1\x00", "é", "\U0001f600", "t1", "T1 "])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.none() | texts, st.sampled_from(["active", "pending", "disabled", "removed"])),
        max_size=8,
    ),
    st.lists(texts, max_size=4),
)
async def test_every_store_finds_exactly_the_subscriptions_of_the_named_accounts(
    tmp_path_factory: pytest.TempPathFactory, kept: list[tuple[str | None, str]], named: list[str]
) -> None:
    async with sqlite(tmp_path_factory.mktemp("store")) as disk:
        for store in (disk, MemoryStore(store_id="abc")):
            ways = Ways(store, account=json("accounts[*]"))
            await ways.add("somebody else")
            for account, state in kept:
                await ways.add(account, state=state)
            body = msgspec.json.encode({"accounts": named})
            found = await ways.routes.addressed(
                await ways.route(), Request("POST", "https://h/", Headers(), body)
            )
            assert [one.id for one in found] == [
                f"sub_{number:06d}"
                for name in dict.fromkeys(named or [""])  # what names nobody is for the app itself
                for number, (account, state) in enumerate(kept, 2)
                if account == name and state != "removed"
            ]


async def test_what_a_request_asks_for_is_found_through_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: dict[str, list[str]] = {}
    async with sqlite(tmp_path) as store:
        ways = Ways(store)
        first = await ways.add("T1")
        await ways.add("T2")
        real = store.read

        async def explained(work: Any) -> Any:
            class Explaining:
                def __init__(self, connection: Connection) -> None:
                    self._connection = connection

                def execute(self, sql: str, values: Any = None) -> Any:
                    plan = self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
                    plans[sql] = [row[3] for row in plan]
                    return self._connection.execute(sql, values)

            return await real(lambda connection: work(Explaining(connection)))

        monkeypatch.setattr(store, "read", explained)
        assert len(await ways.sent("T1")) == 1
        assert await store.subscription(first.id) is not None
        assert await store.token_of("end_1") == "token"
        assert await store.endpoints_for([first.identity])
    assert len(plans) >= 7
    for sql, plan in plans.items():
        assert all(step.startswith("SEARCH ") for step in plan), (sql, plan)
    assert any("(endpoint_id=? AND account=?)" in step for plan in plans.values() for step in plan)


async def test_a_key_that_was_added_a_moment_after_an_endpoint_was_read_is_found() -> None:
    store = Counting()
    ways = Ways(store)
    await ways.add()
    before = await ways.route()
    await store.add_key(before.endpoint.id, VAULT.seal(b"new"), at=1)
    ways.clock.advance(timedelta(milliseconds=1))
    assert len((await ways.routes.reread(before)).keys) == len(before.keys) + 1
    reads = len(store.asked)
    for _ in range(100):  # forged requests cost no more
        await ways.routes.reread(before)
    assert len(store.asked) == reads
