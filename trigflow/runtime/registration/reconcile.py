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
from functools import partial

import attrs
from msgspec.structs import replace

from trigflow.core.asked import no_more_asked
from trigflow.core.local import is_local
from trigflow.core.plan import GRACE, Identity, Means, Step, Wanted, plan, upkeep_at
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.claims import Claims
from trigflow.runtime.registration.provider import Found, problem_of_url, rotation_of
from trigflow.runtime.registration.rows import Rows, known_of
from trigflow.runtime.registration.steps import Applied, Steps
from trigflow.runtime.registration.timely import Unanswered
from trigflow.runtime.registration.upkeep import Upkeep
from trigflow.sources.registration import Secret

SOONEST = 1_000  # milliseconds between two looks at one subscription
ELSEWHERE = 60_000  # until it is asked again whether another process sees to what this one can't
NO_REMOVING = "not removed: that was not allowed"
MOST_ROUNDS = 3  # plans that one look carries out
PAGE = 200  # subscriptions that are planned for at a time


class Reconciler:
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
        self.rows: Rows = rows
        self._steps, self._sources, self._store, self._clients = steps, sources, store, clients
        self._routes, self._clock, self._chance, self._upkeep = routes, clock, chance, upkeep
        self.check_every: timedelta = check_every
        self._claims = Claims(store, clock, owner)
        self.url_of: Callable[[r.Endpoint], str] = steps.url_of

    async def plan(
        self, *, offline: bool = False, grace: timedelta = GRACE, only: str | None = None
    ) -> Sequence[Step]:
        """Say what would be done. Providers are asked what they have, unless offline; nothing is changed.

        only: a subscription's key or id; the others are left out.
        """
        steps = self.steps(offline=offline, grace=grace, only=only)
        return sorted([step async for step in steps], key=lambda step: step.identity)

    async def steps(
        self, *, offline: bool = False, grace: timedelta = GRACE, only: str | None = None
    ) -> AsyncGenerator[Step, None]:
        """Say one after another, in no order, what `plan` says at once: there may be very many."""
        missing = {want.identity: want for want in self.rows.wants if only in (None, want.key)}
        async for page in self._pages(only):
            wanted = await self.rows.wanted([s.identity for _, s in page], grace)
            await self._clients.load({s.connection for _, s in page})
            for endpoint, s in page:
                missing.pop(s.identity, None)
                planned, _ = await self._planned(endpoint, s, wanted.get(s.identity), offline=offline)
                for step in planned:
                    yield step
        await self._clients.load({want.connection for want in missing.values()})
        for want in missing.values():
            for step in plan(
                Wanted(want.identity, want.events), None, None, self.means(want.identity), now=self._ms()
            ):
                yield step

    async def _pages(
        self, only: str | None
    ) -> AsyncGenerator[Sequence[tuple[r.Endpoint, r.Subscription]], None]:
        after, which = "", r.Which(called=only)
        while page := await self._store.page(after=after, limit=PAGE, which=which):
            pairs = [(endpoint, s) for endpoint in page for s in endpoint.subscriptions]
            after = pairs[-1][1].id
            yield pairs

    async def _planned(
        self, endpoint: r.Endpoint, s: r.Subscription, want: r.Want | None, *, offline: bool = False
    ) -> tuple[Sequence[Step], Found | Unanswered | None]:
        means = self.means(s.identity, s)
        found: Found | Unanswered | None = None
        if not offline and means.automatic and not means.covered:
            found = await self._steps.find(endpoint, s)
        listed = found.listed(self.url_of(endpoint)) if isinstance(found, Found) else None
        wanted = None if want is None else Wanted(s.identity, want.events)
        told = found.told if isinstance(found, Unanswered) else ""
        steps = plan(wanted, known_of(endpoint, s), listed, means, now=self._ms())
        return [replace(step, unanswered=told) for step in steps], found

    def means(self, identity: Identity, s: r.Subscription | None = None) -> Means:
        """Tell what can be done for a subscription."""
        source = self._sources.get(identity[0])
        if source is None:
            return Means(automatic=False, why_not="this app does not have its source")
        if s is not None and s.account:
            return Means(covered=True)
        if not source.registers_itself:
            return Means(automatic=False, why_not=source.instructions or "its provider has no API for it")
        if self._clients.credentials(identity[2]) is None:
            return Means(automatic=False, why_not=self._clients.missing(identity[2]))
        return Means(
            keeps_secret=source.secret is not Secret.RETURNED,
            renews_after=None if source.lease is None else source.lease.after,
            rotation=rotation_of(source),
            retries_for=int(source.retries_for.total_seconds() * 1000),
        )

    async def means_for(self, s: r.Subscription) -> Means:
        """Tell what can be done for a subscription, with the credentials that are kept for it."""
        await self._clients.load({s.connection})
        return self.means(s.identity, s)

    # --- doing it

    async def apply(
        self, *, grace: timedelta = GRACE, only: str | None = None, may_remove: bool = True
    ) -> Sequence[Applied]:
        """Do for all subscriptions what has to be done now; one that fails does not stop the others."""
        applied: list[Applied] = []
        async for page in self._pages(only):
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
            return await self._steps.do(step, *row, None, self.means(identity, row[1]))

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

    async def places(
        self, only: str | None = None
    ) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription, Found | Unanswered | None], None]:
        """Ask the provider of each subscription what it has; None where it can't say.

        What takes a person is left out. only: a subscription's key or id; the others are left out.
        """
        async for page in self._pages(only):
            await self._clients.load({s.connection for _, s in page})
            for endpoint, s in page:
                means = self.means(s.identity, s)
                if means.automatic and not means.covered:
                    found = await self._steps.find(endpoint, s)
                    yield endpoint, s, found

    async def unreachable(self) -> str:
        """Say why no provider can reach this app; empty where one can, or where none would be called."""
        url = self._steps.base_url
        if url is not None and not is_local(url):
            return ""
        told = ""
        wants = {want.connection.partition("/")[0]: want for want in self.rows.wants}
        await self._clients.load({want.connection for want in wants.values()})
        for want in wants.values():
            client = await attempt_async(partial(self._clients.get, want.connection))
            if isinstance(client, Raised) or not self.means(want.identity).automatic:
                continue
            told = problem_of_url(url or "", client.value)
            if not told:
                return ""
        return told

    @asynccontextmanager
    async def claimed(
        self, identity: Identity
    ) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription] | None, None]:
        """Hold the right to change a subscription; yields it as it is now.

        None where it is not there, or somebody else has the right.
        """
        row = await self._find(identity)
        owner = None if row is None else await self._claims.take(row[1].id)
        if row is None or owner is None:
            yield None
            return
        try:
            yield await self._find(identity)  # anew: another process may have worked until now
        finally:
            await self._claims.give_back(row[1].id, owner)
            self._routes.forget(row[0].token)

    async def _look_claimed(
        self, row: tuple[r.Endpoint, r.Subscription], grace: timedelta, *, may_remove: bool
    ) -> Sequence[Applied]:
        identity = row[1].identity
        await self._clients.load({row[1].connection})
        want = await self._want(identity, grace)
        steps, found = await self._planned(*row, want)
        if isinstance(found, Unanswered) and found.quiet:
            due = [step for step in steps if step.changes]
            return [await self._steps.left_alone(row[1], step, found.told) for step in due]
        if isinstance(found, Unanswered) and want is not None and not any(step.changes for step in steps):
            if await self._claims.holds(row[1].id):
                await self._upkeep.tell_of_failure(await self._steps.unanswered(row[1], found))
            return [Applied(step, found.told) for step in steps]
        applied: list[Applied] = []
        listed = found if isinstance(found, Found) else None
        left: tuple[r.Endpoint, r.Subscription] | None = row
        for _ in range(MOST_ROUNDS):
            done = await self._carry_out(identity, steps, listed, grace, may_remove=may_remove)
            applied += done
            left = await self._find(identity)
            if left is None or any(one.error or one.left_out for one in done):
                break
            want = await self._want(identity, grace)  # somebody may want it since
            # What a step has made due, such as stopping what was replaced; nobody is asked again.
            steps, listed = (await self._planned(*left, want, offline=True))[0], None
            if not any(step.changes and step.action != "manual" for step in steps):
                break
        if left is None:
            await self._upkeep.alerts.forget(row[1])
        elif await self._claims.holds(left[1].id):
            failed = any(one.error and one.step.action != "manual" for one in applied)
            await (
                self._upkeep.tell_of_failure(left[1]) if failed else self._settle(*left, want, row[1].next_at)
            )
        return applied

    async def _want(self, identity: Identity, grace: timedelta) -> r.Want | None:
        return (await self.rows.wanted([identity], grace)).get(identity)

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
            row = await self._find(identity)
            if row is None or not step.changes:
                continue
            if step.action == "manual":
                applied.append(Applied(step, step.reason))
            elif step.action in ("remove", "sweep") and not may_remove:
                applied.append(Applied(step, left_out=NO_REMOVING))
            elif not await self._claims.holds(row[1].id):
                break  # another process sees to it
            elif step.action == "remove" and await self._want(identity, grace) is not None:
                break  # somebody came while the provider was asked
            else:
                applied.append(await self._steps.do(step, *row, found, self.means(identity, row[1])))
                found = None  # it has changed: the next step asks anew
                if applied[-1].error:
                    break
        return applied

    async def _find(self, identity: Identity) -> tuple[r.Endpoint, r.Subscription] | None:
        found = await self._store.endpoints_for([identity])
        return next(((endpoint, s) for endpoint in found.values() for s in endpoint.subscriptions), None)

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
