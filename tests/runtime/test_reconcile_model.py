"""Whatever a provider has and wherever processes die: one look brings it in line, a second finds nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any, cast

import anyio
import attrs
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.runtime.providers import FOREIGN, LIFE, AnySource, Client, Killed, Model, OneClient, source_of
from trigflow.core.ids import Ids
from trigflow.core.plan import Step
from trigflow.runtime import records as r
from trigflow.runtime.reconcile import CLAIM, Reconciler
from trigflow.runtime.routes import Routes
from trigflow.runtime.rows import Rows
from trigflow.runtime.steps import Steps
from trigflow.runtime.vault import Vault
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


class World:
    """A provider, one store, and processes that come and go."""

    def __init__(self, *, returns_secret: bool, lease: str | None) -> None:
        self.time = Time()
        self.model = Model(self.time.now, returns_secret, leases=lease is not None, recalls=lease == "recall")
        self.source: AnySource = source_of(returns_secret=returns_secret, lease=lease)
        self.store = MemoryStore(store_id="abcdefgh")
        self.ids = Ids(self.time.now, lambda n: Random(0).randbytes(n))
        self._tokens, self._owners = count(), count()
        for place in PLACES:
            self.model.add(place, FOREIGN, ["push"])

    def process(self, wanted: dict[str, set[str]], owner: str | None = None) -> Reconciler:
        """Start a process with these wants; nothing of an earlier one is remembered."""
        sources: dict[str, Any] = {self.source.id: self.source}
        routes = Routes(sources, self.store, VAULT, self.time)
        clients = cast("Any", OneClient(Client(self.model)))
        told = [
            r.Want(self.source.id, place, "model", f'"{place}"'.encode(), tuple(sorted(events)))
            for place, events in wanted.items()
        ]
        owner = owner or f"ins{next(self._owners)}"
        rows = Rows(
            told, sources, self.store, routes, VAULT, self.time, self.ids, token=self._token, owner=owner
        )
        steps = Steps(
            sources, self.store, clients, routes, VAULT, self.time, self.ids,
            chance=lambda: 0.5, base_url=URL, mark=MARK,
        )  # fmt: skip
        return Reconciler(
            rows, steps, sources, self.store, clients, routes, self.time,
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

    async def survive(self, work: Callable[[], Any]) -> None:
        """Let a process work until it ends or dies; a dead one's claims run out."""
        try:
            await work()
        except Killed:
            self.time.at += CLAIM.total_seconds() + 1
        self.model.troubles.clear()


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
