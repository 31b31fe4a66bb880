"""What comes while a provider is being asked is neither lost nor undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.runtime.registration.test_reconcile_model import AT_ONCE, World, ask, changing
from trigflow.core.plan import Step
from trigflow.runtime import records as r
from trigflow.runtime.registration.claims import CLAIM, Claims
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.timely import SLOWEST

pytestmark = pytest.mark.anyio
A = ("model.webhook", "a", "model")
WANTED = {"a": {"push"}}


async def row(world: World) -> tuple[r.Endpoint, r.Subscription]:
    (endpoint,) = (await world.store.endpoints_for([A])).values()
    return endpoint, endpoint.subscriptions[0]


async def registered(world: World, wanted: dict[str, set[str]] = WANTED) -> Reconciler:
    process = world.process(wanted)
    await process.rows.ensure()
    await process.apply(grace=AT_ONCE)
    return process


def signal(world: World, **update: Any) -> Callable[[], Awaitable[None]]:
    """Let a delivery come that tells something of the subscription itself."""

    async def come() -> None:
        endpoint, s = await row(world)
        told = r.Update(s.id, cause="told by the provider", **update)
        new = r.NewDelivery(
            f"dlv{world.time.at}{s.next_at}", endpoint.id, s.id, 0, "accepted", "", 200, "POST", b"[]", b"",
            updates=(told,),
        )  # fmt: skip
        await world.store.accept(new, lambda _: None)

    return come


def kinds() -> list[World]:
    return [
        World(returns_secret=returns, lease=lease, lists=lists)
        for returns in (False, True)
        for lease in (None, "extend")
        for lists in (False, True)
    ]


@pytest.mark.parametrize("number", range(8))
async def test_a_signal_that_comes_during_a_look_is_looked_at_next(number: int) -> None:
    world = kinds()[number]
    await registered(world)
    process = world.process({"a": {"push", "star"}})
    await process.rows.ensure()
    world.model.meanwhile = [signal(world, state="failing", gone=True, asked="renew")]
    await process.apply(grace=AT_ONCE)
    _, s = await row(world)
    assert s.next_at < 0, "nobody looks at it"
    await process.apply(grace=AT_ONCE)
    _, s = await row(world)
    assert (s.state, s.asked) == ("active", ""), "what can be done is done, and what can't be is forgotten"


async def test_a_provider_that_says_it_removed_a_webhook_is_believed_though_it_was_just_changed() -> None:
    world = World(returns_secret=False, lease=None, lists=False)
    await registered(world)
    process = world.process({"a": {"push", "star"}})
    await process.rows.ensure()

    async def it_goes() -> None:
        for hook in world.model.ours("a"):
            del world.model.at("a")[hook.id]
        await signal(world, state="failing", gone=True)()

    world.model.meanwhile = [it_goes]
    await process.apply(grace=AT_ONCE)
    await process.apply(grace=AT_ONCE)
    assert [set(hook.events) for hook in world.model.ours("a")] == [{"push", "star"}]


async def test_a_lease_that_a_handshake_told_inside_the_call_is_kept() -> None:
    world = World(returns_secret=False, lease=None)
    process = world.process(WANTED)
    await process.rows.ensure()

    async def hub_asks_back() -> None:
        endpoint, _ = await row(world)
        await world.store.set_lease(endpoint.id, at=5, until=9)

    async def nothing() -> None: ...

    world.model.meanwhile = [nothing, hub_asks_back]
    await process.apply(grace=AT_ONCE)
    _, s = await row(world)
    assert (s.state, s.leased_at, s.lease_until) == ("active", 5, 9)


async def test_who_subscribes_during_a_look_is_looked_at_next() -> None:
    world = World(returns_secret=False, lease=None)
    process = world.process(WANTED)
    await process.rows.ensure()

    async def subscribe() -> None:
        want = r.Want(*A, b'"a"', ("star",))
        one = r.Subscriber("d", "k", *A, b'"a"', ("star",))
        await world.store.subscribe(one, *process.rows.row_of(want), most=0)

    async def nothing() -> None: ...

    world.model.meanwhile = [nothing, subscribe]
    await process.look(A, grace=AT_ONCE)
    at = await world.store.next_look(now=int(world.time.at * 1000))
    if changing(await process.plan()):
        assert at is not None
        assert at < 0


async def test_what_a_person_paused_stays_paused_whatever_the_provider_says() -> None:
    world = World(returns_secret=False, lease=None)
    process = await registered(world)
    async with process.claimed(A) as held:
        assert held is not None
        await world.store.save_subscription(attrs.evolve(held[1], state="paused"))
    await signal(world, state="failing", gone=True)()
    await process.apply(grace=AT_ONCE)
    assert (await row(world))[1].state == "paused"


async def test_one_question_does_not_hide_another() -> None:
    world = World(returns_secret=False, lease="extend")
    process = await registered(world)
    for what in ("rotate", "renew"):
        await ask(world, "a", what)
    done = [one.step.action for one in await process.apply(grace=AT_ONCE)]
    assert sorted(done) == ["renew", "rotate"]
    assert (await row(world))[1].asked == ""


async def test_what_was_removed_meanwhile_is_not_brought_back_to_half_a_life() -> None:
    world = World(returns_secret=False, lease=None)
    process = world.process(WANTED)
    await process.rows.ensure()

    async def removed() -> None:
        await world.store.remove_subscription((await row(world))[1].id, at=1)

    async def nothing() -> None: ...

    world.model.meanwhile = [nothing, removed]
    await process.apply(grace=AT_ONCE)
    await process.rows.ensure()
    await process.apply(grace=AT_ONCE)
    assert (await row(world))[1].state == "active"
    assert changing(await process.plan()) == []


async def test_what_somebody_wants_since_the_look_began_is_not_removed() -> None:
    world = World(returns_secret=False, lease=None)
    await registered(world)
    gone = world.process({}, owner="ins0")
    await gone.rows.ensure()
    (before,) = world.model.ours("a")

    async def another_starts() -> None:
        await world.process(WANTED, owner="new").rows.ensure()

    world.model.meanwhile = [another_starts]
    await gone.apply(grace=AT_ONCE)
    assert [hook.id for hook in world.model.ours("a")] == [before.id]


# --- upkeep


async def test_a_lease_is_renewed_though_new_events_are_refused() -> None:
    world = World(returns_secret=False, lease="extend")
    await registered(world)
    (hook,) = world.model.ours("a")
    ends = hook.expires_at
    world.time.at += 1_900
    process = world.process({"a": {"push", "star"}})
    await process.rows.ensure()
    world.model.refuses = "update"
    await process.apply(grace=AT_ONCE)
    (hook,) = world.model.ours("a")
    assert hook.expires_at is not None
    assert ends is not None
    assert hook.expires_at > ends
    assert (await row(world))[1].registered == ("push",), "what was refused counts as registered"
    assert (await row(world))[1].state == "failing"


async def test_what_can_not_be_done_now_is_not_looked_at_every_second() -> None:
    world = World(returns_secret=False, lease="extend")
    process = await registered(world)
    process._sources[A[0]].api = None  # pyright: ignore - as if its provider had none any more
    _, s = await row(world)
    past = int(world.time.at * 1000) - 1
    await world.store.save_subscription(attrs.evolve(s, lease_until=past, leased_at=past - 10))
    await process.look(A, grace=AT_ONCE)
    at = await world.store.next_look(now=int(world.time.at * 1000))
    assert at is not None
    assert at > world.time.at * 1000 + 30_000


async def test_a_provider_whose_clock_is_behind_is_not_asked_for_a_new_lease_each_second() -> None:
    world = World(returns_secret=False, lease="extend")
    world.model.life = timedelta(0)
    process = world.process(WANTED)
    await process.rows.ensure()
    await process.look(A, grace=AT_ONCE)
    assert world.model.writes == 1


async def test_a_provider_that_does_not_say_what_it_has_for_long_is_not_taken_for_healthy() -> None:
    world = World(returns_secret=False, lease=None)
    process = await registered(world)
    for _ in range(3):
        world.model.troubles = ["refuse"]
        await process.look(A, grace=AT_ONCE)
        at = await world.store.next_look(now=int(world.time.at * 1000))
        assert at is not None
        assert at < (world.time.at + 120) * 1000, "asked again sooner than at the next check"
        world.time.at = at / 1000
    _, s = await row(world)
    assert (s.state, s.failures) == ("failing", 3)
    assert [one.action for one in await world.store.registrations(s.id)][:3] == ["check"] * 3
    world.model.troubles.clear()
    await process.look(A, grace=AT_ONCE)
    _, s = await row(world)
    assert (s.state, s.failures, s.cause) == ("active", 0, "")


async def test_what_only_another_process_can_see_to_is_left_to_it_soon() -> None:
    world = World(returns_secret=False, lease=None)
    able = world.process(WANTED)
    await able.rows.ensure()
    unable = world.process({})
    unable._sources = {}  # pyright: ignore - an older release, without the integration
    await unable.look(A)
    at = await world.store.next_look(now=int(world.time.at * 1000))
    assert at is not None
    assert at <= (world.time.at + 90) * 1000


async def test_a_webhook_that_was_replaced_goes_with_the_one_that_took_its_place() -> None:
    world = World(returns_secret=False, lease="replace", lists=False)
    process = await registered(world)
    world.model.makes_new = True
    await ask(world, "a", "renew")
    await process._steps.do(  # pyright: ignore - one step, so that the old one still stands
        Step("renew", A, "asked for", ("push",)), *(await row(world)), None, process.means(A)
    )
    assert len(world.model.ours("a")) == 2
    gone = world.process({}, owner="ins0")
    await gone.rows.ensure()
    await gone.apply(grace=AT_ONCE)
    assert world.model.ours("a") == []


async def test_a_process_that_lost_its_claim_does_not_go_on() -> None:
    world = World(returns_secret=False, lease=None)
    process = world.process(WANTED)
    await process.rows.ensure()

    async def frozen_and_another_has_it() -> None:
        world.time.at += CLAIM.total_seconds() + 1
        _, s = await row(world)
        now = int(world.time.at * 1000)
        assert await world.store.claim_subscription(s.id, "another", now=now, until=now + 60_000)

    world.model.meanwhile = [frozen_and_another_has_it]
    assert list(await process.look(A, grace=AT_ONCE)) == []
    assert world.model.ours("a") == []


async def test_a_task_that_was_frozen_with_its_process_keeps_others_of_it_out_until_it_ends() -> None:
    world = World(returns_secret=False, lease=None)
    await registered(world)
    claims = Claims(world.store, world.time, "ins")
    _, s = await row(world)
    owner = await claims.take(s.id)
    assert owner is not None
    world.time.at += CLAIM.total_seconds() + 1  # the machine slept
    assert await claims.take(s.id) is None, "both would believe that they have it"
    assert await claims.holds(s.id)
    await claims.give_back(s.id, owner)
    assert await claims.take(s.id) is not None


def test_a_step_ends_before_the_claim_does() -> None:
    assert CLAIM.total_seconds() > SLOWEST * 1.2
