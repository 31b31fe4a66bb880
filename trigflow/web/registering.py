"""Registering webhooks in the background: once the public URL leads here, and whenever one is due.

probe ──reachable──> those that are due, some at a time ──> until the next is due, or something is signalled
└─not yet: backoff
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from trigflow.core.errors import SetupError
from trigflow.core.http import Headers
from trigflow.core.plan import Identity, Step
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.reconcile import Reconciler

if TYPE_CHECKING:
    from trigflow.web.probe import Prober

logger: logging.Logger = logging.getLogger("trigflow")
FIRST_PROBE = 0.2  # seconds; an ASGI server listens only after start-up
LONGEST_PROBE = 60.0
LONGEST_REST = 15.0  # seconds; another process may have made a row that is due
SHORTEST_REST = 1.0  # seconds; what is due may be another process's to do
BATCH = 100  # subscriptions that are read at a time
AT_ONCE = 8  # subscriptions that providers are called for at a time


class Registering:
    """Keeps the webhooks of one open app in line."""

    def __init__(
        self,
        reconciler: Reconciler,
        store: Store,
        clock: Clock,
        keys: Sequence[str],
        *,
        base_url: str | None,
        mounted_at: Callable[[], str | None],
        only_plans: bool = False,
    ) -> None:
        """Register what is reachable below `base_url`; probes are signed with the keys.

        only_plans: say what would be done, and do nothing.
        """
        self._reconciler, self._store, self._clock, self._keys = reconciler, store, clock, keys
        self._base_url, self._mounted_at, self._only_plans = base_url, mounted_at, only_plans
        self._signalled = anyio.Event()
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
        await (self.keep_planning() if self._only_plans else self._keep_registering())

    async def keep_planning(self) -> None:
        """Say what would be done until cancelled, as often as providers may be asked what they have."""
        while True:
            await self._show_plan()
            await self._rest(self._reconciler.check_every.total_seconds())

    async def _keep_registering(self) -> None:
        while True:
            await self.register_due()
            soonest = await self._store.next_look()
            now = self._clock.now()
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
        """Look at every subscription that is due, AT_ONCE of them at a time."""
        looked_at: set[Identity] = set()
        while True:
            rows = await self._store.due(now=int(self._clock.now() * 1000), limit=BATCH)
            due = [s.identity for row in rows for s in row.subscriptions if s.identity not in looked_at]
            if not due:
                return
            looked_at.update(due)
            await self._look_at(due)

    async def _look_at(self, due: Sequence[Identity]) -> None:
        limiter = anyio.CapacityLimiter(AT_ONCE)

        async def look(identity: Identity) -> None:
            async with limiter:
                await self._reconciler.look(identity)

        async with anyio.create_task_group() as group:
            for identity in due:
                group.start_soon(look, identity)

    async def _show_plan(self) -> None:
        """Say what would be done."""
        steps = [step async for step in self._reconciler.steps() if step.changes]
        self._tell_plan(sorted(steps, key=lambda step: step.identity))

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

    def prove(self, nonce: str) -> dict[str, str]:
        """Answer a probe."""
        return self.prober.prove(nonce, self._mounted_at() or "", self._store.store_id)

    def prove_body(self, nonce: str, body: bytes, headers: Headers) -> dict[str, str]:
        """Answer a probe that has a body: what arrived of it."""
        root, store_id = self._mounted_at() or "", self._store.store_id
        return self.prober.prove_body(nonce, root, store_id, body, headers)

    @property
    def prober(self) -> Prober:
        """What asks and answers probes of this app."""
        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        return Prober(*self._keys)
