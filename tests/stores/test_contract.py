"""Every store beside a plain model: one set of rules, all must agree in all that can be seen."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import attrs
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trigflow.core.runs import FINAL, TRANSITIONS
from trigflow.runtime import records as r, views as v
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

OWNERS = ("a", "b", "c")
SUBSCRIPTIONS = ("s1", "s2")
ENDPOINTS = ("ep1", "ep2")
owners = st.sampled_from(OWNERS)
blobs = st.binary(max_size=40)
json_texts = st.sampled_from([b"{}", b'{"a":1}', b"[]", '{"ä":"ß"}'.encode()])
lines = st.lists(
    st.builds(r.LogLine, st.integers(0, 9), st.just("info"), st.text(max_size=5), st.none() | json_texts),
    max_size=2,
)
task_keys = st.sampled_from(["/a", "/b", "/a/c"])


@attrs.define
class Known:
    """A run, as a person would note it down."""

    new: r.NewRun
    event: str
    created_at: int
    state: str = "queued"
    owner: str | None = None
    due_at: int = 0
    priority: int = 0
    fence: int = 0
    starts: int = 0
    failed: int = 0
    ended: r.Finish | None = None
    tasks: dict[str, r.KeptTask] = attrs.field(factory=dict[str, r.KeptTask])
    attempts: list[r.Attempt] = attrs.field(factory=list[r.Attempt])
    logs: list[r.LogLine] = attrs.field(factory=list[r.LogLine])

    @property
    def open(self) -> bool:
        return self.state not in FINAL

    @property
    def tried(self) -> int:
        if self.ended is not None:
            return self.ended.attempts
        return self.failed + (self.state == "running")


class Stores(RuleBasedStateMachine):
    """What is done to the stores is done to the notes, too."""

    @initialize()
    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._portal_context = start_blocking_portal()
        self.portal = self._portal_context.__enter__()
        self.stores: list[Store] = [
            SqliteStore(Path(self._folder.name) / "store.db", store_id=lambda: "abc"),
            MemoryStore(store_id="abc"),
        ]
        for store in self.stores:
            self.portal.call(store.__aenter__)
        self.now = 1_000
        self.serial = 0
        self.deliveries: dict[str, tuple[r.NewDelivery, str]] = {}
        self.seen: dict[tuple[str, str], str] = {}
        self.events: dict[str, tuple[r.NewEvent, str, str]] = {}
        self.runs: dict[str, Known] = {}
        self.claims: list[r.Claim] = []
        self.beats: dict[str, int] = {}
        self.last_beat: int | None = None
        self.before: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                self.portal.call(store.__aexit__, None, None, None)
            self._portal_context.__exit__(None, None, None)
            self._folder.cleanup()

    def name(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}_{self.serial:06d}"

    def all(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """Ask every store; return the one answer that they agree on."""
        answers = [self.portal.call(call, store) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    # --- intake

    def new_run(
        self,
        owner: str | None,
        due_in: int,
        priority: int,
        replay_of: str | None = None,
        *,
        held: bool = False,
    ) -> r.NewRun:
        run = self.name("run")
        due_at = self.now + due_in
        enqueue = r.Enqueue(run, due_at, priority, None if held else owner, held)
        return r.NewRun(run, f"job{priority}", due_at, (enqueue,), replay_of=replay_of)

    def note_run(self, new: r.NewRun, event: str) -> None:
        (enqueue,) = new.statements
        assert isinstance(enqueue, r.Enqueue)
        known = Known(new, event, self.now, due_at=enqueue.due_at, priority=enqueue.priority)
        known.state = "held" if enqueue.held else "queued"
        if enqueue.owner is not None:
            known.state, known.owner, known.starts = "running", enqueue.owner, 1
            self.claims.append(r.Claim(new.id))
        self.runs[new.id] = known

    @rule(
        data=st.data(),
        subscription=st.sampled_from(SUBSCRIPTIONS),
        body=blobs,
        held=st.booleans(),
        endpoint=st.sampled_from(ENDPOINTS),
    )
    def accept(self, data: st.DataObject, subscription: str, body: bytes, held: bool, endpoint: str) -> None:
        ids = data.draw(st.lists(st.sampled_from(["e1", "e2", "e3", "e4"]), max_size=3))
        events: list[r.NewEvent] = []
        for event_id in ids:
            runs = [
                self.new_run(owner, due_in, priority, held=held)
                for owner, due_in, priority in data.draw(
                    st.lists(
                        st.tuples(st.none() | owners, st.sampled_from([0, 0, 5]), st.integers(0, 2)),
                        max_size=2,
                    )
                )
            ]
            payload, context = data.draw(st.none() | json_texts), data.draw(st.none() | json_texts)
            events.append(
                r.NewEvent(
                    self.name("evt"),
                    event_id,
                    "n",
                    self.now,
                    payload,
                    context,
                    tuple(runs),
                    subscriber=data.draw(st.none() | json_texts),
                    dedupe_id=data.draw(st.sampled_from([None, None, "e1 for u1", "e1 for u2"])),
                )
            )
        new = r.NewDelivery(
            self.name("dlv"), endpoint, subscription, self.now, "accepted", "", 200, "POST", b"[]", body,
            data.draw(st.none() | json_texts), tuple(events),
            key_serial=data.draw(st.none() | st.integers(1, 3)),
        )  # fmt: skip
        duplicates: set[int] = set()
        for number, event in enumerate(events):
            known_by = (subscription, event.dedupe_id or event.event_id)
            if known_by in self.seen:
                duplicates.add(number)
                continue
            self.seen[known_by] = event.id
            self.events[event.id] = (event, new.id, subscription)
            for run in event.runs:
                self.note_run(run, event.id)
        outcome: r.DeliveryOutcome = "duplicate" if events and len(duplicates) == len(events) else "accepted"
        self.deliveries[new.id] = (new, outcome)
        accepted = self.all(lambda store: store.accept(new))
        assert accepted == r.Accepted(outcome, frozenset(duplicates))

    @rule(outcome=st.sampled_from(["rejected", "ignored", "handshake"]))
    def note(self, outcome: r.DeliveryOutcome) -> None:
        new = r.NewDelivery(self.name("dlv"), "ep1", None, self.now, outcome, "why", 401, "POST", b"[]", b"x")
        self.deliveries[new.id] = (new, outcome)
        for store in self.stores:
            self.portal.call(store.note, new)
        self.all(lambda store: store.leave("nobody"))  # nobody waits for a note; this is kept after it

    @precondition(lambda self: self.events)
    @rule(data=st.data(), owner=st.none() | owners)
    def replay(self, data: st.DataObject, owner: str | None) -> None:
        event = data.draw(st.sampled_from(sorted(self.events)))
        run = self.new_run(owner, 0, 1, replay_of="run_before")
        self.note_run(run, event)
        assert self.all(lambda store: store.replay(event, run, at=self.now))

    @rule()
    def replay_of_what_is_not_there(self) -> None:
        run = self.new_run(None, 0, 1)
        assert not self.all(lambda store: store.replay("evt_nowhere", run, at=self.now))

    @rule(subscription=st.sampled_from([*SUBSCRIPTIONS, "s3"]))
    def release_held(self, subscription: str) -> None:
        held = [
            run for run in self.runs.values()
            if run.state == "held" and self.events[run.event][2] == subscription
        ]  # fmt: skip
        assert self.all(methodcaller("release_held", subscription)) == len(held)
        for run in held:
            run.state = "queued"

    # --- who runs what

    @rule(by=st.integers(1, 20))
    def time_goes_by(self, by: int) -> None:
        self.now += by

    @rule(owner=owners)
    def beat(self, owner: str) -> None:
        self.beats[owner] = self.last_beat = self.now
        self.all(lambda store: store.beat(owner, now=self.now))

    @rule(owner=owners)
    def leave(self, owner: str) -> None:
        self.beats.pop(owner, None)
        for run in self.runs.values():
            if run.open and run.owner == owner:
                run.state, run.owner = "queued", None
                run.fence, run.starts = run.fence + 1, run.starts - 1
        self.all(lambda store: store.leave(owner))

    @rule(owner=owners, limit=st.integers(0, 3), patience=st.integers(0, 30))
    def take(self, owner: str, limit: int, patience: int) -> None:
        since = self.now - patience
        taken: list[r.Claim] = self.all(
            lambda store: store.take(owner, now=self.now, limit=limit, alive_since=since)
        )
        orphans = {
            name for name, run in self.runs.items()
            if run.open and run.owner not in (None, owner) and self.beats.get(run.owner or "", -1) < since
        }  # fmt: skip
        due = sorted(
            (-run.priority, run.due_at, name)
            for name, run in self.runs.items()
            if run.open and run.owner is None and run.state != "held" and run.due_at <= self.now
        )
        room = max(0, limit - len(orphans))
        expected = orphans | {name for *_, name in due[:room]}
        assert {claim.run_id for claim in taken} == expected
        places = [(-self.runs[claim.run_id].priority, self.runs[claim.run_id].due_at) for claim in taken]
        assert places == sorted(places)
        for claim in taken:
            run = self.runs[claim.run_id]
            run.state, run.owner = "running", owner
            orphan = claim.run_id in orphans
            run.fence, run.starts = run.fence + 1, run.starts + int(not orphan)
            assert claim == r.Claim(claim.run_id, run.fence, run.starts, run.failed, run.priority, orphan)
        self.claims += taken

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        is_good = self.good(claim)
        if is_good:
            self.runs[claim.run_id].starts += 1
        starts = self.runs[claim.run_id].starts if is_good else None
        assert self.all(lambda store: store.begin(claim)) == starts

    def good(self, claim: r.Claim) -> bool:
        run = self.runs[claim.run_id]
        return run.open and run.fence == claim.fence

    # --- progress; claims are drawn from all that were ever handed out

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), key=task_keys, written=lines)
    def keep_task(self, data: st.DataObject, key: str, written: list[r.LogLine]) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        state: Any = data.draw(st.sampled_from(["succeeded", "failed", "waiting"]))
        retry_at = self.now + 5 if state == "waiting" else None
        task = r.KeptTask(
            key, state, 1, data.draw(st.none() | json_texts), None, self.now, self.now, retry_at
        )
        good = self.good(claim)
        if good:
            self.runs[claim.run_id].tasks[key] = task
            self.runs[claim.run_id].logs += written
        assert self.all(lambda store: store.keep_task(claim, task, written)) == good
        assert self.all(lambda store: store.holds(claim)) == good

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=st.sampled_from(["succeeded", "failed", "skipped"]), written=lines)
    def finish(self, data: st.DataObject, state: Any, written: list[r.LogLine]) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        end = r.Finish(
            state, data.draw(st.none() | json_texts), "E" if state == "failed" else None, self.now, 1
        )
        good = self.good(claim)
        if good:
            run = self.runs[claim.run_id]
            run.state, run.ended = state, end
            run.logs += written
        assert self.all(lambda store: store.finish(claim, end, written)) == good

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), waits=st.booleans(), due_in=st.integers(0, 10), written=lines)
    def again(self, data: st.DataObject, waits: bool, due_in: int, written: list[r.LogLine]) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        tried = None if waits else r.Attempt(claim.attempts + 1, self.now, self.now, f"E{self.now}")
        good = self.good(claim)
        if good:
            run = self.runs[claim.run_id]
            run.state, run.owner, run.starts = "waiting" if waits else "queued", None, 0
            run.fence, run.due_at = run.fence + 1, self.now + due_in
            run.logs += written
            if tried is not None:
                run.failed += 1
                run.attempts.append(tried)
                run.tasks = {key: task for key, task in run.tasks.items() if task.state == "succeeded"}
        due_at = self.now + due_in
        assert self.all(lambda store: store.again(claim, tried, written, due_at=due_at)) == good

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*sorted(self.runs), "run_nowhere"]))
        run = self.runs.get(name)
        possible = run is not None and run.open
        assert self.all(lambda store: store.cancel(name, (r.Dequeue(name),), at=self.now)) == possible
        if run is not None and possible:
            run.ended = r.Finish("cancelled", None, None, self.now, run.tried)
            run.state, run.owner = "cancelled", None

    # --- what can be seen

    def row(self, name: str) -> v.RunRow:
        run = self.runs[name]
        event, delivery, _ = self.events[run.event]
        end = run.ended
        last = run.attempts[-1].error if run.attempts else None
        state: Any = run.state
        return v.RunRow(
            name, run.new.job, state, event.event_id, "n", delivery, run.created_at,
            None if end is None else end.ended_at, run.tried, last if end is None else end.error,
            run.new.replay_of, event.subscriber,
        )  # fmt: skip

    @invariant()
    def runs_are_as_noted(self) -> None:
        if not hasattr(self, "stores"):
            return
        newest_first = sorted(self.runs, reverse=True)
        assert self.all(lambda store: store.runs(limit=1_000)) == [self.row(name) for name in newest_first]
        queued = (run for run in self.runs.values() if run.open and run.state != "held")
        free = [run.due_at for run in queued if run.owner is None]
        assert self.all(lambda store: store.next_due()) == min(free, default=None)
        assert self.all(lambda store: store.last_beat()) == self.last_beat

    @invariant()
    def states_change_only_along_the_picture(self) -> None:
        states: dict[str, Any] = {name: run.state for name, run in getattr(self, "runs", {}).items()}
        for name, state in states.items():
            was: Any = getattr(self, "before", {}).get(name, state)
            assert state == was or state in TRANSITIONS[was]
        self.before = states

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def look_at_a_run(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[name]
        event, delivery, subscription = self.events[run.event]
        tasks = tuple(sorted(run.tasks.values(), key=lambda task: (task.started_at, task.key)))
        detail: v.RunDetail = self.all(lambda store: store.run(name))
        result = None if run.ended is None else run.ended.result
        assert detail == v.RunDetail(self.row(name), result, tasks, tuple(run.attempts), tuple(run.logs))
        text = self.deliveries[delivery][0].body if event.payload is None else event.payload
        assert self.all(lambda store: store.load(name)) == r.LoadedRun(
            name, run.new.job, run.created_at, run.new.replay_of, run.event, event.event_id, "n", event.at,
            event.context, text, delivery, subscription, tasks, subscriber=event.subscriber,
        )  # fmt: skip
        assert self.all(lambda store: store.payload(run.event)) == text
        assert name in [one.id for one in self.all(lambda store: store.runs(limit=99, event=run.event))]
        of_job = self.all(lambda store: store.runs(limit=2, before=name, job=run.new.job))
        older = [other for other in sorted(self.runs, reverse=True) if other < name]
        assert [one.id for one in of_job] == [o for o in older if self.runs[o].new.job == run.new.job][:2]

    @rule(
        outcome=st.none() | st.sampled_from(["accepted", "duplicate", "rejected"]),
        endpoint=st.sampled_from([None, *ENDPOINTS, "ep_nowhere"]),
        limit=st.integers(1, 9),
    )
    def look_at_deliveries(self, outcome: str | None, endpoint: str | None, limit: int) -> None:
        wanted = [
            name for name in sorted(self.deliveries, reverse=True)
            if outcome in (None, self.deliveries[name][1])
            and endpoint in (None, self.deliveries[name][0].endpoint_id)
        ][:limit]  # fmt: skip
        rows: list[v.DeliveryRow] = self.all(
            lambda store: store.deliveries(limit=limit, outcome=outcome, endpoint=endpoint)
        )
        assert [(row.id, row.outcome, row.key_serial) for row in rows] == [
            (name, self.deliveries[name][1], self.deliveries[name][0].key_serial) for name in wanted
        ]
        for row in rows:
            brought = [name for name, (_, delivery, _) in self.events.items() if delivery == row.id]
            assert (row.events, row.runs) == (
                len(brought), sum(run.event in brought for run in self.runs.values())
            )  # fmt: skip
            listed: list[v.EventRow] = self.all(methodcaller("events", row.id))
            assert [(event.id, event.subscriber) for event in listed] == [
                (name, self.events[name][0].subscriber) for name in sorted(brought)
            ]
            assert self.all(methodcaller("delivery", row.id)) == (
                row, self.deliveries[row.id][0].body
            )  # fmt: skip

    @rule()
    def what_is_not_there_is_none(self) -> None:
        assert self.all(lambda store: store.run("nowhere")) is None
        assert self.all(lambda store: store.load("nowhere")) is None
        assert self.all(lambda store: store.delivery("nowhere")) is None
        assert self.all(lambda store: store.payload("nowhere")) is None


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
