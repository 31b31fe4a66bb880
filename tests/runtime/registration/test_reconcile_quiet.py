"""A provider that asks to be left alone is: by everybody who goes through that connection, and no longer."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import given, settings, strategies as st

from tests.runtime.registration.test_reconcile_model import MARK, URL, VAULT, Nobody, Time
from trigflow import ExternalSource, RateLimited, Registered, Registration, hmac_sha256
from trigflow.core.errors import ApiError
from trigflow.core.ids import Ids
from trigflow.core.waits import quiet_until
from trigflow.runtime import records as r
from trigflow.runtime.connections.quiet import Quiets
from trigflow.runtime.intake.routes import Routes
from trigflow.runtime.registration.places import AT_ONE_PROVIDER, IN_ALL, OF_ONE_CONNECTION, Places
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.rows import Rows
from trigflow.runtime.registration.steps import Steps
from trigflow.runtime.registration.timely import LatePing
from trigflow.stores.memory import MemoryStore
from trigflow.web.registering import Registering

pytestmark = pytest.mark.anyio
MANY = 40


@attrs.define
class Provider:
    """Refuses everybody who calls through "model/busy" until a moment."""

    time: Time
    wait: float
    until: float = 0.0
    calls: Counter[str] = attrs.field(factory=Counter[str])
    too_soon: int = 0
    under_way: Counter[str] = attrs.field(factory=Counter[str])
    most: Counter[str] = attrs.field(factory=Counter[str])
    refuses: bool = True


@attrs.define
class Client:
    provider: Provider
    connection: str

    async def call(self) -> None:
        p, name = self.provider, self.connection
        p.calls[name] += 1
        p.under_way[name] += 1
        p.most[name] = max(p.most[name], p.under_way[name])
        try:
            await anyio.lowlevel.checkpoint()
            if name == "model/busy" and p.refuses:
                p.until = p.until or p.time.at + p.wait
                if p.time.at < p.until:
                    p.too_soon += 1
                    raise RateLimited("POST /hooks", 429, "slow down", datetime.fromtimestamp(p.until, UTC))
        finally:
            p.under_way[name] -= 1


source: ExternalSource[str, Client, int] = ExternalSource(
    "model.webhook", params=str, key=str, client=Client, data=int, verify=hmac_sha256("X-Sig")
)


@source.register
async def register(reg: Registration[str, int], client: Client) -> Registered[int] | None:
    await client.call()
    return Registered(1)


class Clients:
    """A client for each connection."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def get(self, connection: str) -> Client:
        return Client(self._provider, connection)

    async def load(self, connections: object) -> None: ...

    def credentials(self, connection: str) -> dict[str, str]:
        return {}

    def missing(self, connection: str) -> str:
        return ""


def process(store: MemoryStore, provider: Provider, owner: str) -> tuple[Reconciler, Registering]:
    time, sources = provider.time, cast("Any", {source.id: source})
    ids = Ids(time.now, random.randbytes)
    routes, clients = Routes(sources, store, VAULT, time), cast("Any", Clients(provider))
    wants = [
        r.Want(source.id, f"{ref}{n}", f"model/{ref}", b'"x"', ("push",))
        for ref, count in (("busy", MANY), ("other", 5))
        for n in range(count)
    ]
    rows = Rows(wants, sources, store, routes, VAULT, time, ids, token=lambda: ids.new("t"), owner=owner)
    steps = Steps(
        sources, store, clients, routes, VAULT, time, ids, chance=lambda: 0.5, base_url=URL, mark=MARK
    )
    reconciler = Reconciler(
        rows, steps, sources, store, clients, routes, time,
        upkeep=cast("Any", Nobody()), chance=lambda: 0.5, check_every=timedelta(minutes=15), owner=owner,
    )  # fmt: skip
    return reconciler, Registering(
        reconciler, store, cast("Any", time), VAULT, base_url=URL, mounted_at=lambda: None
    )


class Turning(Time):
    """A clock that runs only as fast as what waits for it wants."""

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        await event.wait()


async def states(store: MemoryStore, ref: str) -> Counter[str]:
    return Counter(
        s.state for e in await store.endpoints() for s in e.subscriptions if s.connection == f"model/{ref}"
    )


@pytest.mark.parametrize("processes", [1, 2])
async def test_no_more_is_called_in_a_quiet_period_than_was_under_way_and_all_converge_afterwards(
    processes: int,
) -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    provider = Provider(time, wait=600)
    some = [process(store, provider, f"p{n}") for n in range(processes)]
    for reconciler, _ in some:
        await reconciler.rows.ensure()

    async def all_look() -> None:
        async with anyio.create_task_group() as group:
            for _, registering in some:
                group.start_soon(registering.register_due)

    for _ in range(20):  # 20 x 25 s: all of it in the quiet period
        await all_look()
        time.at += 25
    assert 1 <= provider.too_soon <= OF_ONE_CONNECTION * processes
    assert await states(store, "other") == {"active": 5}, "another connection waits, too"
    (refused, *_) = [
        one
        for e in await store.endpoints()
        for s in e.subscriptions
        for one in await store.registrations(s.id)
        if one.outcome == "failed"
    ]
    assert "all of model/busy is quiet until" in refused.error
    time.at = provider.until + 100
    for _ in range(10):
        await all_look()
        time.at += 120
    assert await states(store, "busy") == {"active": MANY}
    assert provider.most["model/busy"] <= OF_ONE_CONNECTION * processes


async def test_who_asks_now_is_told_until_when_and_it_is_kept() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    provider = Provider(time, wait=600)
    reconciler, _ = process(store, provider, "p")
    await reconciler.rows.ensure()
    (first, second, *_) = [want.identity for want in reconciler.rows.wants]
    await reconciler.look(first)
    calls = provider.calls.total()
    (applied,) = await reconciler.look(second)
    assert provider.calls.total() == calls
    until = f"{datetime.fromtimestamp(provider.until, UTC):%Y-%m-%d %H:%M}"
    assert applied.error.startswith(f"quiet until {until}")
    assert "because model asked for it" in applied.error
    row = next(iter((await store.endpoints_for([second])).values())).subscriptions[0]
    assert [one.outcome for one in await store.registrations(row.id)] == ["quiet"]
    assert (row.state, row.failures) == ("pending", 0)


async def test_after_a_quiet_period_each_process_calls_with_one_look_at_a_time_for_a_moment() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    provider = Provider(time, wait=600)
    some = [process(store, provider, f"p{n}") for n in range(3)]
    for reconciler, _ in some:
        await reconciler.rows.ensure()
    quiet = r.QuietPeriod("model/busy", int((time.at + 600) * 1000), "model asked for it")
    await store.hush(quiet, now=int(time.at * 1000))
    time.at, provider.refuses = time.at + 601, False
    async with anyio.create_task_group() as group:
        for _, registering in some:
            group.start_soon(registering.register_due)
    assert provider.most["model/busy"] <= 3, "a crowd comes at the moment for which all have waited"
    assert provider.most["model/other"] >= 1
    assert await states(store, "busy") == {"active": MANY}, "one at a time, and all of them"
    assert not await store.quiet_lately(now=int((time.at + 60) * 1000))


async def test_a_quiet_period_from_before_the_clock_was_set_back_is_not_believed() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    reconciler, registering = process(store, Provider(time, wait=0, refuses=False), "p")
    await reconciler.rows.ensure()
    year = 365 * 86_400_000
    ms = int(time.at * 1000)
    await store.hush(r.QuietPeriod("model/busy", ms + year + 60_000, "then"), now=ms + year)
    await registering.register_due()
    assert await states(store, "busy") == {"active": MANY}
    await store.hush(r.QuietPeriod("model/busy", ms + 60_000, "now"), now=ms)
    assert await store.quiet("model/busy", now=ms) == r.QuietPeriod("model/busy", ms + 60_000, "now")


async def test_who_applies_while_nothing_is_due_is_told_of_the_quiet_period_all_the_same() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    reconciler, _ = process(store, Provider(time, wait=0, refuses=False), "p")
    await reconciler.rows.ensure()
    identity = reconciler.rows.wants[0].identity
    await reconciler.look(identity)
    assert await reconciler.look(identity) == []
    ms = int(time.at * 1000)
    await store.hush(r.QuietPeriod("model/busy", ms + 60_000, "model asked for it"), now=ms)
    (applied,) = await reconciler.look(identity)
    assert applied.error.startswith("quiet until ")
    row = next(iter((await store.endpoints_for([identity])).values())).subscriptions[0]
    assert [one.outcome for one in await store.registrations(row.id)] == ["done"], "nothing was to be tried"


async def test_a_lease_that_ends_soon_is_looked_at_before_a_crowd_that_is_overdue_for_longer() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    reconciler, _ = process(store, Provider(time, wait=0, refuses=False), "p")
    await reconciler.rows.ensure()
    now = int(time.at * 1000)
    rows = [s for e in await store.endpoints() for s in e.subscriptions]
    for n, s in enumerate(rows):
        ends = now + 3_600_000 if s is rows[-1] else None
        await store.save_subscription(attrs.evolve(s, next_at=now - 9_000 + n, lease_until=ends))
    ((first,),) = [one.subscriptions for one in await store.due(now=now, limit=1)]
    assert first.id == rows[-1].id


async def test_a_ping_that_is_refused_begins_a_quiet_period_for_everybody() -> None:
    time, store = Turning(), MemoryStore(store_id="abcdefgh")
    client = Client(Provider(time, wait=600), "model/busy")

    class Place:
        async def ping(self) -> bool:
            await client.call()
            return True

    async def make() -> Any:
        return Place()

    late = LatePing(make, Quiets(store, time, lambda: 0.5), "model/busy")
    assert await late.quiet_until() is None
    with pytest.raises(RateLimited):
        await late.ping()
    until = await late.quiet_until()
    assert until is not None
    assert until >= int((time.at + 600) * 1000)


moments = st.floats(1_700_000_000, 1_900_000_000)


@given(moments, st.floats(-100, 80_000), st.floats(0, 1))
def test_the_moment_that_a_provider_names_is_never_cut_short_and_hardly_passed(
    now: float, wait: float, chance: float
) -> None:
    named = datetime.fromtimestamp(now + wait, UTC)
    until = quiet_until(RateLimited("x", 403, "secondary", named), now=now, chance=chance)
    assert until is not None
    assert until > now - 0.001
    assert named.timestamp() - 0.001 <= until <= max(named.timestamp(), now + 1) + 10.001


def test_what_is_no_matter_of_the_connection_makes_nobody_wait() -> None:
    for error in (ApiError("x", 500, "oops"), ApiError("x", 404, "gone"), TimeoutError()):
        assert quiet_until(error, now=0, chance=0.5) is None
    assert quiet_until(ApiError("x", 429, "no time named"), now=0, chance=0) == 60


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "a/1", "a/2", "a/3", "b/1", "c", "d", "e"]), max_size=80), st.randoms())
def test_places_are_bounded_and_a_full_provider_takes_none_of_the_others(
    asked: list[str], chance: random.Random
) -> None:
    places, held = Places(), list[str]()
    for name in asked:
        same = [one for one in held if one.split("/")[0] == name.split("/")[0]]
        room = held.count(name) < OF_ONE_CONNECTION and len(same) < AT_ONE_PROVIDER and len(held) < IN_ALL
        assert places.has_room(name) == room
        assert places.take(name) == room
        held += [name] if room else []
        if held and chance.random() < 0.2:
            places.give_back(held.pop(chance.randrange(len(held))))
        assert places.taken == len(held)
        assert set(places.full_connections) == {c for c in held if held.count(c) >= OF_ONE_CONNECTION}
