"""What people look at: the request log and the runs."""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.core.runs import Place, State, state_of
from trigflow.runtime import records as r, views as v
from trigflow.stores.memory.runs import RunTables
from trigflow.stores.memory.tables import Run, tasks_of

LOOKED = 10_000  # deliveries, of which those of one endpoint are shown


class LogTables(RunTables):
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
        found = [
            delivery
            for delivery in sorted(self._deliveries.values(), key=lambda one: one.id, reverse=True)
            if (before is None or delivery.id < before) and outcome in (None, delivery.outcome)
        ]
        if endpoint is not None:
            found = [delivery for delivery in found[:LOOKED] if delivery.endpoint_id == endpoint]
        return [await self._row(delivery) for delivery in found[:limit]]

    async def delivery(self, delivery_id: str) -> tuple[v.DeliveryRow, bytes | None] | None:
        """Return a delivery and its body."""
        found = self._deliveries.get(delivery_id)
        return None if found is None else (await self._row(found), self._body(found.id))

    async def _row(self, d: r.NewDelivery) -> v.DeliveryRow:
        endpoint = self._endpoints.get(d.endpoint_id)
        events = [event.row.id for event in self._events.values() if event.row.delivery_id == d.id]
        runs = sum(run.event in events for run in self._runs.values())
        return v.DeliveryRow(
            d.id, d.endpoint_id, "" if endpoint is None else endpoint.source, d.subscription_id,
            d.received_at, d.outcome, d.cause, d.status, d.method, d.headers, d.trace, len(events), runs,
            d.sealed, d.key_serial,
        )  # fmt: skip

    async def events(self, delivery_id: str) -> Sequence[v.EventRow]:
        """Return the events that a delivery brought."""
        found = (event.row for event in self._events.values() if event.row.delivery_id == delivery_id)
        return sorted(found, key=lambda row: row.id)

    async def runs(
        self, *, limit: int, before: str | None = None, job: str | None = None, event: str | None = None
    ) -> Sequence[v.RunRow]:
        """Return runs, newest first."""
        found = [
            run
            for run in sorted(self._runs.values(), key=lambda one: one.new.id, reverse=True)
            if (before is None or run.new.id < before)
            and job in (None, run.new.job)
            and event in (None, run.event)
        ]
        return [self._run_row(run) for run in found[:limit]]

    async def run(self, run_id: str) -> v.RunDetail | None:
        """Return a run with its tasks, attempts and log."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        result = None if run.finish is None else run.finish.result
        return v.RunDetail(self._run_row(run), result, tasks_of(run), tuple(run.attempts), tuple(run.logs))

    def _run_row(self, run: Run) -> v.RunRow:
        new, event = run.new, self._events[run.event].row
        head = (
            new.id,
            new.job,
            self._state(run),
            event.event_id,
            event.name,
            event.delivery_id,
            run.created_at,
        )
        if run.finish is None:
            error = run.attempts[-1].error if run.attempts else None
            return v.RunRow(*head, None, self._tried(new.id), error, new.replay_of, event.subscriber)
        end = run.finish
        return v.RunRow(*head, end.ended_at, end.attempts, end.error, new.replay_of, event.subscriber)

    def _state(self, run: Run) -> State:
        q = self._queue.get(run.new.id)
        place = None if q is None else Place(q.due_at, q.owner, q.starts, q.waits, q.held)
        return state_of(None if run.finish is None else run.finish.state, place)
