"""What comes for each subscription, gathered in memory and written down twice a minute.

    verified delivery ─ note ─> one entry a subscription ─ every EVERY seconds, at shutdown ─> store

A process that is killed loses what it had not written: at most EVERY seconds of it. Nothing
but a judgement hangs on it: a silence is noticed, or ends, a little later. The deliveries
themselves are kept by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import anyio

from trigflow.core.errors import StoreError
from trigflow.runtime import records as r
from trigflow.runtime.ports import Clock, Health

EVERY = 30.0  # seconds between two writes
MOST = 10_000  # subscriptions in memory; then it is written early
BATCH = 1_000  # subscriptions in one transaction
LAST = 5.0  # seconds that the last write may take


class _Noted:
    """What came for one subscription since the last write."""

    __slots__ = ("count", "endpoint_id", "first_at", "gap", "last_at", "serials")

    def __init__(self, endpoint_id: str, at: int) -> None:
        self.endpoint_id = endpoint_id
        self.first_at = self.last_at = at
        self.count, self.gap = 1, 0
        self.serials: set[int] = set()


class Activities:
    """Gathers what comes; used by one event loop."""

    def __init__(self, store: Health, clock: Clock, *, most: int = MOST) -> None:
        """Write to a store; at `most` subscriptions early, and never hold more than twice as many."""
        self._store, self._clock, self._most = store, clock, most
        self._noted: dict[str, _Noted] = {}
        self._full: anyio.Event | None = None

    def note(self, subscription: str, endpoint_id: str, at: int, key_serial: int | None) -> None:
        """Note a verified delivery that came at a moment (unix ms); does no I/O."""
        noted = self._noted.get(subscription)
        if noted is None:
            noted = self._begin(subscription, endpoint_id, at)
            if noted is None:
                return
        else:
            gap = at - noted.last_at
            if gap > 0:
                noted.last_at = at
                if gap > noted.gap:  # noqa: PLR1730 - max() takes twice as long, and every delivery pays
                    noted.gap = gap
            elif at < noted.first_at:  # the clock was set back
                noted.first_at = at
            noted.count += 1
        if key_serial is not None and key_serial not in noted.serials:
            noted.serials.add(key_serial)

    def _begin(self, subscription: str, endpoint_id: str, at: int) -> _Noted | None:
        held = len(self._noted)
        if held >= self._most:
            if self._full is not None:
                self._full.set()
            if held >= 2 * self._most:  # the store does not take it: as if we had been killed
                return None
        noted = self._noted[subscription] = _Noted(endpoint_id, at)
        return noted

    async def flush(self) -> None:
        """Write down what was noted; StoreError where that does not work: it is kept for the next time."""
        noted, self._noted = self._noted, {}
        names = list(noted)
        try:
            while names:
                await self._store.note_activity(_activities(noted, names[:BATCH]))
                del names[:BATCH]
        finally:
            for name in names:
                self._put_back(name, noted[name])

    def _put_back(self, subscription: str, old: _Noted) -> None:
        new = self._noted.get(subscription)
        if new is not None:
            old.gap = max(old.gap, new.gap, new.first_at - old.last_at)
            old.first_at, old.last_at = min(old.first_at, new.first_at), max(old.last_at, new.last_at)
            old.count += new.count
            old.serials |= new.serials
        self._noted[subscription] = old

    async def keep_noting(self) -> None:
        """Write down what was noted until cancelled, and then once more."""
        try:
            while True:
                self._full = anyio.Event()
                await self._clock.wait(self._full, until=self._clock.now() + EVERY)
                await self.flush()
        finally:
            self._full = None
            with anyio.move_on_after(LAST, shield=True), suppress(StoreError):
                await self.flush()

    def __len__(self) -> int:
        """Return how many subscriptions are in memory."""
        return len(self._noted)


def _activities(noted: dict[str, _Noted], names: Sequence[str]) -> Sequence[r.Activity]:
    return [
        r.Activity(
            name, one.first_at, one.last_at, one.count, one.gap, one.endpoint_id, frozenset(one.serials)
        )
        for name, one in ((name, noted[name]) for name in names)
    ]
