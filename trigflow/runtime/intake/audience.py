"""Whom an event is for besides the triggers in code: those who subscribed at run time.

    subscription ─> its subscribers (remembered) ─> their jobs' filters ─> their own filter ─> one event each

Jobs are matched once for an event and a dynamic trigger, however many subscribed to it.
Where no job listens to a dynamic trigger nobody is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from typing import TypeAlias

import msgspec

from trigflow.core.filters import Matcher, Mismatch, compile_filter
from trigflow.core.jobs import Job, Listening
from trigflow.core.matching import Index
from trigflow.core.payloads import encode_json
from trigflow.core.plan import Identity
from trigflow.core.views import View, view_of
from trigflow.runtime import records as r
from trigflow.runtime.intake.lookups import Lookups
from trigflow.runtime.ports import Clock, Subscribers

FRESH = 5.0  # seconds that what was read is used without asking the store again
MOST = 2_000  # subscriptions whose subscribers are remembered, and as many that have none
MANY = 200  # subscribers of one subscription; more are read each time, which costs less than their events
MOST_FILTERS = 1_000  # of subscribers, compiled
NEAR_MISSES = 8  # subscribers whose own filter did not let an event through, and who are told of
APART = "\x1f"  # in no id of a dynamic trigger and in no key

Topic: TypeAlias = tuple[str, str, str]  # dynamic trigger, source, event
Behind: TypeAlias = Mapping[Identity, Sequence[r.Subscriber]]
Found: TypeAlias = Sequence[tuple[Job, Listening]]
_whole: View = view_of(None)


class Meant(msgspec.Struct, frozen=True):
    """A subscriber whom an event is for, and the jobs that it starts."""

    subscriber: r.Subscriber
    found: Found

    @property
    def told(self) -> bytes:
        """What the event says of it: JSON text of SubscriberOf."""
        s = self.subscriber
        return encode_json(r.SubscriberOf(s.dynamic, s.key, msgspec.Raw(s.metadata)))

    def dedupe_id(self, event_id: str) -> str:
        """Name the event for this subscriber alone."""
        return APART.join((event_id, self.subscriber.dynamic, self.subscriber.key))


class Audience:
    """Knows who subscribed, at most FRESH seconds late; at once where it was done in this process."""

    def __init__(self, jobs: Mapping[str, Job], store: Subscribers, clock: Clock) -> None:
        """Index the dynamic triggers of all jobs."""
        self._store = store
        self.matching: Index[tuple[Job, Listening]] = Index(
            (
                (one.dynamic.id, one.trigger.source.id, one.trigger.specification.name),
                one.matcher,
                (job, one),
            )
            for job in jobs.values()
            for one in job.listens
            if one.dynamic is not None
        )
        self._is_expected = any(one.dynamic is not None for job in jobs.values() for one in job.listens)
        self._behind: Lookups[Identity, Sequence[r.Subscriber], Sequence[r.Subscriber]] = Lookups(
            self._read, lambda _, found: found or (), clock, fresh=FRESH, most=MOST
        )

    async def of(self, subscriptions: Iterable[r.Subscription]) -> Behind:
        """Return the subscribers of subscriptions; asks the store only where they are not remembered."""
        if not self._is_expected:
            return {}
        identities = list(dict.fromkeys(one.identity for one in subscriptions))
        found = await self._behind.find_all(identities)
        for identity, some in zip(identities, found, strict=True):
            if len(some) > MANY:
                self._behind.forget(identity)
        return {identity: some for identity, some in zip(identities, found, strict=True) if some}

    def forget(self, identity: Identity) -> None:
        """Read who is behind a subscription anew: somebody came or went."""
        self._behind.forget(identity)

    def meant(
        self, behind: Sequence[r.Subscriber], event: str, see: Callable[[View], object]
    ) -> tuple[Sequence[Meant], Sequence[tuple[Meant, Mismatch]]]:
        """Return for whom an event is, and some for whom it would be but for their own filter.

        behind: by dynamic trigger. see: shows as much of the payload as is asked for.
        """
        meant: list[Meant] = []
        missed: list[tuple[Meant, Mismatch]] = []
        asked = _Asked(see)
        for topic, some in groupby(behind, lambda one: (one.dynamic, one.source, event)):
            if not self.matching.count(topic):
                continue
            found = self.matching.match(topic, see(self.matching.view(topic)))
            if not found:
                continue
            for one in some:
                if one.filter is None or asked.passes(one.filter):
                    meant.append(Meant(one, found))
                elif len(missed) < NEAR_MISSES and (why := asked.explain(one.filter)):
                    missed.append((Meant(one, found), why))
        return meant, missed

    def topics(self, behind: Sequence[r.Subscriber], event: str) -> Collection[Topic]:
        """Return the topics that an event has for subscribers."""
        return dict.fromkeys((one.dynamic, one.source, event) for one in behind)

    async def _read(self, identities: Collection[Identity]) -> Mapping[Identity, Sequence[r.Subscriber]]:
        return await self._store.subscribers_of(identities)


class _Asked:
    """Subscribers' filters asked of one payload, each once."""

    def __init__(self, see: Callable[[View], object]) -> None:
        self._see = see
        self._answers: dict[bytes, bool] = {}

    def passes(self, filter_: bytes) -> bool:
        known = self._answers.get(filter_)
        if known is None:
            known = self._answers[filter_] = _matcher(filter_).matches(self._payload)
        return known

    def explain(self, filter_: bytes) -> Mismatch | None:
        return _matcher(filter_).explain(self._payload)

    @cached_property
    def _payload(self) -> object:
        return self._see(_whole)


@lru_cache(MOST_FILTERS)
def _matcher(filter_: bytes) -> Matcher:
    return compile_filter(msgspec.json.decode(filter_), where="filter of a subscriber")
