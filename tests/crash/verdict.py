"""What must be so after any number of crashes, checked against what the senders wrote down.

The reference is `answers` (see load.py) and `effects` (see served.py); the store
is read through its public methods only.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from trigflow.core.runs import FINAL
from trigflow.runtime import views as v
from trigflow.stores.sqlite import SqliteStore

EVERYTHING = 1_000_000_000
# Kind of event -> the jobs that it starts. Written down by hand: see served.py.
STARTS: Mapping[str, frozenset[str]] = {
    "chain": frozenset({"chain", "plain", "either"}),
    "flaky": frozenset({"flaky"}),
    "broken": frozenset({"broken"}),
    "slow": frozenset({"slow"}),
    "comment": frozenset({"either"}),
    "unwanted": frozenset(),
}
# Job -> its tasks, how it ends, and after how many attempts.
ENDS: Mapping[str, tuple[tuple[str, ...], str, int]] = {
    "chain": (("one", "two", "three"), "succeeded", 1),
    "plain": (("one", "two"), "succeeded", 1),
    "flaky": (("one", "two"), "succeeded", 3),
    "broken": (("one",), "failed", 1),
    "slow": (("one", "two"), "succeeded", 1),
    "either": (("one",), "succeeded", 1),
}


@attrs.frozen
class Answer:
    """One request, as its sender saw it; `asked` and `at` are seconds of the machine's monotonic clock."""

    tag: int
    id: str
    kind: str
    number: int
    status: int | None
    asked: float
    at: float
    retry_after: bool

    @property
    def acknowledged(self) -> bool:
        """Tell whether it was answered 2xx."""
        return self.status is not None and self.status // 100 == 2


@attrs.frozen
class Effect:
    """One time that a task did something."""

    run: str
    key: str
    said: str
    life: str
    at: float


@attrs.frozen
class Kept:
    """What a store holds: deliveries by request number, runs, event ids, and when something is due."""

    deliveries: Mapping[int, v.DeliveryRow]
    runs: Sequence[v.RunRow]
    details: Mapping[str, v.RunDetail]
    events: Sequence[v.EventRow]
    next_due: int | None

    @property
    def unfinished(self) -> frozenset[str]:
        """The ids of the runs that have not ended."""
        return frozenset(run.id for run in self.runs if run.state not in FINAL)


def answers_in(folder: Path) -> list[Answer]:
    """Read what the senders wrote."""
    return [Answer(**line) for line in _lines(folder / "answers")]


def effects_in(folder: Path) -> list[Effect]:
    """Read what the tasks did."""
    return [Effect(**line) for line in _lines(folder / "effects")]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        # The last line may be cut off: its writer was killed, or is writing it now.
        lines = path.read_bytes().splitlines(keepends=True)
        yield from (json.loads(line) for line in lines if line.endswith(b"\n"))


async def kept_in(path: Path, *, details: bool) -> Kept:
    """Read a store that no other process has open."""
    async with SqliteStore(path, store_id=lambda: "unused") as store:
        rows = await store.deliveries(limit=EVERYTHING)
        runs = await store.runs(limit=EVERYTHING)
        found = [(run.id, await store.run(run.id)) for run in runs] if details else []
        events = [event for row in rows if details and row.events for event in await store.events(row.id)]
        return Kept(
            {_tag(row): row for row in rows},
            runs,
            {id_: detail for id_, detail in found if detail is not None},
            events,
            await store.next_due(),
        )


def _tag(row: v.DeliveryRow) -> int:
    headers: dict[str, str] = {name.lower(): value for name, value in json.loads(row.headers)}
    return int(headers["x-request-number"])


def missing(answers: Sequence[Answer], kept: Kept) -> list[str]:
    """Name the acknowledged requests that are not there: the loss that must never be."""
    lost = [answer for answer in answers if answer.acknowledged and answer.tag not in kept.deliveries]
    return [f"request {one.tag} ({one.kind} {one.id}) was answered {one.status} and is lost" for one in lost]


def problems(
    answers: Sequence[Answer], effects: Sequence[Effect], kept: Kept, *, repeats: bool = False
) -> list[str]:
    """Name everything that is not as it must be in a store where all has come to rest.

    repeats: one process may do a task again: it could not keep what came of it.
    """
    return [
        *missing(answers, kept),
        *_wrong_answers(answers),
        *_wrong_runs(answers, kept),
        *(problem for detail in kept.details.values() for problem in _wrong_run(detail)),
        *([] if repeats else _done_again(effects)),
        *_wrong_effects(effects, kept),
        *_stuck(kept),
    ]


def _wrong_answers(answers: Sequence[Answer]) -> Iterator[str]:
    for answer in answers:
        if answer.status not in (None, 200, 503):
            yield f"request {answer.tag} was answered {answer.status}"
        elif answer.status == 503 and not answer.retry_after:
            yield f"request {answer.tag} was answered 503 without Retry-After"


def _wrong_runs(answers: Sequence[Answer], kept: Kept) -> Iterator[str]:
    kinds = {answer.id: answer.kind for answer in answers}
    must_be = {answer.id for answer in answers if answer.acknowledged}
    for id_, times in Counter(event.event_id for event in kept.events).items():
        if times > 1:
            yield f"event {id_} is there {times} times"
    there = {event.event_id for event in kept.events}
    yield from (f"event {id_} is lost" for id_ in must_be - there)
    started: dict[str, list[str]] = defaultdict(list)
    for run in kept.runs:
        started[run.event_id].append(run.job)
    for id_ in there:
        if sorted(started[id_]) != sorted(STARTS[kinds[id_]]):
            yield f"event {id_} ({kinds[id_]}) started {started[id_]}"
    accepted = Counter(row.outcome for row in kept.deliveries.values())["accepted"]
    if accepted != len(there):
        yield f"{accepted} deliveries count as accepted, with {len(there)} events"


def _wrong_run(detail: v.RunDetail) -> Iterator[str]:
    row = detail.row
    keys, state, attempts = ENDS[row.job]
    name = f"run {row.id} of {row.job}"
    if (row.state, row.attempts) != (state, attempts):
        yield f"{name} is {row.state} after {row.attempts} attempts: {row.error}"
    results = {task.key.removeprefix("/"): task.result for task in detail.tasks if task.state == "succeeded"}
    if sorted(results) != sorted(keys) or len(detail.tasks) != len(keys):
        yield f"{name} has the tasks {[(task.key, task.state) for task in detail.tasks]}"
        return
    said = [json.loads(results[key] or b"null") for key in keys]
    if state == "succeeded" and json.loads(detail.result or b"null") != said:
        yield f"{name} returned {detail.result!r}, its tasks are kept as {said}"
    for earlier, later in pairwise(said):
        if not later.endswith(f"<{earlier}"):
            yield f"{name} kept {earlier} and went on with another result: {later}"
    if [attempt.number for attempt in detail.attempts] != list(range(1, attempts)):
        yield f"{name} has the failed attempts {[attempt.number for attempt in detail.attempts]}"


def _done_again(effects: Sequence[Effect]) -> Iterator[str]:
    for (run, key, life), times in Counter((one.run, one.key, one.life) for one in effects).items():
        if times > 1:  # a task may be repeated by another process only, after this one was killed
            yield f"task {key} of {run} did its work {times} times in one process ({life})"


def _wrong_effects(effects: Sequence[Effect], kept: Kept) -> Iterator[str]:
    last: dict[tuple[str, str], str] = {}
    for effect in effects:
        last[effect.run, effect.key] = effect.said
    for detail in kept.details.values():
        for task in detail.tasks:
            key = task.key.removeprefix("/")
            if json.loads(task.result or b"null") != last.get((detail.row.id, key)):
                yield f"task {key} of {detail.row.id} keeps {task.result!r}, which is not what it did last"
    yield from (f"run {run} did something, and is not there" for run, _ in last if run not in kept.details)


def _stuck(kept: Kept) -> Iterator[str]:
    yield from (f"run {run} has not ended" for run in sorted(kept.unfinished))
    if kept.next_due is not None:
        yield f"something is still due in the queue, at {kept.next_due}"


def repeated(effects: Sequence[Effect]) -> int:
    """Count how often a task did its work again."""
    return sum(times - 1 for times in Counter((one.run, one.key) for one in effects).values())
