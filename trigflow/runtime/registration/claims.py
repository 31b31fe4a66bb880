"""The right to change a subscription: one process's for a while, and renewed before each step.

    take ──> ours ──holds──> ours for as long again ──give_back──> free
               ├─ CLAIM without a step: anybody's (whoever had it is frozen)
               └─ whoever had it has died: anybody's at once, where the store can tell

A step at a provider ends before a claim does, so that who was too slow does not write.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import anyio

from trigflow.runtime.ports import Clock, Registry

CLAIM = timedelta(minutes=2)


class Claims:
    """What one open app has claimed; two tasks of one process exclude each other, too."""

    def __init__(self, store: Registry, clock: Clock, owner: str) -> None:
        """Claim for one process."""
        self._store, self._clock, self._owner = store, clock, owner
        self._serial = count(1)
        self._held: dict[str, str] = {}  # owners, by subscription

    async def take(self, subscription: str) -> str | None:
        """Take a claim and return its owner; None where somebody else has it.

        Another task of this process has it until it gives it back, though the claim ran out: one
        that was frozen with us goes on where it was.
        """
        if subscription in self._held:
            return None
        owner = f"{self._owner}.{next(self._serial)}"
        with anyio.CancelScope(shield=True):  # what was claimed is given back, too
            if not await self._claim(subscription, owner):
                return None
        self._held[subscription] = owner
        return owner

    async def holds(self, subscription: str) -> bool:
        """Tell whether a claim is still ours, and have it last for another step."""
        owner = self._held.get(subscription)
        return owner is not None and await self._claim(subscription, owner)

    async def give_back(self, subscription: str, owner: str) -> None:
        """Let others have it, also where the look was cancelled."""
        if self._held.get(subscription) == owner:
            del self._held[subscription]
        with anyio.CancelScope(shield=True):
            await self._store.release_subscription(subscription, owner)

    async def _claim(self, subscription: str, owner: str) -> bool:
        now = int(self._clock.now() * 1000)
        until = now + int(CLAIM.total_seconds() * 1000)
        return await self._store.claim_subscription(subscription, owner, now=now, until=until)
