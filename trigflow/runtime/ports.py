"""What the paths need from a store, an engine and a clock.

A Protocol stands here only where two implementations exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self, TypeAlias

import anyio
import msgspec

from trigflow.runtime import records as r, views as v
from trigflow.runtime.health_ports import Health as Health
from trigflow.runtime.registry_ports import (
    Connections as Connections,
    Registry as Registry,
    Subscribers as Subscribers,
)


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now(self) -> float:
        """Return unix seconds."""
        ...

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        """Return when the event is set, or at `until` (unix seconds)."""
        ...


class Intake(Protocol):
    """Where deliveries, events and new runs are kept."""

    async def accept(
        self, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted:
        """Keep a delivery, its unknown events and their runs in one transaction.

        Returns after the commit. `then` is called right after it, also where the
        caller was cancelled meanwhile: a sender that hangs up must not part the
        commit from the start of its runs. It may be called outside any task, where
        nothing can be awaited or started. Raises StoreUnavailable where nothing
        was kept.
        """
        ...

    def note(self, delivery: r.NewDelivery) -> None:
        """Keep a delivery that starts nothing; nobody waits for it and it may be lost."""
        ...

    async def replay(self, event_row: str, run: r.NewRun, *, at: int) -> bool:
        """Start a run for a kept event; False where it, or its payload, is no longer kept."""
        ...


class Strangers(Protocol):
    """Where verified deliveries wait for their account to become known.

    An address is an endpoint's id and an account.
    """

    async def waited_for(self, *, after: tuple[str, str], limit: int) -> r.WaitedFor:
        """Look at up to `limit` accounts that are waited for, from one on; ("", "") for the first.

        Costs as much for an account that one delivery waits for as for one that a million do.
        """
        ...

    async def waiting(self, address: tuple[str, str], *, after: str, limit: int) -> Sequence[str]:
        """Return the ids of deliveries that wait for an account, the first received first."""
        ...

    async def adopt(
        self, account: str, delivery: r.NewDelivery, then: Callable[[r.Accepted], object] | None = None
    ) -> r.Accepted | None:
        """Keep, in one transaction, what a waiting delivery says for an account, as `accept` does.

        delivery: has the id of the one that waits. Of that one only what became of it changes.
        None where it no longer waits for this account, or its body is no longer kept.
        """
        ...

    async def stop_waiting(self, address: tuple[str, str], delivery_id: str) -> None:
        """Have a delivery wait for an account no longer; it stays as it is."""
        ...

    async def stop_waiting_before(self, at: int, *, limit: int) -> int:
        """Have up to `limit` deliveries from before a moment wait no longer; return how many it were."""
        ...


class Runs(Protocol):
    """Where a run's progress is kept.

    Writes of a lost claim return False and change nothing. A write that was asked
    for is carried out, whether or not the caller is cancelled while it waits.
    """

    async def load(self, run_id: str) -> r.LoadedRun | None:
        """Load what an attempt needs; None where the run or its payload is gone."""
        ...

    async def begin(self, claim: r.Claim) -> int | None:
        """Count a start of an orphan and return how many there were; None where the claim is lost."""
        ...

    async def keep_task(self, claim: r.Claim, task: r.KeptTask, logs: Sequence[r.LogLine]) -> bool:
        """Keep a task's result or failed attempt, and the lines written until then."""
        ...

    async def finish(self, claim: r.Claim, finish: r.Finish, logs: Sequence[r.LogLine]) -> bool:
        """End a run for good."""
        ...

    async def again(
        self, claim: r.Claim, attempt: r.Attempt | None, logs: Sequence[r.LogLine], *, due_at: int
    ) -> bool:
        """Give a run back to the queue; with an attempt it is a retry, without one it waits."""
        ...

    async def cancel(self, run_id: str, statements: Sequence[r.Statement], *, at: int) -> bool:
        """End a run that has not ended yet as cancelled; False where it has."""
        ...


class Queue(Protocol):
    """The embedded engine's table: who runs what now."""

    async def take(self, owner: str, *, now: int, limit: int, alive_since: int) -> Sequence[r.Claim]:
        """Claim due runs that nobody has, or whose owner's last beat is before `alive_since`."""
        ...

    async def beat(self, owner: str, *, now: int, listens: bool = False) -> None:
        """Say that a process lives, and whether it takes deliveries."""
        ...

    async def leave(self, owner: str) -> None:
        """Say that a process has ended; what it still holds is free."""
        ...

    async def holds(self, claim: r.Claim) -> bool:
        """Tell whether a claim is still good."""
        ...

    async def next_due(self) -> int | None:
        """Tell when the next unclaimed run is due."""
        ...

    def glance(self) -> int | None:
        """Return a number that changes when anybody writes; None where nobody else can, or it can't be told.

        Cheap enough to be asked ten times a second on the loop; it never raises.
        """
        ...


class Log(Protocol):
    """What people look at."""

    async def deliveries(
        self,
        *,
        limit: int,
        before: str | None = None,
        outcome: str | None = None,
        endpoint: str | None = None,
    ) -> Sequence[v.DeliveryRow]:
        """Return deliveries, newest first; with an endpoint's id, those there of the last 10,000."""
        ...

    async def delivery(self, delivery_id: str) -> tuple[v.DeliveryRow, bytes | None] | None:
        """Return a delivery and its body; that is None where it is no longer kept."""
        ...

    async def events(self, delivery_id: str) -> Sequence[v.EventRow]:
        """Return the events that a delivery brought."""
        ...

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text; None where it is no longer kept."""
        ...

    async def runs(
        self, *, limit: int, before: str | None = None, job: str | None = None, event: str | None = None
    ) -> Sequence[v.RunRow]:
        """Return runs, newest first; `event` is an event row's id."""
        ...

    async def run(self, run_id: str) -> v.RunDetail | None:
        """Return a run with its tasks, attempts and log."""
        ...


class Retention(Protocol):
    """Where what is old is found and removed.

    Rows are old where they are from before a moment (unix milliseconds), and so are the ends
    of all runs that need them. A run that has not ended keeps itself and its delivery.
    """

    async def find_old(self, kind: r.Kind, *, before: int, after: str, limit: int) -> r.Old:
        """Look at up to `limit` rows, from the one named by an earlier look on, empty for the first."""
        ...

    async def remove_old(self, kind: r.Kind, names: Sequence[tuple[str, ...]], *, before: int) -> int:
        """Remove, in one transaction, which of these are still old; return how many were."""
        ...

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment; False where somebody has taken it."""
        ...


class Store(
    Intake, Strangers, Runs, Queue, Registry, Subscribers, Connections, Health, Log, Retention, Protocol
):
    """Where all is kept."""

    @property
    def store_id(self) -> str:
        """The random name minted with the store: our ownership mark at providers."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Item(msgspec.Struct, frozen=True):
    """A run to be executed."""

    run_id: str
    due_at: int
    priority: int
    held: bool = False


class Done(msgspec.Struct, frozen=True):
    """The run has ended, or the claim was lost: nothing is left to do."""


class Again(msgspec.Struct, frozen=True):
    """The run waits or is retried; it is in the queue again."""

    delay: timedelta


Handle: TypeAlias = Callable[[r.Claim], Awaitable[Done | Again]]


class Engine(Protocol):
    """Which process runs which run now."""

    def put(self, items: Sequence[Item]) -> Sequence[tuple[r.Statement, ...]]:
        """Say what the store must do, for each item, to queue it. Pure: no row is touched."""
        ...

    def wake(self, statements: Sequence[r.Statement]) -> None:
        """Hear that these statements are committed."""
        ...

    async def serve(self, handle: Handle, *, limit: int, ready: anyio.Event | None = None) -> None:
        """Execute queued runs until cancelled, `limit` at a time; `ready` is set once it does."""
        ...

    def cancel(self, run_id: str) -> Sequence[r.Statement]:
        """Say what the store must do to stop a run; stops it at once if it runs here."""
        ...
