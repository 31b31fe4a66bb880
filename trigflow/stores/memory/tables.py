"""The tables of the memory store, as dictionaries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import attrs

from trigflow.core.plan import Identity
from trigflow.runtime import records as r, views as v


@attrs.define
class Run:
    """A run and everything that is kept of it."""

    new: r.NewRun
    event: str
    created_at: int
    finish: r.Finish | None = None
    tasks: dict[str, r.KeptTask] = attrs.field(factory=dict[str, r.KeptTask])
    attempts: list[r.Attempt] = attrs.field(factory=list[r.Attempt])
    logs: list[r.LogLine] = attrs.field(factory=list[r.LogLine])


@attrs.define
class Queued:
    """A run's row in the queue."""

    due_at: int
    priority: int
    owner: str | None
    fence: int = 0
    starts: int = 0
    attempts: int = 0
    waits: bool = False
    held: bool = False

    @property
    def is_free(self) -> bool:
        """Tell whether anybody may take it once it is due."""
        return self.owner is None and not self.held


@attrs.define
class Event:
    """An event and what it carries."""

    row: v.EventRow
    payload: bytes | None
    context: bytes | None
    sealed: bool
    subscriber: bytes | None
    dedupe_id: str


class Tables:
    """What the parts of the store share."""

    def __init__(self, *, store_id: str) -> None:
        """Start empty."""
        self.store_id = store_id
        self._deliveries: dict[str, r.NewDelivery] = {}
        self._events: dict[str, Event] = {}
        self._bodiless: set[str] = set()  # deliveries whose body is no longer kept
        self._known: dict[tuple[str, str], int] = {}
        self._strangers: dict[tuple[str, str, str], int] = {}  # endpoint, account, delivery: received at
        self._runs: dict[str, Run] = {}
        self._queue: dict[str, Queued] = {}
        self._beats: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._endpoints: dict[str, r.Endpoint] = {}
        self._subscriptions: dict[str, r.Subscription] = {}
        self._claims: dict[str, tuple[str, int]] = {}
        self._quiets: dict[str, r.QuietPeriod] = {}
        self._tokens: dict[str, str] = {}  # to the endpoint's id
        # Of the subscriptions that are not removed: ids by what they are for; sorted ids, all and by
        # where they are.
        self._identities: dict[Identity, str] = {}
        self._live: list[str] = []
        self._behind: defaultdict[str, list[str]] = defaultdict(list)
        self._addresses: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._wants: dict[str, tuple[int, Sequence[r.Want]]] = {}
        self._expects: dict[str, Mapping[str, int]] = {}
        self._attempts: list[r.RegistrationAttempt] = []
        self._chores: dict[str, int] = {}
        self._last_beat: int | None = None
        self._listened: r.Listened | None = None
        self._subscribers: dict[tuple[str, str], r.Subscriber] = {}
        self._connections: dict[str, r.Connection] = {}
        self._connection_claims: dict[str, tuple[str, int]] = {}
        self._recoveries: list[r.Recovery] = []
        self._alerts: dict[tuple[str, str], r.AlertRow] = {}
        self._audit: dict[int, r.AuditEntry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None


def tasks_of(run: Run) -> tuple[r.KeptTask, ...]:
    """Return a run's tasks in the order in which they began."""
    return tuple(sorted(run.tasks.values(), key=lambda task: (task.started_at, task.key)))
