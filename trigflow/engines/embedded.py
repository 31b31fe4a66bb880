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
from heapq import heappop, heappush
from itertools import count

import anyio
import anyio.abc
import attrs

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime import records as r
from trigflow.runtime.ports import Again, Clock, Handle, Item, Queue

CLAIM_LASTS = 60.0  # seconds without a beat until a process counts as dead
BEAT = 15.0  # seconds
POLL = 1.0  # seconds; how late a run of another process may be seen
LONGEST_BACKLOG = 1_000  # runs claimed in memory; further ones stay in the table for whoever is free
STORE_DOWN = 5.0  # seconds until a run is tried again that could not be kept
DRAIN = 10.0  # seconds that running jobs get to end when the engine stops


@attrs.define(order=True)
class _Ready:
    """A claimed run in the heap."""

    rank: tuple[int, int]
    claim: r.Claim = attrs.field(order=False)


class EmbeddedEngine:
    """Executes queued runs in this process."""

    def __init__(self, queue: Queue, clock: Clock, *, owner: str) -> None:
        """Work on a queue under a name that no other process has."""
        self._queue, self._clock, self._owner = queue, clock, owner
        self._heap: list[_Ready] = []
        self._order = count()
        self._idle: list[anyio.Event] = []
        self._running: dict[str, anyio.CancelScope] = {}
        self._workers = 0
        self._limit = 0
        self._group: anyio.abc.TaskGroup | None = None
        self._handle: Handle | None = None
        self._poked = anyio.Event()
        self._stopping = False
        self._quiet = anyio.Event()

    def put(self, items: Sequence[Item]) -> Sequence[tuple[r.Statement, ...]]:
        """Claim what is due now for this process, leave the rest in the table."""
        now = self._clock.now() * 1000
        free = LONGEST_BACKLOG - len(self._heap) if self._group is not None and not self._stopping else 0
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
                self._push(r.Claim(statement.run_id), statement.priority)
            else:
                self._poked.set()

    def cancel(self, run_id: str) -> Sequence[r.Statement]:
        """Stop a run if it runs here; the row goes in any case."""
        scope = self._running.get(run_id)
        if scope is not None:
            scope.cancel()
        return (r.Dequeue(run_id),)

    @property
    def alive(self) -> bool:
        """Tell whether runs are being executed."""
        return self._group is not None and not self._stopping

    async def serve(self, handle: Handle, *, limit: int) -> None:
        """Execute queued runs until cancelled; then give running ones DRAIN seconds to end."""
        self._handle, self._limit = handle, limit
        await self._queue.beat(self._owner, now=self._ms())
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._beat)
                group.start_soon(self._poll)
                try:
                    await anyio.sleep_forever()
                finally:
                    self._stopping = True
                    await self._drain()
        finally:
            self._group = None
            with anyio.CancelScope(shield=True):
                await self._queue.leave(self._owner)

    async def _drain(self) -> None:
        with anyio.move_on_after(DRAIN, shield=True):
            while self._running:
                self._quiet = anyio.Event()
                await self._quiet.wait()
        for scope in self._running.values():
            scope.cancel()

    def _push(self, claim: r.Claim, priority: int) -> None:
        heappush(self._heap, _Ready((-priority, next(self._order)), claim))
        if self._idle:
            self._idle.pop().set()
        elif self._workers < self._limit and self._group is not None:
            self._workers += 1
            self._group.start_soon(self._work)

    async def _work(self) -> None:
        assert self._handle is not None  # noqa: S101 - set before the first worker starts
        while not self._stopping:
            if not self._heap:
                more = anyio.Event()
                self._idle.append(more)
                await more.wait()
                continue
            await self._execute(self._handle, heappop(self._heap).claim)

    async def _execute(self, handle: Handle, claim: r.Claim) -> None:
        # Shielded from the task group's cancellation: a stop lets running jobs end (see _drain).
        with anyio.CancelScope(shield=True) as scope:
            self._running[claim.run_id] = scope
            try:
                if isinstance(await handle(claim), Again):
                    self._poked.set()
            except StoreUnavailable:
                if self._group is not None:
                    self._group.start_soon(self._later, claim)
            finally:
                del self._running[claim.run_id]
                if not self._running:
                    self._quiet.set()

    async def _later(self, claim: r.Claim) -> None:
        """Take a run up again that could not be kept; the claim is still ours."""
        await self._clock.wait(anyio.Event(), until=self._clock.now() + STORE_DOWN)
        self._push(claim, 0)

    async def _poll(self) -> None:
        while True:
            self._poked = anyio.Event()
            now = self._ms()
            due = await self._look(now)
            wait = POLL if due is None else min(POLL, max(0.0, due / 1000 - self._clock.now()))
            await self._clock.wait(self._poked, until=self._clock.now() + wait)

    async def _look(self, now: int) -> int | None:
        """Take what is due; return when the next one is."""
        try:
            due = await self._queue.next_due()
            if due is None or due > now:
                return due
            await self._take(now)
            return None
        except StoreUnavailable:
            return None

    async def _take(self, now: int) -> None:
        free = max(0, LONGEST_BACKLOG - len(self._heap))
        alive_since = now - int(CLAIM_LASTS * 1000)
        for claim in await self._queue.take(self._owner, now=now, limit=free, alive_since=alive_since):
            self._push(claim, 0)

    async def _beat(self) -> None:
        never = anyio.Event()
        while True:
            try:
                await self._queue.beat(self._owner, now=self._ms())
                await self._take(self._ms())
            except StoreUnavailable:
                pass  # the next beat tells; meanwhile others may take over, and the fence holds
            await self._clock.wait(never, until=self._clock.now() + BEAT)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
