"""The default engine: runs execute in the process that took the delivery.

    put ──commit──> wake ──> heap ──> worker ──> handle
                               ^
    queue table ──poll, due────┘      (retries, delays, runs of dead processes)

A run that is due now is claimed by its own insert, so that the busy path needs
no second write and no read. A process that dies stops beating; after
CLAIM_LASTS another takes its runs over, with a higher fence.

What other processes queue is seen within GLANCE: a look at the store's change
counter costs a few µs and no read of a page. Beat and poll are supervised on
their own, so that a fault in one of them stops no running job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

import anyio
import anyio.abc

from trigflow.core.errors import StoreError, StoreUnavailable
from trigflow.runtime import records as r
from trigflow.runtime.health.supervise import Supervision
from trigflow.runtime.loops import Waiter, waiters_of_this_loop
from trigflow.runtime.ports import Again, Clock, Handle, Item, Queue

CLAIM_LASTS = 60.0  # seconds without a beat until a process counts as dead
BEAT = 15.0  # seconds
POLL = 1.0  # seconds; how late a run of another process may be seen where the store can't be glanced at
GLANCE = 0.1  # seconds; how late where it can
LONGEST_BACKLOG = 1_000  # runs claimed in memory; further ones stay in the table for whoever is free
STORE_DOWN = 5.0  # seconds until a run is tried again that could not be kept
DRAIN = 10.0  # seconds that running jobs get to end when the engine stops
LEAVE = 5.0  # seconds that the store gets to hear that the engine has stopped


# A claimed run in the heap: what has the highest priority first, then what came first.
_Ready: TypeAlias = tuple[int, int, r.Claim]


class EmbeddedEngine:
    """Executes queued runs in this process."""

    def __init__(self, queue: Queue, clock: Clock, *, owner: str, loops: Supervision | None = None) -> None:
        """Work on a queue under a name that no other process has; `loops` keeps the beat and the poll up."""
        self._queue, self._clock, self._name, self._owner = queue, clock, owner, owner
        self._serial = count(1)
        self._loops = loops or Supervision(clock, lambda: 1.0)
        self._heap: list[_Ready] = []
        self._order = count()
        self._idle: list[Waiter] = []
        self._waiter: Callable[[], Waiter] | None = None
        self._running: dict[str, tuple[anyio.CancelScope, r.Claim]] = {}
        self._lasting: set[r.Claim] = set()  # what ran when claims were last looked at
        self._group: anyio.abc.TaskGroup | None = None
        self._handle: Handle | None = None
        self._poked = anyio.Event()
        self._stopping = False
        self._quiet = anyio.Event()
        self._beating = anyio.CancelScope(shield=True)

    def put(self, items: Sequence[Item]) -> Sequence[tuple[r.Statement, ...]]:
        """Claim what is due now for this process; leave the rest, and what is held, in the table."""
        now = self._clock.now() * 1000
        free = self._free() if self.alive else 0
        return [
            (
                r.Enqueue(
                    item.run_id,
                    item.due_at,
                    item.priority,
                    None if item.held or item.due_at > now or free <= n else self._owner,
                    item.held,
                ),
            )
            for n, item in enumerate(items)
        ]

    def wake(self, statements: Sequence[r.Statement]) -> None:
        """Start what this process claimed; look at the table for what it did not."""
        for statement in statements:
            if not isinstance(statement, r.Enqueue) or statement.held:
                continue
            if statement.owner == self._owner:
                self._push(r.Claim(statement.run_id, priority=statement.priority))
            else:
                self._poked.set()

    def cancel(self, run_id: str) -> Sequence[r.Statement]:
        """Stop a run if it runs here; the row goes in any case.

        It is stopped before the store has been told. Where the store then can't
        be written the claim is still good, and the run is taken up again.
        """
        running = self._running.get(run_id)
        if running is not None:
            running[0].cancel()
        for ready in [one for one in self._heap if one[2].run_id == run_id]:
            self._heap.remove(ready)
            heapify(self._heap)
            self._postpone(ready[2])
        return (r.Dequeue(run_id),)

    @property
    def alive(self) -> bool:
        """Tell whether runs are being executed."""
        return self._group is not None and not self._stopping

    async def serve(self, handle: Handle, *, limit: int, ready: anyio.Event | None = None) -> None:
        """Execute queued runs until cancelled; then give running ones DRAIN seconds to end.

        May be called again after it has ended.
        """
        self._handle = handle
        self._idle, self._stopping = [], False
        self._waiter = waiters_of_this_loop()
        self._beating = anyio.CancelScope(shield=True)
        # A new name each time: what the last one claimed and could not give back is taken over
        # as anybody's is, by us too.
        self._owner, self._heap = f"{self._name}.{next(self._serial)}", []
        await self._queue.beat(self._owner, now=self._ms())
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._keep_beating)
                group.start_soon(self._loops.keep, "engine poll", self._poll)
                for _ in range(limit):  # all of them now: `wake` may be called where no task can be started
                    group.start_soon(self._work)
                if ready is not None:
                    ready.set()
                try:
                    await anyio.sleep_forever()
                finally:
                    self._stopping = True
                    while self._idle:  # they are shielded: nobody else ends them
                        self._idle.pop().set()
                    await self._drain()
        finally:
            self._group = None
            self._heap = []  # given back by `leave`
            with anyio.move_on_after(LEAVE, shield=True), suppress(StoreError):
                await self._queue.leave(self._owner)

    async def _drain(self) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(DRAIN):
                await self._until_quiet()
            for scope, _ in self._running.values():
                scope.cancel()
            # A thread can't be stopped: it keeps its place, and with our beats its claim.
            await self._until_quiet()
        self._beating.cancel()

    async def _until_quiet(self) -> None:
        while self._running:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    def _push(self, claim: r.Claim) -> None:
        heappush(self._heap, (-claim.priority, next(self._order), claim))
        if self._idle:
            self._idle.pop().set()

    def _free(self) -> int:
        return max(0, LONGEST_BACKLOG - len(self._heap))

    async def _work(self) -> None:
        assert self._handle is not None  # noqa: S101 - set before the first worker starts
        claim: r.Claim | None = None
        while not self._stopping:
            # Shielded from the task group's cancellation: a stop lets running jobs end (see _drain).
            # One scope for many runs: only a run that is cancelled uses it up.
            with anyio.CancelScope(shield=True) as scope:
                while not self._stopping and not scope.cancel_called:
                    claim = None
                    if not self._heap:
                        await self._more()
                        continue
                    claim = heappop(self._heap)[2]
                    await self._execute(self._handle, scope, claim)
            if scope.cancelled_caught and claim is not None:
                self._postpone(claim)

    async def _more(self) -> None:
        assert self._waiter is not None  # noqa: S101 - see above
        more = self._waiter()
        self._idle.append(more)
        await more

    async def _execute(self, handle: Handle, scope: anyio.CancelScope, claim: r.Claim) -> None:
        self._running[claim.run_id] = scope, claim
        try:
            if isinstance(await handle(claim), Again):
                self._poked.set()
        except StoreError:
            self._postpone(claim)
        finally:
            del self._running[claim.run_id]
            if not self._running:
                self._quiet.set()

    def _postpone(self, claim: r.Claim) -> None:
        if self._group is not None and not self._stopping:
            self._group.start_soon(self._later, claim)

    async def _later(self, claim: r.Claim) -> None:
        """Take a run up again if its claim is still good by then."""
        never = anyio.Event()
        while True:
            await self._clock.wait(never, until=self._clock.now() + STORE_DOWN)
            try:
                if await self._queue.holds(claim):
                    self._push(claim)
            except StoreError:
                continue
            return

    async def _poll(self) -> None:
        checked = self._clock.now()
        while True:
            self._poked = anyio.Event()
            seen = self._queue.glance()
            due = await self._look()
            if self._clock.now() - checked >= POLL:
                checked = self._clock.now()
                await self._stop_lost()
            wait = POLL if due is None else min(POLL, max(0.0, due / 1000 - self._clock.now()))
            await self._rest(seen, until=self._clock.now() + wait)

    async def _rest(self, seen: int | None, *, until: float) -> None:
        """Wait, but no longer than until somebody has changed the store."""
        while not self._poked.is_set() and (now := self._clock.now()) < until:
            if seen is None:
                await self._clock.wait(self._poked, until=until)
                return
            await self._clock.wait(self._poked, until=min(until, now + GLANCE))
            if self._queue.glance() != seen:
                return

    async def _stop_lost(self) -> None:
        """Stop runs that another process has cancelled or taken over."""
        running = dict(self._running)
        for scope, claim in running.values():
            if claim not in self._lasting:  # most end before anybody could ask
                continue
            with suppress(StoreUnavailable):
                held = await self._queue.holds(claim)
                if not held and self._running.get(claim.run_id) == (scope, claim):
                    scope.cancel()
        self._lasting = {claim for _, claim in running.values()}

    async def _look(self) -> int | None:
        """Take what is due; return when the next one is, None where only time can tell."""
        now = self._ms()
        try:
            due = await self._queue.next_due()
            if due is not None and due <= now:
                await self._take(now)
                due = await self._queue.next_due()
        except StoreUnavailable:
            return None
        return due if due is not None and due > now else None

    async def _take(self, now: int) -> None:
        since = now - int(CLAIM_LASTS * 1000)
        for claim in await self._queue.take(self._owner, now=now, limit=self._free(), alive_since=since):
            self._push(claim)

    async def _keep_beating(self) -> None:
        with self._beating:
            await self._loops.keep("engine beat", self._beat)

    async def _beat(self) -> None:
        never = anyio.Event()
        while True:
            with suppress(StoreUnavailable):  # others may take over meanwhile, and the fence holds
                await self._queue.beat(self._owner, now=self._ms())
                if not self._stopping:
                    await self._take(self._ms())
            await self._clock.wait(never, until=self._clock.now() + BEAT)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
