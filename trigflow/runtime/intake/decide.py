"""What a delivery starts: events, for the triggers in code and for each subscriber, and their runs.

Pure but for names; nothing is kept here. What did not match, and why, is the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from trigflow.core.ids import event_of, run_of
from trigflow.core.jobs import Job, Listening
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.matching import Index
from trigflow.core.views import View
from trigflow.runtime import records as r
from trigflow.runtime.intake.audience import Audience, Behind, Found
from trigflow.runtime.intake.outcomes import Read, Said
from trigflow.runtime.intake.routes import Route
from trigflow.runtime.ports import Engine, Item
from trigflow.runtime.sealing.sealed import Marks
from trigflow.sources.decode import Decoded

NEAR_MISSES = 8  # jobs that did not match and whose reason is kept with a delivery
Matching = Index[tuple[Job, Listening]]
Trace = list[dict[str, object]]


def events_by_topic(jobs: Mapping[str, Job], identity: Any) -> Matching:
    """Index the triggers in code of all jobs by (subscription identity, event name)."""
    return Index(
        ((identity(listens.trigger), listens.trigger.specification.name), listens.matcher, (job, listens))
        for job in jobs.values()
        for listens in job.listens
        if listens.dynamic is None
    )


class Decider:
    """Turns what handlers said into events and runs."""

    def __init__(self, matching: Matching, audience: Audience, engine: Engine, marks: Marks) -> None:
        """Match triggers in code, and those of subscribers."""
        self._matching, self._audience, self._engine, self._marks = matching, audience, engine, marks

    def decide(
        self, route: Route, decoded: Decoded, reads: Sequence[Read], behind: Behind, id_: str, now: float
    ) -> tuple[tuple[r.NewEvent, ...], Trace]:
        """Return the events of a delivery, with their runs, and the trace; `id_` is the delivery's."""
        events: list[r.NewEvent] = []
        trace: Trace = []
        for read in reads:
            some = behind.get(read.subscription.identity) if behind else None
            for said in read.events:
                topic = (route.topic_of(read.subscription), said.event.name)
                seen = decoded.seen(self._matching.view(topic)) if said.is_whole else said.event.payload
                found = self._matching.match(topic, seen)
                name = event_of(id_, len(events))
                (runs,) = self._runs([(name, found)], read.subscription, now)
                events.append(_new_event(name, read.subscription, said, runs))
                if len(found) < self._matching.count(topic):
                    marked = self._marks.of(route.source.id, said.event.name) or NOTHING
                    trace += _near_misses(self._matching, topic, said.event.id, seen, marked)
                if some:
                    trace += self._add_meant(events, read.subscription, said, some, decoded, id_, now)
        return tuple(events), trace

    def _add_meant(
        self,
        events: list[r.NewEvent],
        subscription: r.Subscription,
        said: Said,
        behind: Sequence[r.Subscriber],
        decoded: Decoded,
        id_: str,
        now: float,
    ) -> Trace:
        """Add an event for each subscriber that it is for; return why it is not for others."""
        see = _shows(decoded, said)
        meant, missed = self._audience.meant(behind, said.event.name, see)
        names = [event_of(id_, len(events) + number) for number in range(len(meant))]
        wanted = [(name, one.found) for name, one in zip(names, meant, strict=True)]
        all_runs = self._runs(wanted, subscription, now)
        for name, one, runs in zip(names, meant, all_runs, strict=True):
            new = _new_event(name, subscription, said, runs)
            dedupe_id = one.dedupe_id(said.event.id)
            events.append(msgspec.structs.replace(new, subscriber=one.told, dedupe_id=dedupe_id))
        marked = self._marks.of(subscription.source, said.event.name) or NOTHING
        matching, trace = self._audience.matching, Trace()
        for topic in self._audience.topics(behind, said.event.name):
            trace += _near_misses(matching, topic, said.event.id, see(matching.view(topic)), marked)
        return trace + [
            {
                "event": said.event.id, "job": one.found[0][0].id, "trigger": one.subscriber.dynamic,
                "subscriber": one.subscriber.key, "why": marked.told(why),
            }
            for one, why in missed
        ]  # fmt: skip

    def _runs(
        self, events: Sequence[tuple[str, Found]], subscription: r.Subscription, now: float
    ) -> Iterator[tuple[r.NewRun, ...]]:
        """Make the runs of each event; the engine is told of all at once: it takes no more than it can."""
        held = subscription.state == "paused"
        jobs = [{job.id: job for job, _ in found if job.options.enabled}.values() for _, found in events]
        items = [
            Item(run_of(name, number), _due_at(job, now), job.options.priority, held)
            for (name, _), some in zip(events, jobs, strict=True)
            for number, job in enumerate(some)
        ]
        put = zip(items, self._engine.put(items), strict=True)
        for some in jobs:
            yield tuple(
                r.NewRun(item.run_id, job.id, item.due_at, statements, job.options.version)
                for job, (item, statements) in zip(some, put, strict=False)
            )


def _new_event(id_: str, subscription: r.Subscription, said: Said, runs: tuple[r.NewRun, ...]) -> r.NewEvent:
    event = said.event
    at = None if event.at is None else int(event.at.timestamp() * 1000)
    return r.NewEvent(id_, event.id, event.name, at, said.text, said.context, runs, subscription.id)


def _shows(decoded: Decoded, said: Said) -> Callable[[View], object]:
    return decoded.seen if said.is_whole else lambda _: said.event.payload


def _near_misses(matching: Matching, topic: Hashable, event: str, seen: object, marked: Marked) -> Trace:
    missed = matching.near(topic, seen, limit=NEAR_MISSES)
    return [
        {"event": event, "job": job.id, "trigger": listens.trigger.name, "why": marked.told(why)}
        for (job, listens), why in missed
    ]


def _due_at(job: Job, now: float) -> int:
    return int((now + job.options.delay.total_seconds()) * 1000)


def loaded(new: r.NewDelivery, event: r.NewEvent, run: r.NewRun, text: bytes) -> r.LoadedRun:
    """Return a new run as the store would load it; `text` is the JSON of the delivery's payload."""
    return r.LoadedRun(
        run.id, run.job, new.received_at, run.replay_of,
        event.id, event.event_id, event.name, event.at, event.context,
        text if event.payload is None else event.payload, new.id, event.subscription_id or "",
        sealed=event.sealed and event.payload is not None,  # the text is still there as it came
        subscriber=event.subscriber,
    )  # fmt: skip
