"""Whatever a provider has and wherever processes die: one look brings it in line, a second finds nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any, cast

import anyio
import attrs
from hypothesis import HealthCheck, given, note, settings, strategies as st

from tests.runtime.mortal import Mortal
from tests.runtime.providers import FOREIGN, LIFE, AnySource, Client, Killed, Model, OneClient, source_of
from trigflow.core.ids import Ids
from trigflow.core.plan import Step
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import Routes
from trigflow.runtime.registration.claims import CLAIM
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.rows import Rows
from trigflow.runtime.registration.steps import Steps
from trigflow.runtime.sealing.vault import Vault
from trigflow.stores.memory import MemoryStore

PLACES = ("a", "b")
MARK = "/e/abcdefgh/"
URL = "https://hooks.example.com"
VAULT = Vault([Vault.new_key()])
AT_ONCE = timedelta(0)
names = st.sets(st.sampled_from(["issues", "push", "star"]), min_size=1)
wants = st.dictionaries(st.sampled_from(PLACES), names)
troubles = st.lists(
    st.sampled_from(["pass", "pass", "pass", "refuse", "lose", "die", "die after"]), max_size=4
)
hands = st.sampled_from(["delete", "switch off", "other events", "double", "stray", "foreign"])
kinds = st.tuples(st.booleans(), st.none() | st.sampled_from(["extend", "recall", "replace"]))


@attrs.define
class Time:
    """A clock that is turned by hand."""

    at: float = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        raise AssertionError("nothing waits here")


class Nobody:
    """Looks after nothing: what comes, and who is told, is not what is tested here."""

    async def look_after(self, *_args: object, **_options: object) -> None:
        return None

    async def tell_of_failure(self, *_args: object) -> None:
        return None

    async def forget(self, *_args: object) -> None:
        return None

    @property
    def alerts(self) -> Nobody:
        return self

    async def recover_if_asked(self, *_args: object) -> None:
        return None


class World:
    """A provider, one store, and processes that come and go."""

    def __init__(self, *, returns_secret: bool, lease: str | None, lists: bool = True) -> None:
        self.time = Time()
        self.model = Model(self.time.now, returns_secret, leases=lease is not None, recalls=lease == "recall")
        self.source: AnySource = source_of(returns_secret=returns_secret, lease=lease, lists=lists)
        self.store = MemoryStore(store_id="abcdefgh")
        self.lists = lists
        self.subscribers: dict[str, dict[str, set[str]]] = {place: {} for place in PLACES}
        self.ids = Ids(self.time.now, lambda n: Random(0).randbytes(n))
        self._tokens, self._owners = count(), count()
        for place in PLACES:
            self.model.add(place, FOREIGN, ["push"])

    def process(
        self, wanted: dict[str, set[str]], owner: str | None = None, death: tuple[int, bool] | None = None
    ) -> Reconciler:
        """Start a process with these wants; nothing of an earlier one is remembered.

        death: at which write to the store it dies, and whether after it.
        """
        sources: dict[str, Any] = {self.source.id: self.source}
        at, after = (None, False) if death is None else death
        store = cast("Any", Mortal(self.store, self.model, at, after))
        routes = Routes(sources, store, VAULT, self.time)
        clients = cast("Any", OneClient(Client(self.model)))
        told = [
            r.Want(self.source.id, place, "model", f'"{place}"'.encode(), tuple(sorted(events)))
            for place, events in wanted.items()
        ]
        owner = owner or f"ins{next(self._owners)}"
        rows = Rows(told, sources, store, routes, VAULT, self.time, self.ids, token=self._token, owner=owner)
        steps = Steps(
            sources, store, clients, routes, VAULT, self.time, self.ids,
            chance=lambda: 0.5, base_url=URL, mark=MARK,
        )  # fmt: skip
        return Reconciler(
            rows, steps, sources, store, clients, routes, self.time,
            upkeep=cast("Any", Nobody()), chance=lambda: 0.5, check_every=timedelta(minutes=15), owner=owner,
        )  # fmt: skip

    def _token(self) -> str:
        return f"{next(self._tokens):032d}".translate(str.maketrans("0123456789", "abcdefghij"))

    def by_hand(self, place: str, what: str) -> None:
        """Change something at the provider behind our back."""
        ours = self.model.ours(place)
        if what == "foreign":
            self.model.add(place, FOREIGN, ["star"])
        elif what == "stray":
            self.model.add(place, f"{URL}{MARK}{'z' * 32}", ["star"])
        elif ours and what == "double":
            self.model.add(place, ours[0].url, ["star"], "another")
        elif ours and what == "delete":
            del self.model.at(place)[ours[0].id]
        elif ours and what == "switch off":
            ours[0].active = False
        elif ours:
            ours[0].events = ("watch",)

    async def survive(self, work: Callable[[], Any]) -> bool:
        """Let a process work until it ends or dies, and tell which; a dead one's claims run out."""
        lives = True
        try:
            await work()
        except Killed:
            lives = False
            self.time.at += CLAIM.total_seconds() + 1
        self.model.is_dead = False
        self.model.troubles.clear()
        self.model.meanwhile.clear()
        return lives

    async def row(self, place: str) -> tuple[r.Endpoint, r.Subscription] | None:
        found = await self.store.endpoints_for([(self.source.id, place, "model")])
        return next(((one, one.subscriptions[0]) for one in found.values()), None)

    async def signal(self, place: str, kind: str) -> None:
        """Let a delivery come that tells something of the subscription itself."""
        row = await self.row(place)
        if row is None:
            return
        if kind == "gone":
            for hook in self.model.ours(place):
                del self.model.at(place)[hook.id]
        told = r.Update(
            row[1].id, cause=kind, state="failing" if kind == "gone" else None, gone=kind == "gone",
            asked="renew" if kind == "reauthorize" else "recover" if kind == "missed" else "",
        )  # fmt: skip
        await self.store.accept(
            r.NewDelivery(
                self.ids.new("dlv"), row[0].id, row[1].id, 0, "accepted", "", 200, "POST", b"[]", b"",
                updates=(told,),
            ),
            lambda _: None,
        )  # fmt: skip

    async def pause(self, place: str) -> None:
        row = await self.row(place)
        if row is not None:
            await self.store.save_subscription(attrs.evolve(row[1], state="paused"))

    async def subscribe(self, place: str, key: str, events: set[str] | None) -> None:
        """Let somebody subscribe at run time, or end that."""
        identity = (self.source.id, place, "model")
        if events is None:
            self.subscribers[place].pop(key, None)
            await self.store.unsubscribe("d", f"{place}.{key}")
            return
        self.subscribers[place][key] = events
        want = r.Want(*identity, f'"{place}"'.encode(), tuple(sorted(events)))
        one = r.Subscriber("d", f"{place}.{key}", *identity, want.params, want.events)
        await self.store.subscribe(one, *self.process({}, "nobody").rows.row_of(want), most=0)

    def happening(self, what: tuple[str, str, Any]) -> Callable[[], Any]:
        """Return what may happen at any time, also while a provider is being asked."""
        kind, place, more = what
        if kind == "signal":
            return lambda: self.signal(place, more)
        if kind == "pause":
            return lambda: self.pause(place)
        if kind == "subscribe":
            return lambda: self.subscribe(place, *more)

        async def nothing() -> None: ...

        return nothing


def changing(steps: Sequence[Step]) -> list[str]:
    return [f"{step.action} {step.identity[1]}: {step.reason}" for step in steps if step.changes]


async def converges(world: World, wanted: dict[str, set[str]]) -> None:
    """One look at everything is enough; a second changes nothing; what is there is exactly what is wanted."""
    world.time.at += 3600 if not world.model.leases else 0  # refusals are waited out
    process = world.process(wanted, owner="last")
    await process.rows.ensure()
    applied = await process.apply(grace=AT_ONCE)
    note(str([(one.step.action, one.error) for one in applied]))
    assert [one.error for one in applied if one.error] == []
    assert changing(await process.plan(grace=AT_ONCE)) == []
    writes = world.model.writes
    assert await process.apply(grace=AT_ONCE) == []
    assert world.model.writes == writes
    for place in PLACES:
        hooks = world.model.ours(place)
        current = await current_of(world, process, place)
        live = [hook for hook in hooks if hook.id not in current[1]]
        if place not in wanted:  # nothing leads there any more
            live = [hook for hook in live if not hook.url.endswith("z" * 32)]
        assert [set(hook.events) for hook in live] == ([wanted[place]] if place in wanted else [])
        for hook in live:
            assert hook.active
            assert hook.secret in current[0], "the provider signs with a key that we do not have"
        assert FOREIGN in {hook.url for hook in world.model.at(place).values()}


async def current_of(world: World, process: Reconciler, place: str) -> tuple[list[str], set[int]]:
    """Return the keys that a place's endpoint takes, and the webhooks that are kept for an old key only."""
    found = await world.store.endpoints_for([(world.source.id, place, "model")])
    endpoint = next(iter(found.values()), None)
    if endpoint is None:
        return [], set()
    keys = [VAULT.open(key.sealed).decode() for key in endpoint.keys]
    return keys, {int(key.data) for key in endpoint.keys if key.data is not None}


happenings = st.lists(
    st.tuples(st.just("want"), wants, troubles)
    | st.tuples(st.just("hand"), st.sampled_from(PLACES), hands)
    | st.tuples(st.just("ask"), st.sampled_from(PLACES), st.sampled_from(["rotate", "renew"]))
    | st.tuples(st.just("pass"), st.sampled_from([60, 1_900, int(LIFE.total_seconds()) + 1]), st.none())
    | st.tuples(st.just("use"), st.sampled_from(PLACES), st.none()),
    max_size=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds, happenings, wants)
def test_one_look_is_enough_from_any_state_and_after_any_crash(
    kind: tuple[bool, str | None], history: list[tuple[str, Any, Any]], last: dict[str, set[str]]
) -> None:
    async def run() -> None:
        world = World(returns_secret=kind[0], lease=kind[1])
        for what, one, other in history:
            if what == "want":
                world.model.troubles = list(other)
                process = world.process(one, owner="others")

                async def work(process: Reconciler = process) -> None:
                    await process.rows.ensure()
                    await process.apply(grace=AT_ONCE)

                await world.survive(work)
            elif what == "hand":
                world.by_hand(one, other)
            elif what == "ask":
                await ask(world, one, other)
            elif what == "pass":
                world.time.at += one
            else:
                await use_newest_key(world, one)
        await world.process({}, owner="others").rows.ensure()  # the others have gone
        await converges(world, last)

    anyio.run(run)


async def ask(world: World, place: str, what: str) -> None:
    found = await world.store.endpoints_for([(world.source.id, place, "model")])
    for endpoint in found.values():
        await world.store.ask(endpoint.subscriptions[0].id, what)


async def use_newest_key(world: World, place: str) -> None:
    """Let a delivery come that is signed with the newest key."""
    found = await world.store.endpoints_for([(world.source.id, place, "model")])
    at = int(world.time.at * 1000)
    for endpoint in found.values():
        (s,) = endpoint.subscriptions
        serials = frozenset(key.serial for key in endpoint.keys[:1])
        await world.store.note_activity([r.Activity(s.id, at, at, 1, 0, endpoint.id, serials)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds, st.lists(wants, min_size=2, max_size=4))
def test_instances_with_different_wants_get_the_union_and_none_undoes_the_others(
    kind: tuple[bool, str | None], instances: list[dict[str, set[str]]]
) -> None:
    async def run() -> None:
        world = World(returns_secret=kind[0], lease=kind[1])
        processes = [world.process(wanted, owner=f"i{n}") for n, wanted in enumerate(instances)]
        for process in processes:
            await process.rows.ensure()
            await process.apply()
        union = {
            place: set[str]().union(*(wanted.get(place, set()) for wanted in instances)) for place in PLACES
        }
        for process in processes:
            assert changing(await process.plan()) == []
            assert await process.apply() == []
        for place, events in union.items():
            assert [set(hook.events) for hook in world.model.ours(place)] == ([events] if events else [])

    anyio.run(run)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), troubles)
def test_a_key_is_rotated_without_a_moment_in_which_the_providers_key_is_refused(
    returns_secret: bool, trouble: list[str]
) -> None:
    async def run() -> None:
        world = World(returns_secret=returns_secret, lease=None)
        wanted = {"a": {"push"}}
        process = world.process(wanted)
        await process.rows.ensure()
        await process.apply()
        (before,) = world.model.ours("a")
        old = before.secret
        await ask(world, "a", "rotate")
        world.model.troubles = list(trouble)

        async def rotate() -> None:
            await process.apply()

        await world.survive(rotate)
        for hook in world.model.ours("a"):  # whatever died, the webhook that is kept signs with a key we have
            keys, _ = await current_of(world, process, "a")
            assert hook.secret in keys or hook.id != before.id
        await converges(world, wanted)
        keys, kept = await current_of(world, process, "a")
        assert old in keys
        assert len(keys) >= 2
        await use_newest_key(world, "a")
        world.time.at += 601
        await converges(world, wanted)
        keys, kept = await current_of(world, process, "a")
        assert (len(keys), kept) == (1, set())
        (hook,) = world.model.ours("a")
        assert hook.secret == keys[0] != old

    anyio.run(run)


# --- everything at once

signals = st.sampled_from(["gone", "reauthorize", "missed"])
meanwhile = (
    st.tuples(st.just("nothing"), st.sampled_from(PLACES), st.none())
    | st.tuples(st.just("signal"), st.sampled_from(PLACES), signals)
    | st.tuples(
        st.just("subscribe"),
        st.sampled_from(PLACES),
        st.tuples(st.sampled_from(["u1", "u2"]), st.none() | names),
    )
)
deaths = st.none() | st.tuples(st.integers(0, 25), st.booleans())
many = int(os.environ.get("TRIGFLOW_MODEL_EXAMPLES", "150"))  # a campaign has thousands


@settings(max_examples=many, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds,
    st.booleans(),
    st.lists(
        st.tuples(st.just("want"), wants, st.tuples(troubles, deaths, st.lists(meanwhile, max_size=5)))
        | st.tuples(st.just("now"), meanwhile, st.none())
        | st.tuples(st.just("ask"), st.sampled_from(PLACES), st.sampled_from(["rotate", "renew"]))
        | st.tuples(
            st.just("pass"), st.sampled_from([60, 700, 1_900, int(LIFE.total_seconds()) + 1]), st.none()
        )
        | st.tuples(st.just("pause"), st.sampled_from(PLACES), st.none())
        | st.tuples(st.just("use"), st.sampled_from(PLACES), st.none()),
        max_size=8,
    ),
    wants,
)
def test_whatever_comes_in_between_and_wherever_it_dies_nothing_is_lost_or_put_off(
    kind: tuple[bool, str | None], lists: bool, history: list[tuple[str, Any, Any]], last: dict[str, set[str]]
) -> None:
    async def run() -> None:
        world = World(returns_secret=kind[0], lease=kind[1], lists=lists)
        for what, one, other in history:
            if what == "want":
                world.model.troubles = list(other[0])
                world.model.meanwhile = [world.happening(each) for each in other[2]]
                process = world.process(one, "others", other[1])

                async def work(process: Reconciler = process) -> None:
                    await process.rows.ensure()
                    await process.apply(grace=AT_ONCE)

                if await world.survive(work):
                    await nothing_is_put_off(world, one)
            elif what == "now":
                await world.happening(one)()
            elif what == "pause":
                await world.pause(one)
            elif what == "ask":
                await ask(world, one, other)
            elif what == "pass":
                world.time.at += one
            else:
                await use_newest_key(world, one)
        await world.process({}, owner="others").rows.ensure()
        paused = [place for place in PLACES if (await state_of(world, place)) == "paused"]
        everybody = {
            place: last.get(place, set()).union(*world.subscribers[place].values())
            for place in PLACES
            if place in last or world.subscribers[place]
        }
        world.time.at += 3600 if not world.model.leases else 0
        process = world.process(last, owner="last")
        await process.rows.ensure()
        for _ in range(2):  # a look that finds something changed meanwhile leaves it to the next
            applied = await process.apply(grace=AT_ONCE)
            note(str([(one.step.action, one.error) for one in applied]))
        assert changing(await process.plan(grace=AT_ONCE)) == []
        for place in PLACES:
            keys, kept = await current_of(world, process, place)
            live = [hook for hook in world.model.ours(place) if hook.id not in kept]
            assert [set(hook.events) for hook in live] == ([everybody[place]] if place in everybody else [])
            assert all(hook.secret in keys for hook in live), "a key of the provider is refused"
            if place in paused and place in everybody:
                assert await state_of(world, place) in ("paused", "active")
            assert FOREIGN in {hook.url for hook in world.model.at(place).values()}

    anyio.run(run)


async def state_of(world: World, place: str) -> str:
    row = await world.row(place)
    return "" if row is None else row[1].state


async def nothing_is_put_off(world: World, wanted: dict[str, set[str]]) -> None:
    """What is not in line by what the store knows is looked at within an hour, be it after a refusal."""
    process = world.process(wanted, "others")
    now = world.time.at * 1000
    for step in await process.plan(offline=True, grace=AT_ONCE):
        row = await world.row(step.identity[1])
        if step.changes and step.action != "remove" and row is not None:
            limit = 3_600_000 * 1.3 if row[1].failures else 60_000
            assert row[1].next_at <= now + limit, f"{step.action} ({step.reason}) is put off"
