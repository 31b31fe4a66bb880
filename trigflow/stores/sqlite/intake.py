"""Deliveries, events and new runs: one transaction each, insert only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection
from trigflow.stores.sqlite.database import Database, pack
from trigflow.stores.sqlite.subscriptions import ALSO_ASKED

_DEDUPE = "INSERT OR IGNORE INTO dedupe VALUES(?,?,?)"
_EVENT = "INSERT INTO events VALUES(?,?,?,?,?,?,?,?,?,?,?)"
_RUN = "INSERT INTO runs VALUES(?,?,?,?,?,?,NULL)"
_DELIVERY = "INSERT INTO deliveries VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"
_ENQUEUE = "INSERT INTO queue VALUES(?,?,?,?,0,?,0,0,?)"
_PAYLOAD_KEPT = (
    "SELECT 1 FROM events LEFT JOIN deliveries ON deliveries.id = events.delivery_id "
    "WHERE events.id = ? AND coalesce(events.payload, deliveries.body) IS NOT NULL"
)
_WAIT = "INSERT OR IGNORE INTO strangers VALUES(?,?,?,?)"
_FETCH = "INSERT OR REPLACE INTO fetches VALUES(?,?,?,?)"
_SIGNALLED = (  # what a person has paused stays paused
    "UPDATE subscriptions SET state = CASE state WHEN 'paused' THEN state ELSE coalesce(?1, state) END, "  # noqa: S608
    f"cause = ?2, next_at = min(next_at, 0) - 1, asked = {ALSO_ASKED}, "
    "data = CASE WHEN ?4 THEN NULL ELSE data END WHERE id = ?5 AND state <> 'removed'"
)


class IntakeRows(Database):
    """Where deliveries, events and new runs are kept."""

    async def accept(
        self, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted:
        """Keep a delivery, its unknown events and their runs."""
        body = pack(delivery.body)
        return await self.write(lambda connection: _accept(connection, delivery, body), then)

    def note(self, delivery: r.NewDelivery) -> None:
        """Keep a delivery that starts nothing; nobody waits for it."""
        body = pack(delivery.body)
        self.post(lambda connection: _insert_delivery(connection, delivery, body, delivery.outcome))

    async def replay(self, event_row: str, run: r.NewRun, *, at: int) -> bool:
        """Start a run for a kept event."""

        def work(connection: Connection) -> bool:
            if not connection.execute(_PAYLOAD_KEPT, (event_row,)).fetchall():
                return False
            _insert_runs(connection, event_row, (run,), at)
            return True

        return await self.write(work)


def _accept(connection: Connection, delivery: r.NewDelivery, body: bytes) -> r.Accepted:
    accepted = insert_events(connection, delivery)
    _insert_delivery(connection, delivery, body, accepted.outcome)
    for account in delivery.waits_for:
        connection.execute(_WAIT, (delivery.endpoint_id, account, delivery.id, delivery.received_at))
    for update in delivery.updates:
        update_subscription(connection, delivery, update)
    return accepted


def insert_events(connection: Connection, delivery: r.NewDelivery) -> r.Accepted:
    """Insert what is not known of a delivery's events, and their runs."""
    duplicates: set[int] = set()
    for number, event in enumerate(delivery.events):
        if _insert_event(connection, delivery, event):
            _insert_runs(connection, event.id, event.runs, delivery.received_at)
        else:
            duplicates.add(number)
    all_known = bool(duplicates) and len(duplicates) == len(delivery.events)
    return r.Accepted("duplicate" if all_known else delivery.outcome, frozenset(duplicates))


def _insert_event(connection: Connection, delivery: r.NewDelivery, event: r.NewEvent) -> bool:
    subscription = event.subscription_id or delivery.subscription_id or ""
    connection.execute(_DEDUPE, (subscription, event.dedupe_id or event.event_id, delivery.received_at))
    if connection.changes() == 0:
        return False
    payload = None if event.payload is None else pack(event.payload)
    context = None if event.context is None else event.context.decode()
    subscriber = None if event.subscriber is None else event.subscriber.decode()
    row = (
        event.id, subscription, event.event_id, event.name, event.at, delivery.id, payload, context,
        event.sealed, subscriber, event.dedupe_id,
    )  # fmt: skip
    connection.execute(_EVENT, row)
    return True


def _insert_runs(connection: Connection, event: str, runs: Iterable[r.NewRun], at: int) -> None:
    for run in runs:
        connection.execute(_RUN, (run.id, run.job, event, run.version, at, run.replay_of))
        for statement in run.statements:
            execute(connection, statement)


def _insert_delivery(
    connection: Connection, delivery: r.NewDelivery, body: bytes, outcome: r.DeliveryOutcome
) -> None:
    trace = None if delivery.trace is None else delivery.trace.decode()
    row = (
        delivery.id, delivery.endpoint_id, delivery.subscription_id, delivery.received_at, outcome,
        delivery.cause, delivery.status, delivery.method, delivery.headers.decode(), body, trace,
        delivery.sealed, delivery.key_serial,
    )  # fmt: skip
    connection.execute(_DELIVERY, row)


def update_subscription(connection: Connection, delivery: r.NewDelivery, update: r.Update) -> None:
    """Write what a delivery says of a subscription itself."""
    subscription = update.subscription_id
    for scope in update.fetches:
        connection.execute(_FETCH, (subscription, scope, delivery.id, delivery.received_at))
    if update.metadata is not None:
        connection.execute(
            "UPDATE subscriptions SET metadata = ? WHERE id = ?", (update.metadata.decode(), subscription)
        )
    if update.activates:
        connection.execute(
            "UPDATE subscriptions SET state = 'active', coverage = 'unknown', cause = '' "
            "WHERE id = ? AND (state = 'pending' "
            "OR (coverage = 'unknown' AND state IN ('failing', 'expired')))",
            (subscription,),
        )
        connection.execute(
            "UPDATE endpoints SET state = 'active' WHERE id = ? AND state = 'pending'",
            (delivery.endpoint_id,),
        )
    if update.cause:
        connection.execute(
            _SIGNALLED,
            (update.state, update.cause, update.asked, int(update.gone), subscription),
        )


def execute(connection: Connection, statement: r.Statement) -> None:
    """Execute one of the engine's statements."""
    if isinstance(statement, r.Enqueue):
        starts = 0 if statement.owner is None else 1
        row = (
            statement.run_id, statement.due_at, statement.priority, statement.owner, starts, statement.held,
        )  # fmt: skip
        connection.execute(_ENQUEUE, row)
    else:
        connection.execute("DELETE FROM queue WHERE run_id = ?", (statement.run_id,))
