"""The end of everything that goes through a connection, at its provider and here.

A provider that refuses keeps nothing alive: what stays there is told, and its deliveries are
answered and ignored from then on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from trigflow.runtime import records as r
from trigflow.runtime.health.alerts import Alerts
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.reconcile import Reconciler

PAGE = 500  # read at a time


async def remove_through(ref: str, store: Store, reconciler: Reconciler, clock: Clock) -> Sequence[str]:
    """Remove a connection's subscriptions and those who subscribed through it; return what failed."""
    problems: list[str] = []
    while some := await store.subscribed_through(ref, limit=PAGE):
        for one in some:
            await store.unsubscribe(one.dynamic, one.key)
    async for s in _through(ref, store):
        done = await reconciler.remove(s.identity, f"connection {ref} is removed")
        problem = "another process is registering it now" if done is None else done.error
        if problem:
            problems.append(f"{s.source} {s.key}: {problem}")
            await store.remove_subscription(s.id, at=int(clock.now() * 1000))
            await Alerts(store, clock).forget(s)
    return problems


async def _through(ref: str, store: Store) -> AsyncGenerator[r.Subscription, None]:
    after = ""
    while page := await store.through(ref, limit=PAGE, after=after):
        after = page[-1].id
        for s in page:
            yield s
