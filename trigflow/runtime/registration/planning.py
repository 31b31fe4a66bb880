"""What is there and what would be done: rows and providers are read, nothing is changed.

a row, what is wanted of it, what its provider has ─> steps
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeAlias

from msgspec.structs import replace

from trigflow.core.local import is_local
from trigflow.core.plan import GRACE, Identity, Means, Step, Wanted, plan
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.provider import Found, problem_of_url, rotation_of
from trigflow.runtime.registration.rows import Rows, known_of
from trigflow.runtime.registration.steps import Steps
from trigflow.runtime.registration.timely import Unanswered
from trigflow.sources.registration import Secret

PAGE = 200  # subscriptions that are planned for at a time
Row: TypeAlias = tuple[r.Endpoint, r.Subscription]


class Planner:
    """Says what would be done."""

    def __init__(
        self,
        rows: Rows,
        steps: Steps,
        sources: Mapping[str, AnySource],
        store: Store,
        clients: Clients,
        clock: Clock,
    ) -> None:
        """Read for one open app."""
        self.rows: Rows = rows
        self._steps, self._sources, self._store, self._clients = steps, sources, store, clients
        self._clock = clock
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
        async for page in self.pages(only):
            wanted = await self.rows.wanted([s.identity for _, s in page], grace)
            await self._clients.load({s.connection for _, s in page})
            for endpoint, s in page:
                missing.pop(s.identity, None)
                planned, _ = await self.planned(endpoint, s, wanted.get(s.identity), offline=offline)
                for step in planned:
                    yield step
        await self._clients.load({want.connection for want in missing.values()})
        for want in missing.values():
            for step in plan(
                Wanted(want.identity, want.events), None, None, self.means(want.identity), now=self._ms()
            ):
                yield step

    async def pages(self, only: str | None) -> AsyncGenerator[Sequence[Row], None]:
        """Yield the rows of subscriptions, some at a time."""
        after, which = "", r.Which(called=only)
        while page := await self._store.page(after=after, limit=PAGE, which=which):
            pairs = [(endpoint, s) for endpoint in page for s in endpoint.subscriptions]
            after = pairs[-1][1].id
            yield pairs

    async def planned(
        self, endpoint: r.Endpoint, s: r.Subscription, want: r.Want | None, *, offline: bool = False
    ) -> tuple[Sequence[Step], Found | Unanswered | None]:
        """Return the steps for one row, and what its provider said; None where it was not asked."""
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

    async def places(
        self, only: str | None = None
    ) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription, Found | Unanswered | None], None]:
        """Ask the provider of each subscription what it has; None where it can't say.

        What takes a person is left out. only: a subscription's key or id; the others are left out.
        """
        async for page in self.pages(only):
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

    async def want(self, identity: Identity, grace: timedelta) -> r.Want | None:
        """Return what live processes and subscribers want of one; None where nobody does."""
        return (await self.rows.wanted([identity], grace)).get(identity)

    async def find(self, identity: Identity) -> Row | None:
        """Return the row of one as it is now."""
        found = await self._store.endpoints_for([identity])
        return next(((endpoint, s) for endpoint in found.values() for s in endpoint.subscriptions), None)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
