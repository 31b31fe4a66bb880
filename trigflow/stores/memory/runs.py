"""A run's progress, and the queue of the embedded engine."""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.runtime import records as r
from trigflow.stores.memory.intake import IntakeTables
from trigflow.stores.memory.tables import Event, Queued, tasks_of


class RunTables(IntakeTables):
    """Where a run's progress is kept, and who runs what."""

    async def load(self, run_id: str) -> r.LoadedRun | None:
        """Load what an attempt needs."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        event = self._events[run.event]
        text = await self.payload(run.event)
        return None if text is None else r.LoadedRun(
            run_id, run.new.job, run.created_at, run.new.replay_of, run.event, event.row.event_id,
            event.row.name, event.row.at, event.context, text, event.row.delivery_id,
            event.row.subscription_id, tasks_of(run), self._is_sealed(event), event.subscriber,
        )  # fmt: skip

    def _is_sealed(self, event: Event) -> bool:
        return event.sealed if event.payload is not None else self._deliveries[event.row.delivery_id].sealed

    async def begin(self, claim: r.Claim) -> int | None:
        """Count a start of an orphan; return how many there were."""
        queued = self._held_by(claim)
        if queued is None:
            return None
        queued.starts += 1
        return queued.starts

    async def keep_task(self, claim: r.Claim, task: r.KeptTask, logs: Sequence[r.LogLine]) -> bool:
        """Keep a task's result or failed attempt."""
        if self._held_by(claim) is None:
            return False
        self._runs[claim.run_id].tasks[task.key] = task
        self._runs[claim.run_id].logs += logs
        return True

    async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
        """End a run for good."""
        if self._held_by(claim) is None:
            return False
        del self._queue[claim.run_id]
        self._runs[claim.run_id].finish = finish
        self._runs[claim.run_id].logs += logs
        return True

    async def again(
        self, claim: r.Claim, attempt: r.Attempt | None, logs: Sequence[r.LogLine], *, due_at: int
    ) -> bool:
        """Give a run back to the queue."""
        queued = self._held_by(claim)
        if queued is None:
            return False
        queued.owner, queued.due_at, queued.fence, queued.starts = None, due_at, queued.fence + 1, 0
        queued.waits = attempt is None
        run = self._runs[claim.run_id]
        run.logs += logs
        if attempt is not None:
            queued.attempts += 1
            run.attempts.append(attempt)
            run.tasks = {key: task for key, task in run.tasks.items() if task.state == "succeeded"}
        return True

    async def cancel(self, run_id: str, statements: Sequence[r.Statement], *, at: int) -> bool:
        """End a run that has not ended yet as cancelled."""
        run = self._runs.get(run_id)
        if run is None or run.finish is not None:
            return False
        tried = self._tried(run_id)
        for statement in statements:
            self._execute(statement)
        run.finish = r.Finish("cancelled", None, None, at, tried)
        return True

    def _tried(self, run_id: str) -> int:
        queued = self._queue.get(run_id)
        return 0 if queued is None else queued.attempts + int(queued.owner is not None)

    def _held_by(self, claim: r.Claim) -> Queued | None:
        queued = self._queue.get(claim.run_id)
        return queued if queued is not None and queued.fence == claim.fence else None

    async def take(self, owner: str, *, now: int, limit: int, alive_since: int) -> Sequence[r.Claim]:
        """Claim due runs that nobody has, or whose owner is gone."""
        alive = {name for name, beat in self._beats.items() if beat >= alive_since} | {owner}
        lost = [run for run, queued in self._queue.items() if queued.owner and queued.owner not in alive]
        free = [run for run, queued in self._queue.items() if queued.is_free and queued.due_at <= now]
        free.sort(key=lambda run: (-self._queue[run].priority, self._queue[run].due_at, run))
        taken = lost + free[: max(0, limit - len(lost))]
        taken.sort(key=lambda run: (-self._queue[run].priority, self._queue[run].due_at, run))
        return [self._claim(run, owner) for run in taken]

    def _claim(self, run_id: str, owner: str) -> r.Claim:
        queued = self._queue[run_id]
        orphan = queued.owner is not None
        queued.owner, queued.fence, queued.waits = owner, queued.fence + 1, False
        queued.starts += int(not orphan)
        return r.Claim(run_id, queued.fence, queued.starts, queued.attempts, queued.priority, orphan)

    async def beat(self, owner: str, *, now: int, listens: bool = False) -> None:
        """Say that a process lives."""
        self._beats[owner] = self._last_beat = now
        if listens:
            since = now if self._listened is None else self._listened.since
            self._listened = r.Listened(since, now)
        self._started.setdefault(owner, now)

    async def leave(self, owner: str) -> None:
        """Say that a process has ended; what it still holds is free."""
        self._beats.pop(owner, None)
        self._started.pop(owner, None)
        for queued in self._queue.values():
            if queued.owner == owner:
                queued.owner, queued.fence, queued.starts = None, queued.fence + 1, queued.starts - 1

    async def holds(self, claim: r.Claim) -> bool:
        """Tell whether a claim is still good."""
        return self._held_by(claim) is not None

    async def next_due(self) -> int | None:
        """Tell when the next unclaimed run is due."""
        return min((queued.due_at for queued in self._queue.values() if queued.is_free), default=None)

    def glance(self) -> int | None:
        """Return None: nobody else can write."""
        return None
