"""Judging a subscription that nothing comes for, with a ping first where the provider offers one.

    long silence ─ no ping ─────────────────────────────────────────> silent
         └─ ping asked for ─ something came within ARRIVES ─> not silent
                                    └─ nothing ──────────────────────> silent

That a ping was asked for stands in the log of attempts: a restart, or another process,
goes on from there. Whatever it brings is noted as activity, which ends the silence.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from trigflow.core.ids import Ids
from trigflow.core.silence import WRITTEN_LATE, Quiet, silent_since
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.ports import Clock, Registry
from trigflow.runtime.sealing.discreet import Scrubber, problem_of

ARRIVES = 120_000 + WRITTEN_LATE  # milliseconds that a ping gets to arrive, and to be written down
PING = "ping"
TAKING: tuple[r.SubscriptionState, ...] = ("active", "silent")  # the others say why nothing comes


class Pinging(Protocol):
    """A subscription's place at its provider."""

    async def quiet_until(self) -> int | None:
        """Tell until when (unix ms) it wants to be left alone; None where it may be asked."""
        ...

    async def ping(self) -> bool:
        """Make the provider send something now; raises where it refuses, False where it offers nothing."""
        ...


class Kept(Registry, Protocol):
    """The store, as judging needs it."""

    async def listened(self) -> r.Listened | None:
        """Tell since when and until when somebody took deliveries."""
        ...


class Verdict(msgspec.Struct, frozen=True):
    """What became of a judgement.

    silent: it must be called silent, for this cause. look_at: when to judge again (unix ms);
        None where nothing tells, or what comes will end the silence by itself.
    """

    silent: bool = False
    cause: str = ""
    look_at: int | None = None


class Judge:
    """Judges subscriptions of one store."""

    def __init__(self, store: Kept, clock: Clock, ids: Ids) -> None:
        """Work with the parts of one open app."""
        self._store, self._clock, self._ids = store, clock, ids

    async def judge(
        self,
        endpoint: r.Endpoint,
        subscription: r.Subscription,
        want: r.Want | None,
        *,
        provider: Pinging | None,
        scrub: Scrubber,
    ) -> Verdict:
        """Say whether a subscription is silent; asks for a ping first.

        provider: None where it can't be asked. scrub: takes secrets out of what it raises.
        """
        if subscription.state not in TAKING or endpoint.state == "removed":
            return Verdict()
        quiet = await self._quiet(subscription, want)
        if quiet.since is None:
            return Verdict(look_at=quiet.look_at)
        if provider is None or subscription.state == "silent":
            return Verdict(silent=True, cause=quiet.because)
        return await self._pinged(subscription, quiet, quiet.since, provider, scrub)

    async def _quiet(self, s: r.Subscription, want: r.Want | None) -> Quiet:
        listened = await self._store.listened()
        return silent_since(
            now=self._ms(),
            last_at=s.last_at,
            # After an outage, which another process may have seen, nothing could come before its end.
            listening_since=max(s.created_at, 0 if listened is None else listened.since),
            seen=s.seen,
            usual_gap=s.usual_gap,
            expect_every=None if want is None else want.expect_every,
        )

    async def _pinged(
        self, s: r.Subscription, quiet: Quiet, since: int, provider: Pinging, scrub: Scrubber
    ) -> Verdict:
        """Judge once a ping had its time to arrive; one of before the silence tells nothing."""
        attempts = await self._store.registrations(s.id)
        before = next((one for one in attempts if one.action == PING and one.at >= since), None)
        if before is None:
            until = await provider.quiet_until()
            if until is not None:  # that it is not asked says nothing of what it would send
                return Verdict(look_at=until)
            outcome = await self._ping(s, quiet, provider, scrub)
            if outcome == "asked":
                return Verdict(look_at=self._ms() + ARRIVES)
            also = "; a ping could not be asked for" if outcome == "refused" else ""
            return Verdict(silent=True, cause=f"{quiet.because}{also}")
        if self._ms() < before.at + ARRIVES:
            return Verdict(look_at=before.at + ARRIVES)
        unanswered = "" if before.outcome != "done" else "; nor did the ping that was asked for"
        return Verdict(silent=True, cause=f"{quiet.because}{unanswered}")

    async def _ping(
        self, s: r.Subscription, quiet: Quiet, provider: Pinging, scrub: Scrubber
    ) -> Literal["asked", "refused", "none"]:
        started = self._ms()
        called = await attempt_async(provider.ping)
        if not isinstance(called, Raised) and not called.value:
            return "none"
        error = problem_of(called.error, scrub) if isinstance(called, Raised) else ""
        now = self._ms()
        entry = r.RegistrationAttempt(
            self._ids.new("reg"), s.id, PING, quiet.because, "refused" if error else "done", error,
            now, now - started,
        )  # fmt: skip
        await self._store.log_registration(entry)
        return "refused" if error else "asked"

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
