"""Registering webhooks in the background: once the public URL leads here, and again when something differs.

probe ──reachable──> plan, apply ──all done──> after DRIFT again
  └─not yet: backoff    └─something failed──> after AGAIN again
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import anyio

from trigflow.core.errors import SetupError
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.ports import Clock
from trigflow.runtime.reconcile import Reconciler

logger: logging.Logger = logging.getLogger("trigflow")
FIRST_PROBE = 0.2  # seconds; an ASGI server listens only after start-up
LONGEST_PROBE = 60.0
AGAIN = 15.0  # seconds until registrations that failed are looked at again
DRIFT = timedelta(minutes=15)  # how often providers are asked what they have


class Registering:
    """Keeps the webhooks of one open app in line."""

    def __init__(
        self,
        reconciler: Reconciler,
        clock: Clock,
        secret: str,
        *,
        base_url: str | None,
        store_id: str,
        mounted_at: Callable[[], str | None],
    ) -> None:
        """Register what is reachable below `base_url`; probes are signed with the secret."""
        self._reconciler, self._clock, self._secret = reconciler, clock, secret
        self._base_url, self._store_id, self._mounted_at = base_url, store_id, mounted_at
        self.problem: str = ""

    async def keep_in_line(self) -> None:
        """Register until cancelled."""
        wait = FIRST_PROBE
        while True:
            ended = await attempt_async(self.register_if_reachable)
            if isinstance(ended, Raised):
                self._tell(str(ended.error))
                wait = min(wait * 2, LONGEST_PROBE)
            else:
                self.problem = ""
                wait = DRIFT.total_seconds() if ended.value else AGAIN
            await self._clock.wait(anyio.Event(), until=self._clock.now() + wait)

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("webhooks are not registered: %s", problem)
        self.problem = problem

    async def register_if_reachable(self) -> bool:
        """Probe the public URL, then do what has to be done; tell whether all of it worked."""
        await self.probe()
        applied = await self._reconciler.apply(await self._reconciler.plan(), respect_waits=True)
        return not any(one.error for one in applied)

    async def probe(self) -> None:
        """Return if the public URL leads here; raises trigflow.web.probe.Unreachable."""
        import httpx  # noqa: PLC0415 - 100 ms to import; the intake does not need it

        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        if self._base_url is None:
            raise SetupError("the public URL is not known; set url= or TRIGFLOW_URL")
        async with httpx.AsyncClient() as client:
            await Prober(self._secret).check(self._base_url, self._store_id, client, self._mounted_at)

    def prove(self, nonce: str) -> dict[str, str]:
        """Answer a probe."""
        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        return Prober(self._secret).prove(nonce, self._mounted_at() or "", self._store_id)
