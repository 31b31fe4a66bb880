"""Judging a subscription that nothing comes for, with a ping first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest

from trigflow.core.ids import Ids
from trigflow.runtime import records as r
from trigflow.runtime.health.silence import Judge, Verdict
from trigflow.runtime.sealing.discreet import knowing
from trigflow.stores.memory import MemoryStore
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
ENDPOINT = r.Endpoint("end_1", "token", "logged.webhook", "active", b"{}")
WANT = r.Want("logged.webhook", "default", "logged", b"{}", ("made",), expect_every=3_600_000)


@attrs.define
class Place:
    """A place at a provider that may offer a ping."""

    offers: bool = True
    refuses: bool = False
    pings: int = 0
    quiet: int | None = None

    async def quiet_until(self) -> int | None:
        """Tell until when it wants to be left alone."""
        return self.quiet

    async def ping(self) -> bool:
        """Ask for a ping."""
        if self.refuses:
            raise ConnectionError("no answer from https://x.example.com/?token=hush-hush")
        self.pings += self.offers
        return self.offers


@attrs.define
class Case:
    """A subscription that was registered when the test begins."""

    clock: VirtualClock = attrs.field(factory=VirtualClock)
    store: MemoryStore = attrs.field(factory=lambda: MemoryStore(store_id="store"))
    place: Place = attrs.field(factory=Place)
    subscription: r.Subscription = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.subscription = r.Subscription(
            "sub_1", "end_1", *WANT.identity, b"{}", state="active", created_at=self.ms()
        )

    def ms(self) -> int:
        """Now, in unix milliseconds."""
        return int(self.clock.now() * 1000)

    async def judged(self, *, awake_since: int = 0, want: r.Want | None = WANT) -> Verdict:
        """Judge it, as a new process would."""
        judge = Judge(self.store, self.clock, Ids(self.clock.now, lambda size: b"\0" * size))
        if awake_since:
            await self.store.begin_listening(at=awake_since)
        return await judge.judge(
            ENDPOINT, self.subscription, want, provider=self.place, scrub=knowing(["hush-hush"])
        )

    async def attempts(self) -> Sequence[r.RegistrationAttempt]:
        """The log of attempts."""
        return await self.store.registrations("sub_1")


async def test_nobody_is_asked_before_something_is_overdue() -> None:
    case = Case()
    verdict = await case.judged()
    assert (verdict.silent, verdict.look_at) == (False, case.ms() + 3_660_000)
    assert await case.judged(want=None) == Verdict()
    assert case.place.pings == 0


async def test_a_ping_is_asked_for_once_and_the_verdict_waits_for_it_across_restarts() -> None:
    case = Case()
    case.clock.advance(2 * HOUR)
    verdict = await case.judged()
    assert (verdict.silent, case.place.pings) == (False, 1)
    assert verdict.look_at is not None
    assert verdict.look_at >= case.ms() + 120_000
    case.clock.advance(timedelta(minutes=1))
    assert await case.judged() == verdict
    assert case.place.pings == 1
    case.clock.advance(timedelta(minutes=3))
    silent = await case.judged()
    assert silent.silent
    assert silent.cause.endswith("nor did the ping that was asked for")
    assert case.place.pings == 1


async def test_a_ping_that_came_ends_the_silence_and_the_next_silence_has_its_own() -> None:
    case = Case()
    case.clock.advance(2 * HOUR)
    await case.judged()
    case.subscription = attrs.evolve(case.subscription, last_at=case.ms() + 1000)
    case.clock.advance(timedelta(minutes=3))
    assert not (await case.judged()).silent
    case.clock.advance(3 * HOUR)
    assert not (await case.judged()).silent
    assert case.place.pings == 2


async def test_who_wants_to_be_left_alone_is_pinged_afterwards_and_nothing_is_said_till_then() -> None:
    case = Case()
    case.clock.advance(2 * HOUR)
    case.place.quiet = case.ms() + 60_000
    assert await case.judged() == Verdict(look_at=case.ms() + 60_000)
    assert case.place.pings == 0
    case.place.quiet = None
    case.clock.advance(timedelta(minutes=2))
    assert not (await case.judged()).silent
    assert case.place.pings == 1


async def test_without_a_ping_silence_is_silence() -> None:
    case = Case(place=Place(offers=False))
    case.clock.advance(2 * HOUR)
    assert (await case.judged()).cause == "nothing came within 1h, as expect_every= says it must"
    assert not await case.attempts()


async def test_a_ping_that_is_refused_is_told_without_its_secrets() -> None:
    case = Case(place=Place(refuses=True))
    case.clock.advance(2 * HOUR)
    verdict = await case.judged()
    assert verdict.silent
    assert verdict.cause.endswith("a ping could not be asked for")
    (attempt,) = await case.attempts()
    assert (attempt.action, attempt.outcome) == ("ping", "refused")
    assert "no answer" in attempt.error
    assert "hush-hush" not in attempt.error


async def test_nothing_could_come_while_nobody_listened() -> None:
    case = Case(place=Place(offers=False))
    case.clock.advance(10 * HOUR)
    verdict = await case.judged(awake_since=case.ms())
    assert (verdict.silent, verdict.look_at) == (False, case.ms() + 3_660_000)


@pytest.mark.parametrize("state", ["pending", "paused", "failing", "expired", "disabled", "removed"])
async def test_what_takes_nothing_is_not_judged(state: r.SubscriptionState) -> None:
    case = Case()
    case.subscription = attrs.evolve(case.subscription, state=state)
    case.clock.advance(10 * HOUR)
    assert await case.judged() == Verdict()


async def test_a_silent_one_is_not_asked_for_pings_again_and_again() -> None:
    case = Case()
    case.subscription = attrs.evolve(case.subscription, state="silent")
    case.clock.advance(10 * HOUR)
    assert (await case.judged()).silent
    assert case.place.pings == 0
