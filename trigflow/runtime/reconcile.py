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
from itertools import count

import attrs

from trigflow.core.local import is_local
from trigflow.core.plan import (
    GRACE,
    Identity,
    KeyFact,
    Known,
    Means,
    Step,
    Wanted,
    plan,
    renewal_at,
    retirement_at,
)
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.clients import Clients
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.provider import Found, problem_of_url, rotation_of
from trigflow.runtime.routes import AnySource, Routes
from trigflow.runtime.rows import Rows
from trigflow.runtime.steps import Applied, Steps
from trigflow.runtime.upkeep import Upkeep
from trigflow.sources.registration import Secret

CLAIM = timedelta(minutes=2)  # one process's right to register a subscription
SOONEST = 1_000  # milliseconds between two looks at one subscription
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
        self._upkeep = upkeep
        self.rows: Rows = rows
        self._steps, self._sources, self._store, self._clients = steps, sources, store, clients
        self._routes, self._clock, self._chance = routes, clock, chance
        self._check_every, self._owner, self._serial = check_every, owner, count(1)
        self.url_of: Callable[[r.Endpoint], str] = steps.url_of

    # --- what would be done

    async def plan(
        self, *, offline: bool = False, grace: timedelta = GRACE, only: str | None = None
    ) -> Sequence[Step]:
        """Say what would be done. Providers are asked what they have, unless offline; nothing is changed.

        only: a subscription's key or id; the others are left out.
        """
        found = [step async for step in self.steps(offline=offline, grace=grace, only=only)]
        return sorted(found, key=lambda step: step.identity)

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
            wanted_ = Wanted(want.identity, want.events)
            for step in plan(wanted_, None, None, self.means(want.identity), now=self._ms()):
                yield step

    async def _pages(
        self, only: str | None
    ) -> AsyncGenerator[Sequence[tuple[r.Endpoint, r.Subscription]], None]:
        after = ""
        while True:
            page = await self._store.page(after=after, limit=PAGE)
            if not page:
                return
            pairs = [(endpoint, s) for endpoint in page for s in endpoint.subscriptions]
            after = pairs[-1][1].id
            yield [pair for pair in pairs if only in (None, pair[1].key, pair[1].id)]

    async def _planned(
        self, endpoint: r.Endpoint, s: r.Subscription, want: r.Want | None, *, offline: bool = False
    ) -> tuple[Sequence[Step], Found | None]:
        means = self.means(s.identity, s)
        found = None
        if not offline and means.automatic and not means.covered:
            found = await self._steps.find(endpoint, s)
        listed = None if found is None else found.listed(self.url_of(endpoint))
        wanted = None if want is None else Wanted(s.identity, want.events)
        return plan(wanted, known_of(endpoint, s), listed, means, now=self._ms()), found

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
            if found is None or not found.strays:
                return None
            step = Step("sweep", identity, f"{len(found.strays)} that nobody knows")
            return await self._steps.do(step, *row, found, self.means(identity, row[1]))

    async def places(
        self, only: str | None = None
    ) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription, Found | None], None]:
        """Ask the provider of each subscription what it has; None where it can't say, or does not answer.

        What takes a person is left out. only: a subscription's key or id; the others are left out.
        """
        async for page in self._pages(only):
            await self._clients.load({s.connection for _, s in page})
            for endpoint, s in page:
                means = self.means(s.identity, s)
                if means.automatic and not means.covered:
                    yield endpoint, s, await self._steps.find(endpoint, s)

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
        owner = f"{self._owner}.{next(self._serial)}"  # nobody else in this process, either
        until = self._ms() + int(CLAIM.total_seconds() * 1000)
        if row is None or not await self._store.claim_subscription(
            row[1].id, owner, now=self._ms(), until=until
        ):
            yield None
            return
        try:
            yield await self._find(identity)  # anew: another process may have worked until now
        finally:
            await self._store.release_subscription(row[1].id, owner)
            self._routes.forget(row[0].token)

    async def _look_claimed(
        self, row: tuple[r.Endpoint, r.Subscription], grace: timedelta, *, may_remove: bool
    ) -> Sequence[Applied]:
        identity = row[1].identity
        want = (await self.rows.wanted([identity], grace)).get(identity)
        await self._clients.load({row[1].connection})
        steps, found = await self._planned(*row, want)
        applied: list[Applied] = []
        left: tuple[r.Endpoint, r.Subscription] | None = row
        for _ in range(MOST_ROUNDS):
            done = await self._carry_out(identity, steps, found, may_remove=may_remove)
            applied += done
            left = await self._find(identity)
            if left is None or any(one.error or one.left_out for one in done):
                break
            if any(one.step.action == "remove" for one in done):  # somebody subscribed meanwhile
                want = (await self.rows.wanted([identity], grace)).get(identity)
            # What a step has made due, such as stopping what was replaced; nobody is asked again.
            steps, found = (await self._planned(*left, want, offline=True))[0], None
            if not any(step.changes and step.action != "manual" for step in steps):
                break
        if left is not None:
            failed = any(one.error and one.step.action != "manual" for one in applied)
            await (self._upkeep.tell_of_failure(left[1]) if failed else self._settle(*left, want))
        return applied

    async def _carry_out(
        self, identity: Identity, steps: Sequence[Step], found: Found | None, *, may_remove: bool
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
            else:
                applied.append(await self._steps.do(step, *row, found, self.means(identity, row[1])))
                found = None  # it has changed: the next step asks anew
                if applied[-1].error:
                    break
        return applied

    async def _find(self, identity: Identity) -> tuple[r.Endpoint, r.Subscription] | None:
        found = await self._store.endpoints_for([identity])
        return next(((endpoint, s) for endpoint in found.values() for s in endpoint.subscriptions), None)

    async def _settle(self, endpoint: r.Endpoint, s: r.Subscription, want: r.Want | None) -> None:
        """Look after what is in line, and say when to look again: at once where a signal came meanwhile."""
        source, known, now = self._sources.get(s.source), known_of(endpoint, s), self._ms()
        times = [now + int(self._check_every.total_seconds() * 1000 * (0.8 + 0.4 * self._chance()))]
        if source is not None:
            retired = retirement_at(known, int(source.retries_for.total_seconds() * 1000))
            renewed = renewal_at(known, None if source.lease is None else source.lease.after)
            if renewed is not None and s.lease_until is not None:  # a little later: not all at once
                renewed += int((s.lease_until - renewed) * 0.1 * self._chance())
            times += [at for at in (renewed, retired) if at is not None]
        if s.state in ("failing", "expired") and known.finished:
            s = attrs.evolve(s, state="active", cause="", failures=0, updated_at=now)
            await self._store.save_subscription(s)
        if s.state != "paused":  # what a process kept that had not yet read that it was resumed
            await self._store.release_held(s.id)
        pinging, scrub = self._steps.pinging(endpoint, s), self._steps.discretion(endpoint, s.connection)
        quiet = await self._upkeep.look_after(endpoint, s, want, provider=pinging, scrub=scrub)
        times += [] if quiet is None else [quiet]
        await self._store.look_again(s.id, at=max(min(times), now + SOONEST), was=s.next_at)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def known_of(endpoint: r.Endpoint, s: r.Subscription) -> Known:
    """Return what the plan needs to know of a row."""
    keys = tuple(
        KeyFact(key.serial, key.created_at, key.used_at, key.data is not None) for key in endpoint.keys
    )
    # An account of an app has nothing of its own at the provider.
    finished = s.data is not None or (bool(s.account) and s.state != "pending")
    return Known(
        s.identity, s.registered, finished, s.state == "active" or s.coverage == "unknown",
        leased_at=s.leased_at, lease_until=s.lease_until, asked=s.asked, keys=keys,
    )  # fmt: skip
