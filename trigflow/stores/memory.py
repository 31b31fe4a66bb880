"""A store that forgets: for tests, and for trying things out. The same rules as SQLite, in dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import attrs

from trigflow.core.runs import Place, state_of
from trigflow.runtime import records as r


@attrs.define
class _Run:
    """A run and everything that is kept of it."""

    new: r.NewRun
    event: str
    created_at: int
    finish: r.Finish | None = None
    tasks: dict[str, r.KeptTask] = attrs.field(factory=dict[str, r.KeptTask])
    attempts: list[r.Attempt] = attrs.field(factory=list[r.Attempt])
    logs: list[r.LogLine] = attrs.field(factory=list[r.LogLine])


@attrs.define
class _Queued:
    """A run's row in the queue."""

    due_at: int
    priority: int
    owner: str | None
    fence: int = 0
    starts: int = 0
    attempts: int = 0
    waits: bool = False


@attrs.define
class _Event:
    row: r.EventRow
    payload: bytes | None
    context: bytes | None


class MemoryStore:
    """Keeps everything until the process ends."""

    def __init__(self, *, store_id: str) -> None:
        """Start empty."""
        self.store_id = store_id
        self._deliveries: dict[str, r.NewDelivery] = {}
        self._events: dict[str, _Event] = {}
        self._known: set[tuple[str, str]] = set()
        self._runs: dict[str, _Run] = {}
        self._queue: dict[str, _Queued] = {}
        self._beats: dict[str, int] = {}
        self._endpoints: dict[str, r.Endpoint] = {}
        self._subscriptions: dict[str, r.Subscription] = {}
        self._claims: dict[str, tuple[str, int]] = {}
        self._wants: dict[str, tuple[int, Sequence[r.Want]]] = {}
        self._attempts: list[r.RegistrationAttempt] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None

    # --- intake

    async def accept(self, delivery: r.NewDelivery) -> r.Accepted:
        """Keep a delivery, its unknown events and their runs."""
        subscription = delivery.subscription_id or ""
        duplicates: set[int] = set()
        for number, event in enumerate(delivery.events):
            if (subscription, event.event_id) in self._known:
                duplicates.add(number)
                continue
            self._known.add((subscription, event.event_id))
            row = r.EventRow(event.id, event.event_id, event.name, event.at, subscription, delivery.id)
            self._events[event.id] = _Event(row, event.payload, event.context)
            self._add_runs(event.id, event.runs, delivery.received_at)
        all_known = bool(duplicates) and len(duplicates) == len(delivery.events)
        outcome: r.DeliveryOutcome = "duplicate" if all_known else delivery.outcome
        self._deliveries[delivery.id] = attrs.evolve(delivery, outcome=outcome)
        self._update(delivery)
        return r.Accepted(outcome, frozenset(duplicates))

    def note(self, delivery: r.NewDelivery) -> None:
        """Keep a delivery that starts nothing."""
        self._deliveries[delivery.id] = delivery

    async def replay(self, event_row: str, run: r.NewRun, *, at: int) -> bool:
        """Start a run for a kept event."""
        if event_row not in self._events:
            return False
        self._add_runs(event_row, (run,), at)
        return True

    def _add_runs(self, event: str, runs: Iterable[r.NewRun], at: int) -> None:
        for run in runs:
            self._runs[run.id] = _Run(run, event, at)
            for statement in run.statements:
                self._execute(statement)

    def _execute(self, statement: r.Statement) -> None:
        if isinstance(statement, r.Dequeue):
            self._queue.pop(statement.run_id, None)
            return
        starts = 0 if statement.owner is None else 1
        self._queue[statement.run_id] = _Queued(
            statement.due_at, statement.priority, statement.owner, starts=starts
        )

    def _update(self, delivery: r.NewDelivery) -> None:
        kept = self._subscriptions.get(delivery.subscription_id or "")
        if kept is None:
            return
        if delivery.metadata is not None:
            kept = attrs.evolve(kept, metadata=delivery.metadata)
        if delivery.activates and kept.state == "pending":
            kept = attrs.evolve(kept, state="active", cause="")
        self._subscriptions[kept.id] = kept

    # --- runs

    async def load(self, run_id: str) -> r.LoadedRun | None:
        """Load what an attempt needs."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        event = self._events[run.event]
        text = await self.payload(run.event)
        assert text is not None  # noqa: S101 - nothing is forgotten here
        return r.LoadedRun(
            run_id, run.new.job, run.created_at, run.new.replay_of, run.event, event.row.event_id, event.row.name,
            event.row.at, event.context, text, event.row.delivery_id, event.row.subscription_id, _tasks(run),
        )  # fmt: skip

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
        for statement in statements:
            self._execute(statement)
        run.finish = r.Finish("cancelled", None, None, at, 0)
        return True

    def _held_by(self, claim: r.Claim) -> _Queued | None:
        queued = self._queue.get(claim.run_id)
        return queued if queued is not None and queued.fence == claim.fence else None

    # --- queue

    async def take(self, owner: str, *, now: int, limit: int, alive_since: int) -> Sequence[r.Claim]:
        """Claim due runs that nobody has, or whose owner is gone."""
        alive = {name for name, beat in self._beats.items() if beat >= alive_since} | {owner}
        lost = [run for run, queued in self._queue.items() if queued.owner and queued.owner not in alive]
        free = [run for run, queued in self._queue.items() if queued.owner is None and queued.due_at <= now]
        free.sort(key=lambda run: (self._queue[run].due_at, run))
        taken = lost + free[: max(0, limit - len(lost))]
        taken.sort(key=lambda run: (-self._queue[run].priority, self._queue[run].due_at, run))
        return [self._claim(run, owner) for run in taken]

    def _claim(self, run_id: str, owner: str) -> r.Claim:
        queued = self._queue[run_id]
        queued.owner, queued.fence, queued.starts = owner, queued.fence + 1, queued.starts + 1
        queued.waits = False
        return r.Claim(run_id, queued.fence, queued.starts, queued.attempts)

    async def beat(self, owner: str, *, now: int) -> None:
        """Say that a process lives."""
        self._beats[owner] = now

    async def leave(self, owner: str) -> None:
        """Say that a process has ended; what it still holds is free."""
        self._beats.pop(owner, None)
        for queued in self._queue.values():
            if queued.owner == owner:
                queued.owner, queued.fence, queued.starts = None, queued.fence + 1, queued.starts - 1

    async def next_due(self) -> int | None:
        """Tell when the next unclaimed run is due."""
        return min((queued.due_at for queued in self._queue.values() if queued.owner is None), default=None)

    # --- registry

    async def endpoint(self, token: str) -> r.Endpoint | None:
        """Find an endpoint by the random part of its URL."""
        return next((endpoint for endpoint in await self.endpoints() if endpoint.token == token), None)

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed."""
        kept = self._subscriptions.values()
        return [
            attrs.evolve(
                e, subscriptions=tuple(s for s in kept if s.endpoint_id == e.id and s.state != "removed")
            )
            for e in self._endpoints.values()
            if e.state != "removed"
        ]

    async def create_subscription(self, endpoint: r.Endpoint, subscription: r.Subscription) -> r.Subscription:
        """Keep a subscription with its endpoint, unless one of the same identity exists."""
        for kept in self._subscriptions.values():
            if kept.identity == subscription.identity and kept.state != "removed":
                return kept
        self._endpoints.setdefault(endpoint.id, endpoint)
        self._subscriptions[subscription.id] = subscription
        return subscription

    async def save_subscription(
        self, subscription: r.Subscription, *, sealed_key: bytes | None = None
    ) -> None:
        """Replace a subscription's row; with a key, make that the endpoint's current one."""
        kept = self._subscriptions[subscription.id]
        self._subscriptions[subscription.id] = attrs.evolve(subscription, metadata=kept.metadata)
        endpoint = self._endpoints[subscription.endpoint_id]
        if sealed_key is not None:
            endpoint = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed_key, None),))
        if subscription.state == "active":
            endpoint = attrs.evolve(endpoint, state="active")
        self._endpoints[endpoint.id] = endpoint

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake, once and only while pending."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or endpoint.state != "pending" or endpoint.keys:
            return False
        self._endpoints[endpoint_id] = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed, None),))
        return True

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed, and its endpoint if it was the last."""
        gone = attrs.evolve(self._subscriptions[subscription_id], state="removed", updated_at=at)
        self._subscriptions[subscription_id] = gone
        if all(
            s.state == "removed" for s in self._subscriptions.values() if s.endpoint_id == gone.endpoint_id
        ):
            endpoint = self._endpoints[gone.endpoint_id]
            self._endpoints[endpoint.id] = attrs.evolve(endpoint, state="removed")

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register."""
        held = self._claims.get(subscription_id)
        if held is not None and held[0] != owner and held[1] >= now:
            return False
        self._claims[subscription_id] = (owner, until)
        return True

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        if self._claims.get(subscription_id, ("", 0))[0] == owner:
            del self._claims[subscription_id]

    async def put_wants(self, owner: str, wants: Sequence[r.Want], *, at: int) -> None:
        """Replace what one process wants."""
        self._wants[owner] = (at, wants)

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        return [want for at, wants in self._wants.values() if at >= since for want in wants]

    async def log_registration(self, attempt: r.RegistrationAttempt) -> None:
        """Keep an attempt at registering."""
        self._attempts.append(attempt)

    async def registrations(self, subscription_id: str) -> Sequence[r.RegistrationAttempt]:
        """Return a subscription's attempts, newest first."""
        return [a for a in reversed(self._attempts) if a.subscription_id == subscription_id][:100]

    # --- log

    async def deliveries(
        self, *, limit: int, before: str | None = None, outcome: str | None = None
    ) -> Sequence[r.DeliveryRow]:
        """Return deliveries, newest first."""
        found = [
            delivery
            for delivery in sorted(self._deliveries.values(), key=lambda one: one.id, reverse=True)
            if (before is None or delivery.id < before) and outcome in (None, delivery.outcome)
        ]
        return [await self._row(delivery) for delivery in found[:limit]]

    async def delivery(self, delivery_id: str) -> tuple[r.DeliveryRow, bytes] | None:
        """Return a delivery and its body."""
        found = self._deliveries.get(delivery_id)
        return None if found is None else (await self._row(found), found.body)

    async def _row(self, d: r.NewDelivery) -> r.DeliveryRow:
        endpoint = self._endpoints.get(d.endpoint_id)
        events = [event.row.id for event in self._events.values() if event.row.delivery_id == d.id]
        runs = sum(run.event in events for run in self._runs.values())
        return r.DeliveryRow(
            d.id, d.endpoint_id, "" if endpoint is None else endpoint.source, d.subscription_id, d.received_at,
            d.outcome, d.cause, d.status, d.method, d.headers, d.trace, len(events), runs,
        )  # fmt: skip

    async def events(self, delivery_id: str) -> Sequence[r.EventRow]:
        """Return the events that a delivery brought."""
        return [event.row for event in self._events.values() if event.row.delivery_id == delivery_id]

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text."""
        event = self._events.get(event_row)
        if event is None:
            return None
        return event.payload if event.payload is not None else self._deliveries[event.row.delivery_id].body

    async def runs(
        self, *, limit: int, before: str | None = None, job: str | None = None, event: str | None = None
    ) -> Sequence[r.RunRow]:
        """Return runs, newest first."""
        found = [
            run
            for run in sorted(self._runs.values(), key=lambda one: one.new.id, reverse=True)
            if (before is None or run.new.id < before)
            and job in (None, run.new.job)
            and event in (None, run.event)
        ]
        return [self._run_row(run) for run in found[:limit]]

    async def run(self, run_id: str) -> r.RunDetail | None:
        """Return a run with its tasks, attempts and log."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        result = None if run.finish is None else run.finish.result
        return r.RunDetail(self._run_row(run), result, _tasks(run), tuple(run.attempts), tuple(run.logs))

    def _run_row(self, run: _Run) -> r.RunRow:
        queued, finish, event = self._queue.get(run.new.id), run.finish, self._events[run.event].row
        place = None if queued is None else Place(queued.due_at, queued.owner, queued.starts, queued.waits)
        tried = 0 if queued is None else queued.attempts + int(queued.owner is not None)
        last = run.attempts[-1].error if run.attempts else None
        return r.RunRow(
            run.new.id, run.new.job, state_of(None if finish is None else finish.state, place), event.event_id,
            event.name, event.delivery_id, run.created_at, None if finish is None else finish.ended_at,
            tried if finish is None else finish.attempts, last if finish is None else finish.error, run.new.replay_of,
        )  # fmt: skip


def _tasks(run: _Run) -> tuple[r.KeptTask, ...]:
    return tuple(sorted(run.tasks.values(), key=lambda task: (task.started_at, task.key)))
