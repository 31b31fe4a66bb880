"""A run's progress, and the queue of the embedded engine.

Every write of an attempt carries its claim's fence: a process that was frozen
and has lost its claim changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row
from trigflow.stores.sqlite.database import Database, unpack
from trigflow.stores.sqlite.intake import execute

_TASK = (
    "INSERT OR REPLACE INTO tasks SELECT ?,?,?,?,?,?,?,?,? "
    "WHERE EXISTS (SELECT 1 FROM queue WHERE run_id = ? AND fence = ?)"
)
_LOAD = (
    "SELECT runs.id, runs.job, runs.created_at, runs.replay_of, events.id, events.event_id, events.name, "
    "events.at, events.context, events.payload, deliveries.body, events.delivery_id, events.subscription_id, "
    "CASE WHEN events.payload IS NULL THEN deliveries.sealed ELSE events.sealed END, events.subscriber "
    "FROM runs JOIN events ON events.id = runs.event "
    "LEFT JOIN deliveries ON deliveries.id = events.delivery_id WHERE runs.id = ?"
)
TASKS = (
    "SELECT key, state, attempt, result, error, started_at, ended_at, retry_at FROM tasks "
    "WHERE run_id = ? ORDER BY started_at, key"
)
# What is due is found priority by priority: a backlog is neither looked through nor sorted. The costs
# grow with how many different priorities are queued, and with how many processes own something.
_HIGHEST = "SELECT max(priority) FROM queue WHERE owner IS NULL AND held = 0"
_TAKE = (
    "UPDATE queue SET owner = ?1, fence = fence + 1, starts = starts + 1, waits = 0 WHERE run_id IN ("
    "SELECT run_id FROM queue WHERE owner IS NULL AND held = 0 AND priority = ?2 AND due_at <= ?3 "
    "ORDER BY due_at, run_id LIMIT ?4) RETURNING priority, due_at, run_id, fence, starts, attempts"
)
_NEXT_DUE = (
    f"WITH RECURSIVE priorities(one) AS ({_HIGHEST} UNION ALL "  # noqa: S608
    f"SELECT ({_HIGHEST} AND priority < one) FROM priorities WHERE one IS NOT NULL) "
    "SELECT min((SELECT min(due_at) FROM queue WHERE owner IS NULL AND held = 0 AND priority = one)) "
    "FROM priorities WHERE one IS NOT NULL"
)
_TAKE_OVER = (
    "WITH RECURSIVE owners(one) AS (SELECT min(owner) FROM queue WHERE owner IS NOT NULL UNION ALL "
    "SELECT (SELECT min(owner) FROM queue WHERE owner > one) FROM owners WHERE one IS NOT NULL) "
    "UPDATE queue SET owner = ?1, fence = fence + 1 WHERE owner IN ("
    "SELECT one FROM owners WHERE one <> ?1 "
    "AND NOT EXISTS (SELECT 1 FROM instances WHERE id = one AND beat_at >= ?2)) "
    "RETURNING priority, due_at, run_id, fence, starts, attempts"
)
_BEGIN = "UPDATE queue SET starts = starts + 1 WHERE run_id = ? AND fence = ? RETURNING starts"
_UNFINISHED = (
    "SELECT coalesce(queue.attempts, 0) + (queue.owner IS NOT NULL) FROM runs "
    "LEFT JOIN queue ON queue.run_id = runs.id "
    "WHERE runs.id = ?1 AND NOT EXISTS (SELECT 1 FROM finishes WHERE run_id = ?1)"
)


class RunRows(Database):
    """Where a run's progress is kept."""

    async def load(self, run_id: str) -> r.LoadedRun | None:
        """Load what an attempt needs."""
        return await self.read(lambda connection: _load(connection, run_id))

    async def begin(self, claim: r.Claim) -> int | None:
        """Count a start of an orphan; return how many there were."""
        row = (claim.run_id, claim.fence)

        def work(connection: Connection) -> int | None:
            rows = connection.execute(_BEGIN, row).fetchall()
            return int(rows[0][0]) if rows else None

        return await self.write(work)

    async def keep_task(self, claim: r.Claim, task: r.KeptTask, logs: Sequence[r.LogLine]) -> bool:
        """Keep a task's result or failed attempt, and the lines written until then."""
        row = (
            claim.run_id, task.key, task.state, task.attempt, task.result, task.error,
            task.started_at, task.ended_at, task.retry_at, claim.run_id, claim.fence,
        )  # fmt: skip

        def work(connection: Connection) -> bool:
            connection.execute(_TASK, row)
            if connection.changes() == 0:
                return False
            _insert_logs(connection, claim.run_id, logs)
            return True

        return await self.write(work)

    async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
        """End a run for good."""

        def work(connection: Connection) -> bool:
            connection.execute(
                "DELETE FROM queue WHERE run_id = ? AND fence = ?", (claim.run_id, claim.fence)
            )
            if connection.changes() == 0:
                return False
            _insert_finish(connection, claim.run_id, finish)
            _insert_logs(connection, claim.run_id, logs)
            return True

        return await self.write(work)

    async def again(
        self, claim: r.Claim, attempt: r.Attempt | None, logs: Sequence[r.LogLine], *, due_at: int
    ) -> bool:
        """Give a run back to the queue."""

        def work(connection: Connection) -> bool:
            connection.execute(
                "UPDATE queue SET owner = NULL, due_at = ?, fence = fence + 1, waits = ?, "
                "attempts = attempts + ?, starts = 0 WHERE run_id = ? AND fence = ?",
                (due_at, int(attempt is None), int(attempt is not None), claim.run_id, claim.fence),
            )
            if connection.changes() == 0:
                return False
            if attempt is not None:
                row = (claim.run_id, attempt.number, attempt.started_at, attempt.ended_at, attempt.error)
                connection.execute("INSERT OR REPLACE INTO attempts VALUES(?,?,?,?,?)", row)
                connection.execute(
                    "DELETE FROM tasks WHERE run_id = ? AND state <> 'succeeded'", (claim.run_id,)
                )
            _insert_logs(connection, claim.run_id, logs)
            return True

        return await self.write(work)

    async def cancel(self, run_id: str, statements: Sequence[r.Statement], *, at: int) -> bool:
        """End a run that has not ended yet as cancelled."""

        def work(connection: Connection) -> bool:
            rows = connection.execute(_UNFINISHED, (run_id,)).fetchall()
            if not rows:
                return False
            for statement in statements:
                execute(connection, statement)
            _insert_finish(connection, run_id, r.Finish("cancelled", None, None, at, rows[0][0]))
            return True

        return await self.write(work)


class QueueRows(Database):
    """The embedded engine's table."""

    async def take(self, owner: str, *, now: int, limit: int, alive_since: int) -> Sequence[r.Claim]:
        """Claim due runs that nobody has, or whose owner is gone."""

        def work(connection: Connection) -> list[r.Claim]:
            orphans = connection.execute(_TAKE_OVER, (owner, alive_since)).fetchall()
            due = _take_due(connection, owner, now, limit - len(orphans))
            rows = [(*row, True) for row in orphans] + [(*row, False) for row in due]
            rows.sort(key=lambda row: (-row[0], *row[1:3]))
            return [
                r.Claim(run_id, fence, starts, attempts, priority, orphan)
                for priority, _, run_id, fence, starts, attempts, orphan in rows
            ]

        return await self.write(work)

    async def beat(self, owner: str, *, now: int, listens: bool = False) -> None:
        """Say that a process lives."""

        def work(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO instances VALUES(?1, ?2, ?2) "
                "ON CONFLICT(id) DO UPDATE SET beat_at = excluded.beat_at",
                (owner, now),
            )
            # Of its own: rows of processes go when they end, or are known to have been killed.
            connection.execute("INSERT OR REPLACE INTO meta VALUES('last beat', ?)", (str(now),))
            if listens:
                connection.execute("INSERT OR IGNORE INTO meta VALUES('listened since', ?)", (str(now),))
                connection.execute("INSERT OR REPLACE INTO meta VALUES('listened until', ?)", (str(now),))

        await self.write(work)

    async def leave(self, owner: str) -> None:
        """Say that a process has ended; what it still holds is free."""

        def work(connection: Connection) -> None:
            connection.execute(
                "UPDATE queue SET owner = NULL, fence = fence + 1, starts = starts - 1 WHERE owner = ?",
                (owner,),
            )
            connection.execute("DELETE FROM instances WHERE id = ?", (owner,))

        await self.write(work)

    async def holds(self, claim: r.Claim) -> bool:
        """Tell whether a claim is still good."""
        sql = "SELECT 1 FROM queue WHERE run_id = ? AND fence = ?"
        row = (claim.run_id, claim.fence)
        return bool(await self.read(lambda connection: connection.execute(sql, row).fetchall()))

    async def next_due(self) -> int | None:
        """Tell when the next unclaimed run is due."""
        ((due,),) = await self.read(lambda connection: connection.execute(_NEXT_DUE).fetchall())
        return None if due is None else int(due)

    def glance(self) -> int | None:
        """Return a number that changes when anybody commits."""
        return self.version()


def _take_due(connection: Connection, owner: str, now: int, limit: int) -> list[Row]:
    """Take by priority, and within one by what has been due for longest."""
    taken: list[Row] = []
    ((priority,),) = connection.execute(_HIGHEST).fetchall()
    while priority is not None and len(taken) < limit:
        taken += connection.execute(_TAKE, (owner, priority, now, limit - len(taken))).fetchall()
        ((priority,),) = connection.execute(f"{_HIGHEST} AND priority < ?", (priority,)).fetchall()
    return taken


def _load(connection: Connection, run_id: str) -> r.LoadedRun | None:
    rows = connection.execute(_LOAD, (run_id,)).fetchall()
    if not rows:
        return None
    (id_, job, created_at, replay_of, event_row, event_id, name, at, context, payload, body, delivery_id,
     subscription_id, sealed, subscriber) = rows[0]  # fmt: skip
    packed = payload if payload is not None else body
    if packed is None:
        return None
    tasks = tuple(r.KeptTask(*row) for row in connection.execute(TASKS, (run_id,)))
    return r.LoadedRun(
        id_, job, created_at, replay_of, event_row, event_id, name, at,
        None if context is None else context.encode(), unpack(packed), delivery_id, subscription_id, tasks,
        bool(sealed), None if subscriber is None else subscriber.encode(),
    )  # fmt: skip


def _insert_finish(connection: Connection, run_id: str, finish: r.Finish) -> None:
    row = (run_id, finish.state, finish.result, finish.error, finish.ended_at, finish.attempts)
    connection.execute("INSERT INTO finishes VALUES(?,?,?,?,?,?)", row)


def _insert_logs(connection: Connection, run_id: str, logs: Sequence[r.LogLine]) -> None:
    for line in logs:
        fields = None if line.fields is None else line.fields.decode()
        connection.execute(
            "INSERT INTO logs VALUES(?,?,?,?,?)", (run_id, line.at, line.level, line.message, fields)
        )
