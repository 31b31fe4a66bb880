"""The default engine: runs execute in the process that took the delivery.

    put ──commit──> wake ──> heap ──> worker ──> handle
                               ^
    queue table ──poll, due────┘      (retries, delays, runs of dead processes)

A run that is due now is claimed by its own insert, so that the busy path needs
no second write and no read. A process that dies stops beating; after
CLAIM_LASTS another takes its runs over, with a higher fence.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

import anyio
import anyio.abc

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime import records as r
from trigflow.runtime.ports import Again, Clock, Handle, Item, Queue

CLAIM_LASTS = 60.0  # seconds without a beat until a process counts as dead
BEAT = 15.0  # seconds
POLL = 1.0  # seconds; how late a run of another process may be seen
LONGEST_BACKLOG = 1_000  # runs claimed in memory; further ones stay in the table for whoever is free
STORE_DOWN = 5.0  # seconds until a run is tried again that could not be kept
DRAIN = 10.0  # seconds that running jobs get to end when the engine stops


# A claimed run in the heap: what has the highest priority first, then what came first.
_Ready: TypeAlias = tuple[int, int, r.Claim]


class EmbeddedEngine:
    """Executes queued runs in this process."""

    def __init__(self, queue: Queue, clock: Clock, *, owner: str) -> None:
        """Work on a queue under a name that no other process has."""
        self._queue, self._clock, self._owner = queue, clock, owner
        self._heap: list[_Ready] = []
        self._order = count()
        self._idle: list[anyio.Event] = []
        self._running: dict[str, anyio.CancelScope] = {}
        self._group: anyio.abc.TaskGroup | None = None
        self._handle: Handle | None = None
        self._poked = anyio.Event()
        self._stopping = False
        self._quiet = anyio.Event()
        self._beating = anyio.CancelScope(shield=True)

    def put(self, items: Sequence[Item]) -> Sequence[tuple[r.Statement, ...]]:
        """Claim what is due now for this process, leave the rest in the table."""
        now = self._clock.now() * 1000
        free = self._free() if self.alive else 0
        return [
            (
                r.Enqueue(
                    item.run_id,
                    item.due_at,
                    item.priority,
                    self._owner if free > n and item.due_at <= now else None,
                ),
            )
            for n, item in enumerate(items)
        ]

    def wake(self, statements: Sequence[r.Statement]) -> None:
        """Start what this process claimed; look at the table for what it did not."""
        for statement in statements:
            if not isinstance(statement, r.Enqueue):
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
        scope = self._running.get(run_id)
        if scope is not None:
            scope.cancel()
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
        self._beating = anyio.CancelScope(shield=True)
        await self._queue.beat(self._owner, now=self._ms())
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._beat)
                group.start_soon(self._poll)
                for _ in range(limit):  # all of them now: `wake` may be called where no task can be started
                    group.start_soon(self._work)
                if ready is not None:
                    ready.set()
                try:
                    await anyio.sleep_forever()
                finally:
                    self._stopping = True
                    await self._drain()
        finally:
            self._group = None
            self._heap = []  # given back by `leave`; what is pushed from here on was claimed later
            with anyio.CancelScope(shield=True), suppress(StoreUnavailable):
                await self._queue.leave(self._owner)

    async def _drain(self) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(DRAIN):
                await self._until_quiet()
            for scope in self._running.values():
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
        while not self._stopping:
            if not self._heap:
                more = anyio.Event()
                self._idle.append(more)
                await more.wait()
                continue
            await self._execute(self._handle, heappop(self._heap)[2])

    async def _execute(self, handle: Handle, claim: r.Claim) -> None:
        # Shielded from the task group's cancellation: a stop lets running jobs end (see _drain).
        with anyio.CancelScope(shield=True) as scope:
            self._running[claim.run_id] = scope
            try:
                if isinstance(await handle(claim), Again):
                    self._poked.set()
            except StoreUnavailable:
                self._postpone(claim)
            finally:
                del self._running[claim.run_id]
                if not self._running:
                    self._quiet.set()
        if scope.cancelled_caught:
            self._postpone(claim)

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
            except StoreUnavailable:
                continue
            return

    async def _poll(self) -> None:
        while True:
            self._poked = anyio.Event()
            due = await self._look()
            wait = POLL if due is None else min(POLL, max(0.0, due / 1000 - self._clock.now()))
            await self._clock.wait(self._poked, until=self._clock.now() + wait)

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

    async def _beat(self) -> None:
        never = anyio.Event()
        with self._beating:
            while True:
                with suppress(StoreUnavailable):  # others may take over meanwhile, and the fence holds
                    await self._queue.beat(self._owner, now=self._ms())
                    if not self._stopping:
                        await self._take(self._ms())
                await self._clock.wait(never, until=self._clock.now() + BEAT)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
