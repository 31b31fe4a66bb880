"""What people look at: the request log and the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trigflow.core.runs import Place, state_of
from trigflow.runtime import records as r, views as v
from trigflow.stores.sqlite.connection import Connection, Row
from trigflow.stores.sqlite.database import Database, unpack
from trigflow.stores.sqlite.runs import TASKS

LOOKED = 10_000  # deliveries, of which those of one endpoint are shown
_DELIVERIES = (
    "SELECT d.id, d.endpoint_id, coalesce(endpoints.source, ''), d.subscription_id, d.received_at, "
    "d.outcome, d.cause, d.status, d.method, d.headers, d.trace, "
    "(SELECT count(*) FROM events WHERE events.delivery_id = d.id), "
    "(SELECT count(*) FROM events JOIN runs ON runs.event = events.id WHERE events.delivery_id = d.id), "
    "d.sealed, d.key_serial "
    "FROM deliveries d LEFT JOIN endpoints ON endpoints.id = d.endpoint_id "
)
_EVENTS = (
    "SELECT id, event_id, name, at, subscription_id, delivery_id, sealed, subscriber "
    "FROM events "
    "WHERE delivery_id = ? ORDER BY id"
)
_RUNS = (
    "SELECT runs.id, runs.job, events.event_id, events.name, events.delivery_id, runs.created_at, "
    "runs.replay_of, finishes.state, finishes.ended_at, finishes.attempts, finishes.error, "
    "queue.due_at, queue.owner, queue.starts, queue.waits, queue.held, queue.attempts, "
    "(SELECT error FROM attempts WHERE attempts.run_id = runs.id ORDER BY number DESC LIMIT 1), "
    "events.subscriber "
    "FROM runs JOIN events ON events.id = runs.event LEFT JOIN finishes ON finishes.run_id = runs.id "
    "LEFT JOIN queue ON queue.run_id = runs.id "
)


class LogRows(Database):
    """What people look at."""

    async def deliveries(
        self,
        *,
        limit: int,
        before: str | None = None,
        outcome: str | None = None,
        endpoint: str | None = None,
    ) -> Sequence[v.DeliveryRow]:
        """Return deliveries, newest first; those of one endpoint among the last LOOKED."""
        where, values = _where({"d.id < ?": before, "d.outcome = ?": outcome})
        if endpoint is not None:
            return await self.read(lambda c: _of_endpoint(c, endpoint, where, values, limit))
        sql = f"{_DELIVERIES} {where} ORDER BY d.id DESC LIMIT ?"
        rows = await self.read(lambda connection: connection.execute(sql, (*values, limit)).fetchall())
        return [_delivery(row) for row in rows]

    async def delivery(self, delivery_id: str) -> tuple[v.DeliveryRow, bytes | None] | None:
        """Return a delivery and its body."""

        def work(connection: Connection) -> tuple[v.DeliveryRow, bytes | None] | None:
            rows = connection.execute(_DELIVERIES + "WHERE d.id = ?", (delivery_id,)).fetchall()
            if not rows:
                return None
            ((body,),) = connection.execute(
                "SELECT body FROM deliveries WHERE id = ?", (delivery_id,)
            ).fetchall()
            return _delivery(rows[0]), None if body is None else unpack(body)

        return await self.read(work)

    async def events(self, delivery_id: str) -> Sequence[v.EventRow]:
        """Return the events that a delivery brought."""
        rows = await self.read(lambda connection: connection.execute(_EVENTS, (delivery_id,)).fetchall())
        return [
            v.EventRow(
                id_, event_id, name, at, subscription_id, delivery_id, bool(sealed), _encoded(subscriber)
            )
            for id_, event_id, name, at, subscription_id, delivery_id, sealed, subscriber in rows
        ]

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text."""
        sql = (
            "SELECT coalesce(events.payload, deliveries.body) FROM events "
            "LEFT JOIN deliveries ON deliveries.id = events.delivery_id WHERE events.id = ?"
        )
        rows = await self.read(lambda connection: connection.execute(sql, (event_row,)).fetchall())
        return unpack(rows[0][0]) if rows and rows[0][0] is not None else None

    async def runs(
        self, *, limit: int, before: str | None = None, job: str | None = None, event: str | None = None
    ) -> Sequence[v.RunRow]:
        """Return runs, newest first."""
        # +: an event has few runs, a job has many; only one of the two indexes can be used.
        of_job = "runs.job = ?" if event is None else "+runs.job = ?"
        where, values = _where({"runs.id < ?": before, of_job: job, "runs.event = ?": event})
        sql = f"{_RUNS} {where} ORDER BY runs.id DESC LIMIT ?"
        rows = await self.read(lambda connection: connection.execute(sql, (*values, limit)).fetchall())
        return [_run(row) for row in rows]

    async def run(self, run_id: str) -> v.RunDetail | None:
        """Return a run with its tasks, attempts and log."""

        def work(connection: Connection) -> v.RunDetail | None:
            rows = connection.execute(_RUNS + "WHERE runs.id = ?", (run_id,)).fetchall()
            return _detail(connection, _run(rows[0])) if rows else None

        return await self.read(work)


def _where(conditions: Mapping[str, str | None]) -> tuple[str, list[str]]:
    """Return the conditions that have a value; one statement for all of them could use no index."""
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return f"WHERE {' AND '.join(given)}" if given else "", list(given.values())


def _of_endpoint(
    connection: Connection, endpoint: str, where: str, values: list[str], limit: int
) -> list[v.DeliveryRow]:
    """Look among the newest: an index by endpoint would be written to by each delivery."""
    newest = f"SELECT d.id, d.endpoint_id FROM deliveries d {where} ORDER BY d.id DESC LIMIT ?"  # noqa: S608
    sql = f"SELECT id FROM ({newest}) WHERE endpoint_id = ? LIMIT ?"  # noqa: S608 - our own names
    names = connection.execute(sql, (*values, LOOKED, endpoint, limit)).fetchall()
    rows = (connection.execute(_DELIVERIES + "WHERE d.id = ?", name).fetchall() for name in names)
    return [_delivery(row) for found in rows for row in found]  # one may have gone meanwhile


def _delivery(row: Row) -> v.DeliveryRow:
    (id_, endpoint_id, source, subscription_id, received_at, outcome, cause, status, method, headers, trace,
     events, runs, sealed, key_serial) = row  # fmt: skip
    return v.DeliveryRow(
        id_, endpoint_id, source, subscription_id, received_at, outcome, cause, status, method,
        headers.encode(), _encoded(trace), events, runs, bool(sealed), key_serial,
    )  # fmt: skip


def _run(row: Row) -> v.RunRow:
    (id_, job, event_id, name, delivery_id, created_at, replay_of, finished, ended_at, attempts, error,
     due_at, owner, starts, waits, held, failed, last_error, subscriber) = row  # fmt: skip
    place = None if due_at is None else Place(due_at, owner, starts, bool(waits), bool(held))
    tried = attempts if finished else (failed or 0) + (owner is not None)
    return v.RunRow(
        id_, job, state_of(finished, place), event_id, name, delivery_id, created_at, ended_at, tried,
        error if finished else last_error, replay_of, _encoded(subscriber),
    )  # fmt: skip


def _detail(connection: Connection, row: v.RunRow) -> v.RunDetail:
    results = connection.execute("SELECT result FROM finishes WHERE run_id = ?", (row.id,)).fetchall()
    tasks = tuple(r.KeptTask(*task) for task in connection.execute(TASKS, (row.id,)))
    attempts = connection.execute(
        "SELECT number, started_at, ended_at, error FROM attempts WHERE run_id = ? ORDER BY number", (row.id,)
    )
    tried = tuple(r.Attempt(*attempt) for attempt in attempts)
    lines = connection.execute(
        "SELECT at, level, message, fields FROM logs WHERE run_id = ? ORDER BY rowid", (row.id,)
    )
    logs = tuple(r.LogLine(at, level, message, _encoded(fields)) for at, level, message, fields in lines)
    return v.RunDetail(row, results[0][0] if results else None, tasks, tried, logs)


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
