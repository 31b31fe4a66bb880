"""Deliveries, events and new runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import msgspec

from trigflow.core.asked import also_asked
from trigflow.runtime import records as r, views as v
from trigflow.stores.memory.tables import Event, Queued, Run, Tables


class IntakeTables(Tables):
    """Where deliveries, events and new runs are kept."""

    async def accept(
        self, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted:
        """Keep a delivery, its unknown events and their runs."""
        accepted = self._add_events(delivery)
        self._deliveries[delivery.id] = msgspec.structs.replace(delivery, outcome=accepted.outcome)
        for account in delivery.waits_for:
            self._strangers[delivery.endpoint_id, account, delivery.id] = delivery.received_at
        for update in delivery.updates:
            self._update(delivery, update)
        if then is not None:
            then(accepted)
        return accepted

    def _add_events(self, delivery: r.NewDelivery) -> r.Accepted:
        duplicates: set[int] = set()
        for number, event in enumerate(delivery.events):
            subscription = event.subscription_id or delivery.subscription_id or ""
            dedupe_id = event.dedupe_id or event.event_id
            if (subscription, dedupe_id) in self._known:
                duplicates.add(number)
                continue
            self._known[subscription, dedupe_id] = delivery.received_at
            row = v.EventRow(
                event.id,
                event.event_id,
                event.name,
                event.at,
                subscription,
                delivery.id,
                event.sealed,
                event.subscriber,
            )
            self._events[event.id] = Event(
                row, event.payload, event.context, event.sealed, event.subscriber, dedupe_id
            )
            self._add_runs(event.id, event.runs, delivery.received_at)
        all_known = bool(duplicates) and len(duplicates) == len(delivery.events)
        return r.Accepted("duplicate" if all_known else delivery.outcome, frozenset(duplicates))

    def note(self, delivery: r.NewDelivery) -> None:
        """Keep a delivery that starts nothing."""
        self._deliveries[delivery.id] = delivery

    async def replay(self, event_row: str, run: r.NewRun, *, at: int) -> bool:
        """Start a run for a kept event."""
        if await self.payload(event_row) is None:
            return False
        self._add_runs(event_row, (run,), at)
        return True

    def _add_runs(self, event: str, runs: Iterable[r.NewRun], at: int) -> None:
        for run in runs:
            self._runs[run.id] = Run(run, event, at)
            for statement in run.statements:
                self._execute(statement)

    def _execute(self, statement: r.Statement) -> None:
        if isinstance(statement, r.Dequeue):
            self._queue.pop(statement.run_id, None)
            return
        starts = 0 if statement.owner is None else 1
        self._queue[statement.run_id] = Queued(
            statement.due_at, statement.priority, statement.owner, starts=starts, held=statement.held
        )

    def _update(self, delivery: r.NewDelivery, update: r.Update) -> None:
        kept = self._subscriptions.get(update.subscription_id)
        if kept is None:
            return
        if update.metadata is not None:
            kept = attrs.evolve(kept, metadata=update.metadata)
        by_hand = kept.coverage == "unknown" and kept.state in ("failing", "expired")
        if update.activates and (kept.state == "pending" or by_hand):
            kept = attrs.evolve(kept, state="active", coverage="unknown", cause="")
        if update.cause and kept.state != "removed":
            state = kept.state if kept.state == "paused" else update.state or kept.state
            data = None if update.gone else kept.data
            kept = attrs.evolve(
                kept, state=state, cause=update.cause, data=data,
                next_at=min(kept.next_at, 0) - 1, asked=also_asked(kept.asked, update.asked),
            )  # fmt: skip
        self._subscriptions[kept.id] = kept
        endpoint = self._endpoints.get(delivery.endpoint_id)
        if update.activates and endpoint is not None and endpoint.state == "pending":
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, state="active")

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text."""
        event = self._events.get(event_row)
        if event is None:
            return None
        return event.payload if event.payload is not None else self._body(event.row.delivery_id)

    def _body(self, delivery: str) -> bytes | None:
        return None if delivery in self._bodiless else self._deliveries[delivery].body
