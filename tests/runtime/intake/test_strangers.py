"""Deliveries that come before their account is known: each starts its job once, when it is."""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from tests.runtime.connecting import KEY
from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Headers,
    Integration,
    Request,
    event,
    hmac_sha256,
    json,
    trigger,
)
from trigflow.core.errors import TrigflowError
from trigflow.core.events import Outcome, Signal
from trigflow.opened import parts
from trigflow.runtime import records as r, views as v
from trigflow.runtime.intake import strangers
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.testing import VirtualClock

ACCOUNTS = ("T1", "T1", "T2")
STRANGERS = ("T1", "T1", "T2", "never")
WRITES = frozenset(
    {"accept", "adopt", "stop_waiting", "stop_waiting_before", "create_subscriptions", "put_connection",
     "put_wants", "save_subscription", "look_soon", "replay"}
)  # fmt: skip
Handle = Callable[[Delivery[str, int]], Iterable[Outcome]]


class Killed(BaseException):
    """The process is gone."""


@attrs.define
class Mortal:
    """One process's way to a store; it may die at any write: before it, or after it and before it hears."""

    store: Any
    dies_at: int | None = None
    dies_after: bool = False
    is_dead: bool = False
    heard: list[str] = attrs.field(factory=list[str])

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.store.__aexit__(None, None, None)

    def __getattr__(self, name: str) -> Any:
        self.heard.append(name)
        found = getattr(self.store, name)
        return self._write(found) if name in WRITES else found

    def _write(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def write(*args: Any, **options: Any) -> Any:
            if self.is_dead:
                raise Killed
            is_last = self.dies_at == 0
            self.dies_at = None if self.dies_at is None else self.dies_at - 1
            if not is_last:
                return await call(*args, **options)
            self.is_dead = True
            if self.dies_after:  # the commit is there, and nobody hears of it
                await call(*[one for one in args if not callable(one)], **options)
            raise Killed

        return write


def trigger_of(handle: Handle | None = None) -> Any:
    def one_event(delivery: Delivery[str, int]) -> Iterable[Outcome]:
        return [Event("thing", delivery.payload["id"])]

    source: ExternalSource[str, object, int] = ExternalSource(
        "test.webhook", params=str, client=object, data=int, verify=hmac_sha256("X-Sig"),
        account=json("teams[*]"),
    )  # fmt: skip
    source.handler(handle or one_event)

    class Test(Integration, id="test"):
        @event("thing", dict[str, Any], source=source)
        def thing(self) -> str:
            """A thing."""
            return "params"

    return Test().thing()


@attrs.define
class World:
    """A store, and processes that come and go."""

    new_store: Callable[[], Any]
    handle: Handle | None = None
    clock: VirtualClock = attrs.field(factory=VirtualClock)

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[tuple[App, Mortal]]:
        mortal = Mortal(self.new_store())

        @trigger(trigger_of(self.handle), id="job")
        async def job(payload: dict[str, Any]) -> None:
            pass

        app = App([job], store="shared.db", secret_key=KEY, register="off", clock=self.clock)

        def store(_: object) -> Mortal:
            return mortal

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "_store", store)
            opened = app.inspect()
            await opened.__aenter__()
        try:
            await app.opened.rows.ensure()
            yield app, mortal
        finally:
            await opened.__aexit__(None, None, None)


async def request(app: App, id_: str, *teams: str) -> tuple[str, Request]:
    (endpoint,) = {one.id: one for one in await app.opened.store.endpoints()}.values()
    body = msgspec.json.encode({"id": id_, "teams": teams})
    (key,) = app.opened.routes.keys_of(endpoint)
    signature = hmac.new(key.secret, body, hashlib.sha256).hexdigest()
    return endpoint.token, Request("POST", "https://h/", Headers.of({"X-Sig": signature}), body)


async def deliver(app: App, id_: str, *teams: str) -> bool:
    return (await app.opened.receive(*await request(app, id_, *teams))).status == 200


async def connect(app: App, account: str) -> None:
    row = r.Connection(f"test/{account}", "test", "manual", b"", account=account, created_at=1, updated_at=1)
    await app.opened.store.put_connection(row)
    await app.opened.rows.ensure()


async def started(app: App) -> Counter[tuple[str, str]]:
    """Count the runs that no person asked for, by account and event."""
    store = app.opened.store
    of = {s.id: s.account for one in await store.endpoints() for s in one.subscriptions}
    found: Counter[tuple[str, str]] = Counter()
    for row in await store.deliveries(limit=1_000):
        for brought in await store.events(row.id):
            runs = await store.runs(limit=1_000, event=brought.id)
            account = of.get(brought.subscription_id) or ""
            found[account, brought.event_id] += sum(run.replay_of is None for run in runs)
    return found


async def log(app: App) -> list[tuple[str, str]]:
    rows = await app.opened.store.deliveries(limit=1_000)
    return [(row.outcome, row.cause) for row in reversed(rows)]


async def asked_of(app: App) -> list[tuple[object, ...]]:
    """Return what is to be done for each subscription."""
    all_ = [s for one in await app.opened.store.endpoints() for s in one.subscriptions]
    return [(s.id, s.cause, s.asked, s.next_at, s.data) for s in all_]


# --- histories

deliver_one = st.tuples(st.just("deliver"), st.integers(0, 3), st.sampled_from(STRANGERS))
connect_one = st.tuples(st.just("connect"), st.sampled_from(ACCOUNTS))
replay_one = st.tuples(st.just("replay"), st.integers(0, 9))
wait = st.tuples(st.just("wait"), st.integers(1, 5))
take = st.just(("take",))
# A process may die at one of the writes of a step: before it, or after it.
deaths = st.tuples(st.integers(0, 3), st.booleans())
steps = st.lists(
    st.tuples(deliver_one | replay_one | wait, st.none())
    | st.tuples(connect_one | take, st.none())
    | st.tuples(connect_one | take | take | deliver_one, deaths),
    min_size=3,
    max_size=14,
)
lives = st.lists(st.tuples(st.booleans(), steps), min_size=2, max_size=4)


@attrs.define
class Told:
    """What was acknowledged, and which accounts are connected for sure."""

    acknowledged: set[tuple[str, str]] = attrs.field(factory=set[tuple[str, str]])
    connected: set[str] = attrs.field(factory=set[str])


async def do(app: App, world: World, told: Told, step: tuple[Any, ...]) -> None:
    match step:
        case "deliver", number, account:
            if await deliver(app, f"{account}-{number}", account):
                told.acknowledged.add((account, f"{account}-{number}"))
        case "connect", account:
            await connect(app, account)
            told.connected.add(account)
        case "take", *_:
            await app.opened.strangers.take()
        case "replay", number:
            rows: Sequence[v.DeliveryRow] = await app.opened.store.deliveries(limit=100)
            if rows:
                with_error: list[TrigflowError] = []
                try:
                    await app.replay(rows[int(str(number)) % len(rows)].id)
                except TrigflowError as error:
                    with_error.append(error)
        case "wait", seconds:
            world.clock.advance(timedelta(seconds=seconds))
        case _:
            raise AssertionError(step)


async def play(world: World, history: Sequence[tuple[bool, Any]]) -> None:
    """Two processes at a time; one that dies is followed by another."""
    told = Told()
    async with world.process() as (other, _):
        for in_turns, life in history:
            async with world.process() as (app, mortal):
                for number, (step, death) in enumerate(life):
                    mortal.dies_at, mortal.dies_after = death or (None, False)
                    try:
                        await do(other if in_turns and number % 2 else app, world, told, step)
                    except Killed:
                        break
        await other.opened.rows.ensure()
        await other.opened.strangers.take()
        known = {row.account for row in await other.opened.store.connections(integration="test")}
        assert told.connected <= known
        runs = await started(other)
        assert {one for one in runs if runs[one] != 1} == set()
        assert {one for one in told.acknowledged if one[0] in known} <= set(runs)
        assert {account for account, _ in runs} <= known
        await check_the_log(other, known)
        assert await other.opened.strangers.take() == 0


async def check_the_log(app: App, known: set[str | None]) -> None:
    """What waits is of accounts that nobody knows; of the others, one delivery of each event is accepted."""
    store, accepted = app.opened.store, Counter[str]()
    for row in await store.deliveries(limit=1_000):
        found = await store.delivery(row.id)
        assert found is not None
        said = msgspec.json.decode(found[1] or b"")
        waits = (row.outcome, row.cause) == ("ignored", "unknown-account")
        assert waits == (said["teams"][0] not in known)
        assert row.outcome in ("ignored", "accepted", "duplicate")
        accepted[said["id"]] += row.outcome == "accepted"
    assert max(accepted.values(), default=0) <= 1


HISTORIES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TAKE = (("take",), (1, True))
A_DEATH = [
    (False, [(("deliver", n, "T1"), None) for n in (1, 2)] + [(("connect", "T1"), None), TAKE]),
    (True, [(("deliver", 1, "T1"), None), (("take",), None)]),
]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@example(A_DEATH)
@HISTORIES
@given(lives)
def test_every_event_of_an_account_that_becomes_known_starts_its_job_once(
    backend: str, history: list[tuple[bool, Any]]
) -> None:
    store = MemoryStore(store_id="abc")
    anyio.run(play, World(lambda: store), history, backend=backend)


@example(A_DEATH)
@settings(HISTORIES, max_examples=15)
@given(lives)
def test_so_it_does_in_a_file(history: list[tuple[bool, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        anyio.run(play, World(lambda: SqliteStore(path, store_id=lambda: "abc")), history)


# --- what a reader might doubt


@pytest.fixture
def world() -> World:
    store = MemoryStore(store_id="abc")
    return World(lambda: store)


@pytest.mark.anyio
async def test_what_waited_is_handled_in_the_order_in_which_it_came_with_the_time_at_which_it_did(
    world: World,
) -> None:
    seen: list[tuple[str, float]] = []

    def noting(delivery: Delivery[str, int]) -> Iterable[Outcome]:
        seen.append((delivery.payload["id"], delivery.received_at.timestamp()))
        return [Event("thing", delivery.payload["id"])]

    world.handle = noting
    async with world.process() as (app, _):
        begun = world.clock.now()
        for id_ in ("c", "a", "b"):
            assert await deliver(app, id_, "T1")
            world.clock.advance(timedelta(seconds=10))
        assert seen == []
        await connect(app, "T1")
        assert await app.opened.strangers.take() == 3
        assert seen == [("c", begun), ("a", begun + 10), ("b", begun + 20)]
        assert await log(app) == [("accepted", "")] * 3


@pytest.mark.anyio
async def test_what_waits_too_long_stays_as_it_is_and_can_still_be_replayed(world: World) -> None:
    async with world.process() as (app, _):
        assert await deliver(app, "old", "T1")
        world.clock.advance(strangers.WAITS - timedelta(hours=1))
        assert await deliver(app, "young", "T1")
        world.clock.advance(timedelta(hours=1, seconds=1))
        await connect(app, "T1")
        assert await app.opened.strangers.take() == 1
        assert await log(app) == [("ignored", "unknown-account"), ("accepted", "")]
        assert set(await started(app)) == {("T1", "young")}
        old = (await app.opened.store.deliveries(limit=9))[-1]
        assert len(await app.replay(old.id)) == 1


@pytest.mark.anyio
async def test_a_replay_before_the_account_is_known_says_what_to_do(world: World) -> None:
    async with world.process() as (app, _):
        assert await deliver(app, "1", "T1")
        (row,) = await app.opened.store.deliveries(limit=9)
        with pytest.raises(TrigflowError, match="connect it"):
            await app.replay(row.id)
        assert await log(app) == [("ignored", "unknown-account")]


@pytest.mark.anyio
async def test_a_handler_that_raises_holds_nobody_up_and_its_delivery_says_so(world: World) -> None:
    def raising(delivery: Delivery[str, int]) -> Iterable[Outcome]:
        if delivery.payload["id"] == "bad":
            raise ValueError("not this one")
        return [Event("thing", delivery.payload["id"])]

    world.handle = raising
    async with world.process() as (app, _):
        for id_ in ("bad", "good"):
            assert await deliver(app, id_, "T1")
        await connect(app, "T1")
        await app.opened.strangers.take()
        (bad, good) = await log(app)
        assert (bad[0], "not this one" in bad[1]) == ("failed", True)
        assert good == ("accepted", "")
        assert await app.opened.strangers.take() == 0


@pytest.mark.anyio
async def test_a_batch_waits_for_each_of_its_accounts(world: World) -> None:
    async with world.process() as (app, _):
        assert await deliver(app, "1", "T1", "T2", "never")
        for number, account in enumerate(("T2", "T1"), 1):
            await connect(app, account)
            assert await app.opened.strangers.take() == 1
            assert sum((await started(app)).values()) == number
        assert set(await started(app)) == {("T1", "1"), ("T2", "1")}
        assert await log(app) == [("accepted", "")]


@pytest.mark.anyio
async def test_a_look_reads_no_delivery_of_accounts_that_nobody_knows(world: World) -> None:
    asked: list[str] = []
    async with world.process() as (app, mortal):
        for number in range(30):
            assert await deliver(app, str(number), "never")
        mortal.heard = asked
        assert await app.opened.strangers.take() == 0
        assert not {"delivery", "waiting"} & set(asked)
        assert "waited_for" in asked


@pytest.mark.anyio
async def test_an_account_that_has_another_id_now_takes_what_comes_for_that(world: World) -> None:
    """As after an app is removed and installed again: the connection is the same, its account is not."""
    async with world.process() as (app, _):
        await connect(app, "T1")
        assert await deliver(app, "1", "T9")
        row = await app.opened.store.connection("test/T1")
        assert row is not None
        await app.opened.store.put_connection(attrs.evolve(row, account="T9"))
        await app.opened.rows.ensure()
        assert await app.opened.strangers.take() == 1
        assert set(await started(app)) == {("T9", "1")}


@pytest.mark.anyio
async def test_that_the_accounts_are_others_now_is_told_at_once_and_changes_no_subscription(
    world: World,
) -> None:
    kind: list[Outcome] = [Event("thing", "0")]
    world.handle = lambda _: kind
    async with world.process() as (app, _):
        await connect(app, "T1")
        assert await deliver(app, "0", "T1")
        kind[:] = [Signal("accounts", "deleted")]
        before = await asked_of(app)
        told: list[str] = []
        app.opened.discovery.told = lambda: told.append("told")  # type: ignore[method-assign]
        assert await deliver(app, "1", "T1")
        assert told == ["told"]
        assert await asked_of(app) == before
        assert await log(app) == [("accepted", "")] * 2
