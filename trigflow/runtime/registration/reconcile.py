"""The path of a registration: what jobs want, what providers have, and the steps between.

    rows that are due ─> claim ─> list at the provider ─> plan (pure) ─> steps: hook, then commit
                                                              refused: failing, asked again later <─┘

A row is committed before a provider is called: some call back inside the call. One
claim per subscription, none on the store. Whatever crashes in between, the next look
finds it: at the provider by our mark, in the store by the row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import attrs

from trigflow.core.asked import no_more_asked
from trigflow.core.plan import GRACE, Identity, Means, Step, upkeep_at
from trigflow.runtime import records as r
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.claims import Claims
from trigflow.runtime.registration.planning import Planner, Row
from trigflow.runtime.registration.provider import Found
from trigflow.runtime.registration.rows import Rows, known_of
from trigflow.runtime.registration.steps import Applied, Steps
from trigflow.runtime.registration.timely import Unanswered
from trigflow.runtime.registration.upkeep import Upkeep

SOONEST = 1_000  # milliseconds between two looks at one subscription
ELSEWHERE = 60_000  # until it is asked again whether another process sees to what this one can't
NO_REMOVING = "not removed: that was not allowed"
MOST_ROUNDS = 3  # plans that one look carries out


class Reconciler(Planner):
    """Brings providers in line with what jobs want."""

    def __init__(
        self,
        rows: Rows,
        steps: Steps,
        sources: Mapping[str, AnySource],
        store: Store,
        clients: Clients,
        routes: Routes,
        clock: Clock,
        *,
        upkeep: Upkeep,
        chance: Callable[[], float],
        check_every: timedelta,
        owner: str,
    ) -> None:
        """Work for one open app. check_every: how often a provider is asked what it has."""
        super().__init__(rows, steps, sources, store, clients, clock)
        self._routes, self._chance, self._upkeep = routes, chance, upkeep
        self.check_every: timedelta = check_every
        self._claims = Claims(store, clock, owner)

    async def apply(
        self, *, grace: timedelta = GRACE, only: str | None = None, may_remove: bool = True
    ) -> Sequence[Applied]:
        """Do for all subscriptions what has to be done now; one that fails does not stop the others."""
        applied: list[Applied] = []
        async for page in self.pages(only):
            for _, s in page:
                applied += await self.look(s.identity, grace=grace, may_remove=may_remove)
        return applied

    async def look(
        self, identity: Identity, *, grace: timedelta = GRACE, may_remove: bool = True
    ) -> Sequence[Applied]:
        """Do for one subscription what has to be done now, and say when to look again."""
        async with self.claimed(identity) as row:
            return () if row is None else await self._look_claimed(row, grace, may_remove=may_remove)

    async def remove(self, identity: Identity, reason: str) -> Applied | None:
        """Remove one at its provider now, whoever wants it; None where it is not there, or another has it."""
        async with self.claimed(identity) as row:
            if row is None:
                return None
            await self._clients.load({row[1].connection})
            step = Step("remove", identity, reason, orphaned=row[1].registered)
            done = await self._steps.do(step, *row, None, self.means(identity, row[1]))
            if not done.error:
                await self._upkeep.alerts.forget(row[1])
            return done

    async def sweep(self, identity: Identity) -> Applied | None:
        """Remove the strays of one's place at its provider; None where there are none."""
        async with self.claimed(identity) as row:
            if row is None:
                return None
            await self._clients.load({row[1].connection})
            found = await self._steps.find(*row)
            if isinstance(found, Unanswered) and found.quiet:
                step = Step("sweep", identity, "what nobody knows")
                return await self._steps.left_alone(row[1], step, found.told)
            if not isinstance(found, Found) or not found.strays:
                return None
            step = Step("sweep", identity, f"{len(found.strays)} that nobody knows")
            return await self._steps.do(step, *row, found, self.means(identity, row[1]))

    @asynccontextmanager
    async def claimed(self, identity: Identity) -> AsyncGenerator[Row | None, None]:
        """Hold the right to change a subscription; yields it as it is now.

        None where it is not there, or somebody else has the right.
        """
        row = await self.find(identity)
        owner = None if row is None else await self._claims.take(row[1].id)
        if row is None or owner is None:
            yield None
            return
        try:
            now = await self.find(identity)  # anew: another process may have worked until now
            # Removed and made anew meanwhile: that one's right is not ours.
            yield now if now is not None and now[1].id == row[1].id else None
        finally:
            await self._claims.give_back(row[1].id, owner)
            self._routes.forget(row[0].token)

    async def _look_claimed(self, row: Row, grace: timedelta, *, may_remove: bool) -> Sequence[Applied]:
        await self._clients.load({row[1].connection})
        want = await self.want(row[1].identity, grace)
        steps, found = await self.planned(*row, want)
        if isinstance(found, Unanswered):
            if found.quiet:
                return await self._leave_alone(row[1], steps, found)
            if want is not None and not any(step.changes for step in steps):
                return await self._wait_for_answer(row[1], steps, found)
            found = None
        applied: list[Applied] = []
        left: Row | None = row
        for _ in range(MOST_ROUNDS):
            done = await self._carry_out(row[1].identity, steps, found, grace, may_remove=may_remove)
            applied += done
            left = await self.find(row[1].identity)
            if left is None or any(one.error or one.left_out for one in done):
                break
            want = await self.want(row[1].identity, grace)  # somebody may want it since
            # What a step has made due, such as stopping what was replaced; nobody is asked again.
            steps, found = (await self.planned(*left, want, offline=True))[0], None
            if not any(step.changes and step.action != "manual" for step in steps):
                break
        await self._conclude(row[1], left, want, applied)
        return applied

    async def _leave_alone(
        self, s: r.Subscription, steps: Sequence[Step], quiet: Unanswered
    ) -> Sequence[Applied]:
        """Try nothing of a provider that wants to be left alone, and say so even where nothing is due."""
        return [
            await self._steps.left_alone(s, step, quiet.told) if step.changes else Applied(step, quiet.told)
            for step in steps
        ]

    async def _wait_for_answer(
        self, s: r.Subscription, steps: Sequence[Step], silent: Unanswered
    ) -> Sequence[Applied]:
        """Keep that a provider did not say whether what seems to be in line is still there."""
        if await self._claims.holds(s.id):
            await self._upkeep.tell_of_failure(await self._steps.unanswered(s, silent))
        return [Applied(step, silent.told) for step in steps]

    async def _conclude(
        self, was: r.Subscription, left: Row | None, want: r.Want | None, applied: Sequence[Applied]
    ) -> None:
        """Look after what a look has left, while it is still ours to look after."""
        if left is None:
            await self._upkeep.alerts.forget(was)
        elif not await self._claims.holds(left[1].id):
            return
        elif any(one.error and one.step.action != "manual" for one in applied):
            await self._upkeep.tell_of_failure(left[1])
        else:
            await self._settle(*left, want, was.next_at)

    async def _carry_out(
        self,
        identity: Identity,
        steps: Sequence[Step],
        found: Found | None,
        grace: timedelta,
        *,
        may_remove: bool,
    ) -> Sequence[Applied]:
        """Do steps in their order, up to the first that fails."""
        applied: list[Applied] = []
        for step in steps:
            row = await self.find(identity) if step.changes else None
            if row is None:
                continue
            if step.action == "manual":
                applied.append(Applied(step, step.reason))
            elif step.action in ("remove", "sweep") and not may_remove:
                applied.append(Applied(step, left_out=NO_REMOVING))
            elif not await self._claims.holds(row[1].id):
                break  # another process sees to it
            elif step.action == "remove" and await self.want(identity, grace) is not None:
                break  # somebody came while the provider was asked
            else:
                applied.append(await self._steps.do(step, *row, found, self.means(identity, row[1])))
                found = None  # it has changed: the next step asks anew
                if applied[-1].error:
                    break
        return applied

    async def _settle(
        self, endpoint: r.Endpoint, s: r.Subscription, want: r.Want | None, next_at: int
    ) -> None:
        """Look after what is in line, and say when to look again: at once where a signal came meanwhile.

        next_at: as it was when the look began.
        """
        means, now = self.means(s.identity, s), self._ms()
        times = [now + int(self.check_every.total_seconds() * 1000 * (0.8 + 0.4 * self._chance()))]
        if want is not None and means.automatic and not means.covered:
            times += upkeep_at(known_of(endpoint, s), means, now=now, chance=self._chance())
        if want is not None and s.source not in self._sources:  # another process's, which may have to hurry
            times.append(now + int(ELSEWHERE * (0.5 + self._chance())))
        s = await self._in_line(endpoint, s, means)
        if s.state != "paused":  # what a process kept that had not yet read that it was resumed
            await self._store.release_held(s.id)
        pinging, scrub = self._steps.pinging(endpoint, s), self._steps.discretion(endpoint, s.connection)
        quiet = await self._upkeep.look_after(endpoint, s, want, provider=pinging, scrub=scrub)
        times += [] if quiet is None else [quiet]
        await self._store.look_again(s.id, at=max(min(times), now + SOONEST), was=next_at)
        await self._upkeep.recover_if_asked(endpoint, s)

    async def _in_line(self, endpoint: r.Endpoint, s: r.Subscription, means: Means) -> r.Subscription:
        """Keep that nothing is wrong any more, and that nobody asks for what can't be done."""
        asked = s.asked
        if means.automatic:
            asked = asked if means.renews_after is not None else no_more_asked(asked, "renew")
            asked = asked if means.rotation != "no" else no_more_asked(asked, "rotate")
        fine = attrs.evolve(s, asked=asked)
        if known_of(endpoint, s).finished:
            is_wrong = s.state in r.FAILS
            fine = attrs.evolve(fine, failures=0)
            fine = attrs.evolve(fine, state="active", cause="") if is_wrong else fine
        if fine != s:
            await self._store.save_subscription(attrs.evolve(fine, updated_at=self._ms()), was=s)
        return fine

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
