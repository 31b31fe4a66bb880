"""Registering webhooks in the background: once the public URL leads here, and whenever one is due.

probe ──reachable──> those that are due, some at a time ──> until the next is due, or something is signalled
└─not yet: backoff
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import anyio

from trigflow.core.errors import SetupError
from trigflow.core.plan import Identity, Step
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.places import Places
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.sealing.vault import Vault

if TYPE_CHECKING:
    from trigflow.web.probe import Prober

logger: logging.Logger = logging.getLogger("trigflow")
FIRST_PROBE = 0.2  # seconds; an ASGI server listens only after start-up
LONGEST_PROBE = 60.0
LONGEST_REST = 15.0  # seconds; another process may have made a row that is due
SHORTEST_REST = 1.0  # seconds; what is due may be another process's to do
BATCH = 100  # subscriptions that are read at a time


class Heed(Protocol):
    """Whoever is told of webhooks that are switched off, or on again."""

    async def __call__(self, identity: Identity, *, is_off: bool) -> None:
        """Keep it, and tell people."""
        ...


class Registering:
    """Keeps the webhooks of one open app in line."""

    def __init__(
        self,
        reconciler: Reconciler,
        store: Store,
        clock: Clock,
        vault: Vault,
        *,
        base_url: str | None,
        mounted_at: Callable[[], str | None],
        heed: Heed | None = None,
    ) -> None:
        """Register what is reachable below `base_url`; probes are signed with the vault's keys.

        heed: nothing is registered, only said what would be; hears what webhook is switched off.
        """
        self._reconciler, self._store, self._clock, self._vault = reconciler, store, clock, vault
        self._base_url, self._mounted_at, self._heed = base_url, mounted_at, heed
        self._signalled = anyio.Event()
        self._places = Places()
        self._ended = anyio.Event()  # a look, since due ones were last begun
        self._waiting: Sequence[r.Subscription] = ()  # read as due, and not begun yet
        self._looked_at: dict[str, float] = {}  # when that ended, by id; for a moment
        self.problem: str = ""

    def signal(self) -> None:
        """Look now at what is due: something has changed."""
        self._signalled.set()

    async def keep_in_line(self) -> None:
        """Register until cancelled."""
        wait = FIRST_PROBE
        while True:
            ended = await attempt_async(self._reach)
            if not isinstance(ended, Raised):
                break
            self._tell(str(ended.error))
            await self._rest(wait)
            wait = min(wait * 2, LONGEST_PROBE)
        self.problem = ""
        await (self._keep_registering() if self._heed is None else self.keep_planning())

    async def keep_planning(self) -> None:
        """Say what would be done until cancelled, as often as providers may be asked what they have."""
        while True:
            await self._show_plan()
            await self._rest(self._reconciler.check_every.total_seconds())

    async def _keep_registering(self) -> None:
        while True:
            await self.register_due()
            now = self._clock.now()
            soonest = await self._store.next_look(now=int(now * 1000))
            rest = LONGEST_REST if soonest is None else soonest / 1000 - now
            await self._rest(min(max(rest, SHORTEST_REST), LONGEST_REST))

    async def _reach(self) -> None:
        """Return once providers can reach the app; raises what is in the way."""
        problem = await self._reconciler.unreachable()
        if problem:  # told once, and not for each subscription
            raise SetupError(problem)
        await self.probe()

    async def _rest(self, seconds: float) -> None:
        await self._clock.wait(self._signalled, until=self._clock.now() + seconds)
        self._signalled = anyio.Event()

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("webhooks are not registered: %s", problem)
        self.problem = problem

    async def register_due(self) -> None:
        """Look at every subscription that is due, as many at a time as there are places for."""
        async with anyio.create_task_group() as group:
            while True:
                self._ended = anyio.Event()
                for s in await self._next():
                    if not self._places.take(s.connection):
                        continue
                    self._looked_at[s.id] = float("inf")
                    group.start_soon(self._look_at, s)
                if not self._places.taken:
                    return
                await self._clock.wait(self._ended, until=self._clock.now() + SHORTEST_REST)

    async def _next(self) -> Sequence[r.Subscription]:
        """Return what is due, there is room for, and was not looked at just now: others may have it."""
        now = self._clock.now()
        self._looked_at = {id_: at for id_, at in self._looked_at.items() if at > now - SHORTEST_REST}
        waiting = [
            s for s in self._waiting if s.id not in self._looked_at and self._places.has_room(s.connection)
        ]
        if not waiting and not self._places.is_full:
            self._places.gently = await self._store.quiet_lately(now=int(now * 1000))
            rows = await self._store.due(
                now=int(now * 1000), limit=BATCH + len(self._looked_at),
                but=self._places.full_connections, but_of=self._places.full_integrations,
            )  # fmt: skip
            waiting = [s for row in rows for s in row.subscriptions if s.id not in self._looked_at]
        self._waiting = waiting
        return waiting

    async def _look_at(self, s: r.Subscription) -> None:
        try:
            await self._reconciler.look(s.identity)
        finally:
            self._looked_at[s.id] = self._clock.now()
            self._places.give_back(s.connection)
            self._ended.set()

    async def _show_plan(self) -> None:
        """Say what would be done, and what is switched off until somebody does it."""
        disabled = await self._disabled()
        steps: list[Step] = []
        async for step in self._reconciler.steps():
            is_news = step.is_off or (step.is_off is False and step.identity in disabled)
            if self._heed is not None and is_news:
                await self._heed(step.identity, is_off=bool(step.is_off))
            if step.changes:
                steps.append(step)
        self._tell_plan(sorted(steps, key=lambda step: step.identity))

    async def _disabled(self) -> set[Identity]:
        found: set[Identity] = set()
        after, which = "", r.Which(state="disabled")
        while page := await self._store.page(after=after, limit=BATCH, which=which):
            some = [s for endpoint in page for s in endpoint.subscriptions]
            after = some[-1].id
            found.update(s.identity for s in some)
        return found

    def _tell_plan(self, steps: Sequence[Step]) -> None:
        told = "; ".join(f"{step.action} {step.identity[0]} {step.identity[1]}" for step in steps[:20])
        more = f" and {len(steps) - 20} more" if len(steps) > 20 else ""
        problem = f"{told}{more}: `trigflow apply` does it" if steps else ""
        if problem and problem != self.problem:
            logger.warning('would register (register is "plan"): %s', problem)
        self.problem = problem

    async def probe(self) -> None:
        """Return if the public URL leads here; raises trigflow.web.probe.Unreachable."""
        import httpx  # noqa: PLC0415 - 100 ms to import; the intake does not need it

        if self._base_url is None:
            raise SetupError("the public URL is not known; set url= or TRIGFLOW_URL")
        async with httpx.AsyncClient() as client:
            await self.prober.check(self._base_url, self._store.store_id, client, self._mounted_at)

    @property
    def prober(self) -> Prober:
        """What asks and answers probes of this app."""
        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        return Prober(*self._vault.ring())
