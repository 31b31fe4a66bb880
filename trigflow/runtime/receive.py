"""The path of a delivery, from the socket to the commit.

    token ─> route ─> handshake? ─> verify ─> decode ─> account ─> handler ─> match ─> commit ─> 2xx
      404                │            401       400                   │
                         └> answered                                  └> raised: kept, 2xx, replayable

2xx is answered only after the commit. Nothing unverified reaches a handler,
except a declared handshake. A handler is pure: it is called here, on the loop,
and nothing waits for a provider or for user code.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import msgspec

from trigflow.core.errors import Rejected, StoreError, VerificationError
from trigflow.core.http import Request, Response
from trigflow.core.ids import Ids, event_of, run_of
from trigflow.core.jobs import Job, Listening
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.matching import Index
from trigflow.core.payloads import encode_json
from trigflow.core.redact import redacted_headers
from trigflow.runtime import records as r
from trigflow.runtime.execute import Handover
from trigflow.runtime.outcomes import Read, Said, answer_of, call_handler, outcome_of, updates_of
from trigflow.runtime.ports import Clock, Engine, Intake, Item, Registry
from trigflow.runtime.replays import Replays, Standing
from trigflow.runtime.routes import Route, Routes
from trigflow.runtime.sealed import Sealer
from trigflow.runtime.vault import Vault
from trigflow.sources.decode import Decoded
from trigflow.sources.handshake import Answer, Capture, answer
from trigflow.sources.once import marks_of

logger: logging.Logger = logging.getLogger("trigflow.deliveries")
PLAIN = (("content-type", "text/plain"),)
NOT_FOUND = Response(404, b"trigflow: no such endpoint", PLAIN)
UNAVAILABLE = Response(503, b"trigflow: try again", (*PLAIN, ("retry-after", "5")))
QUIET = 10.0  # seconds between two lines in the log about deliveries that could not be kept
NEAR_MISSES = 8  # jobs that did not match and whose reason is kept with a delivery

Matching = Index[tuple[Job, Listening]]


class _Understood(msgspec.Struct, frozen=True):
    """A delivery before it is kept: its rows, the JSON text of its payload, and what will be answered."""

    route: Route
    new: r.NewDelivery
    text: bytes
    response: Response


class Receiver:
    """Takes requests at endpoints; see `receive`."""

    def __init__(
        self,
        routes: Routes,
        matching: Matching,
        store: Intake,
        registry: Registry,
        engine: Engine,
        handover: Handover,
        vault: Vault,
        sealer: Sealer,
        clock: Clock,
        ids: Ids,
    ) -> None:
        """Work with the parts of one open app."""
        self._routes, self._matching, self._store, self._registry = routes, matching, store, registry
        self._engine, self._handover, self._vault, self._sealer = engine, handover, vault, sealer
        self._clock, self._ids = clock, ids
        self._replays = Replays()
        self._refused, self._told_at = 0, -QUIET

    async def receive(self, token: str, request: Request) -> Response:
        """Answer one request at an endpoint."""
        try:
            route = await self._routes.find(token)
            if route is None:
                return NOT_FOUND
            try:
                return await self._receive(route, request)
            except Rejected as rejected:
                return self._reject(route, request, rejected)
        except StoreError as error:
            self._tell_refused(error)
            return UNAVAILABLE

    def _tell_refused(self, error: StoreError) -> None:
        """Log why deliveries are refused, but not for each: a full disk refuses thousands a minute."""
        self._refused += 1
        if self._clock.now() - self._told_at >= QUIET:
            self._told_at = self._clock.now()
            logger.error(
                "%d deliveries could not be kept, senders are asked to try again: %s", self._refused, error
            )
            self._refused = 0

    async def handle_again(self, route: Route, request: Request) -> Sequence[str]:
        """Handle a request that was verified before; return the ids of the runs that it starts."""
        subscriptions = await self._routes.addressed(route, request)
        new, _ = await self._keep(self._read(route, request, subscriptions, self._clock.now()))
        return [run.id for event in new.events for run in event.runs]

    async def _receive(self, route: Route, request: Request) -> Response:
        source, now = route.source, self._clock.now()
        hello = None
        if source.handshakes:
            keys = [key for key in route.keys if key.is_valid(now=now)]
            hello = answer(source.handshakes, request, keys=keys, pending=route.pending, facts=route.facts)
        if hello is not None:
            return await self._shake_hands(route, request, hello, now)
        source.verify.verify(request, route.keys, now=now)
        if source.once:
            return await self._take_once(route, request, now)
        return await self._take(route, request, now)

    async def _take_once(self, route: Route, request: Request, now: float) -> Response:
        """Take a signed message unless it was taken before; it is remembered once it is kept."""
        endpoint, marks = route.endpoint.id, marks_of(route.source.verify, request)
        standing = self._replays.claim(endpoint, marks, now=now)
        if standing is Standing.KEPT:
            self._store.note(self._row(route, request, "duplicate", "replayed", now=now, body=b""))
            return route.source.answer
        if standing is Standing.CLAIMED:
            return UNAVAILABLE
        try:
            response = await self._take(route, request, now)
        except BaseException:  # nothing was kept: the provider's next try must pass
            self._replays.release(endpoint, marks)
            raise
        self._replays.keep(endpoint, marks, now=now)
        return response

    async def _take(self, route: Route, request: Request, now: float) -> Response:
        """Take a verified request."""
        subscriptions = await self._routes.addressed(route, request)
        if not subscriptions:
            route.source.decode(request).check()
            return self._ignore(route, request, "unknown-account")
        # What was decoded is let go of before the commit is awaited: a body may be hundreds of
        # objects, and with many in flight they would all be cold when they are freed.
        _, response = await self._keep(self._read(route, request, subscriptions, now))
        return response

    def _read(
        self, route: Route, request: Request, subscriptions: Sequence[r.Subscription], now: float
    ) -> _Understood:
        """Decode a verified request and turn what its handler says into rows; nothing is kept yet."""
        decoded = route.source.decode(request)
        delivery_id = self._ids.new("dlv")
        is_private = self._sealer.marks.in_source(route.source.id)
        reads = [
            call_handler(route, request, decoded, one, delivery_id, now, is_private=is_private)
            for one in subscriptions
        ]
        new = self._decide(route, request, decoded, reads, delivery_id, now)
        if is_private:
            new = self._sealer.kept(new, route.source.id)
        return _Understood(route, new, decoded.text, answer_of(route, reads))

    async def _keep(self, understood: _Understood) -> tuple[r.NewDelivery, Response]:
        new, text = understood.new, understood.text
        await self._store.accept(new, lambda accepted: self._start(new, accepted, text))
        if new.updates:
            self._routes.forget(understood.route.endpoint.token)
        return new, understood.response

    def _decide(
        self,
        route: Route,
        request: Request,
        decoded: Decoded,
        reads: Sequence[Read],
        delivery_id: str,
        now: float,
    ) -> r.NewDelivery:
        """Turn what the handler said into rows; nothing is kept yet."""
        events: list[r.NewEvent] = []
        trace: list[dict[str, object]] = []
        for read in reads:
            for said in read.events:
                topic = (read.subscription.identity, said.event.name)
                seen = decoded.seen(self._matching.view(topic)) if said.is_whole else said.event.payload
                found = self._matching.match(topic, seen)
                id_ = event_of(delivery_id, len(events))
                events.append(self._new_event(id_, read.subscription, said, found, now))
                if len(found) < self._matching.count(topic):
                    marked = self._sealer.marks.of(route.source.id, said.event.name)
                    trace += self._near_misses(topic, said.event.id, seen, marked or NOTHING)
        decoded.check()
        kind, cause = outcome_of(reads)
        return self._row(
            route, request, kind, cause,
            id=delivery_id, subscription=reads[0].subscription if len(reads) == 1 else None,
            now=now, body=request.body,
            trace=encode_json(trace) if trace else None,
            events=tuple(events),
            updates=updates_of(reads),
        )  # fmt: skip

    def _new_event(
        self,
        id_: str,
        subscription: r.Subscription,
        said: Said,
        found: Sequence[tuple[Job, Listening]],
        now: float,
    ) -> r.NewEvent:
        jobs = {job.id: job for job, _ in found if job.options.enabled}.values()
        items = [
            Item(run_of(id_, number), _due_at(job, now), job.options.priority)
            for number, job in enumerate(jobs)
        ]
        runs = tuple(
            r.NewRun(item.run_id, job.id, item.due_at, statements, job.options.version)
            for item, job, statements in zip(items, jobs, self._engine.put(items), strict=True)
        )
        event = said.event
        at = None if event.at is None else int(event.at.timestamp() * 1000)
        return r.NewEvent(id_, event.id, event.name, at, said.text, said.context, runs, subscription.id)

    def _near_misses(
        self, topic: Hashable, event: str, seen: object, marked: Marked
    ) -> list[dict[str, object]]:
        missed = self._matching.near(topic, seen, limit=NEAR_MISSES)
        return [
            {"event": event, "job": job.id, "trigger": listens.trigger.name, "why": marked.told(why)}
            for (job, listens), why in missed
        ]

    def _start(self, new: r.NewDelivery, accepted: r.Accepted, text: bytes) -> None:
        """Hand committed runs to the engine, with their payload."""
        for number, event in enumerate(new.events):
            if number in accepted.duplicates:
                continue
            for run in event.runs:
                self._handover.put(_loaded(new, event, run, text))
                self._engine.wake(run.statements)

    async def _shake_hands(self, route: Route, request: Request, hello: Answer, now: float) -> Response:
        if hello.must_verify:
            route.source.verify.verify(request, route.keys, now=now)
        if hello.capture is not None:
            await self._capture(route, hello.capture, now)
        self._store.note(self._row(route, request, "handshake", "", now=now, body=b""))
        return hello.response

    async def _capture(self, route: Route, capture: Capture, now: float) -> None:
        """Keep what a handshake told, before it is answered."""
        endpoint = route.endpoint.id
        if capture.secret is not None:
            sealed = self._vault.seal(capture.secret)
            if not await self._registry.capture_key(endpoint, sealed, at=int(now * 1000)):
                raise VerificationError("bad-handshake", "the secret of this endpoint is known already")
        if capture.lease_seconds is not None:
            await self._registry.set_lease(endpoint, until=int((now + capture.lease_seconds) * 1000))
        self._routes.forget(route.endpoint.token)

    def _ignore(self, route: Route, request: Request, cause: str) -> Response:
        self._store.note(self._row(route, request, "ignored", cause, now=self._clock.now(), body=b""))
        return route.source.answer

    def _reject(self, route: Route, request: Request, rejected: Rejected) -> Response:
        logger.warning("rejected a delivery at %s: %s (%s)", route.source.id, rejected.cause, rejected.detail)
        row = self._row(route, request, "rejected", rejected.cause, now=self._clock.now(), body=b"")
        self._store.note(
            msgspec.structs.replace(
                row, status=rejected.status, trace=encode_json([{"why": rejected.detail}])
            )
        )
        return Response(rejected.status, rejected.cause.encode(), PLAIN)

    def _row(
        self,
        route: Route,
        request: Request,
        outcome: r.DeliveryOutcome,
        cause: str,
        *,
        now: float,
        body: bytes,
        id: str | None = None,  # noqa: A002
        subscription: r.Subscription | None = None,
        **more: Any,
    ) -> r.NewDelivery:
        return r.NewDelivery(
            id or self._ids.new("dlv"), route.endpoint.id, None if subscription is None else subscription.id,
            int(now * 1000), outcome, cause, 200, request.method,
            redacted_headers(request.headers.raw), body, **more,
        )  # fmt: skip


def _due_at(job: Job, now: float) -> int:
    return int((now + job.options.delay.total_seconds()) * 1000)


def _loaded(new: r.NewDelivery, event: r.NewEvent, run: r.NewRun, text: bytes) -> r.LoadedRun:
    return r.LoadedRun(
        run.id, run.job, new.received_at, run.replay_of,
        event.id, event.event_id, event.name, event.at, event.context,
        text if event.payload is None else event.payload, new.id, event.subscription_id or "",
        sealed=event.sealed and event.payload is not None,  # the text is still there as it came
    )  # fmt: skip


def events_by_topic(jobs: Mapping[str, Job], identity: Any) -> Matching:
    """Index the triggers of all jobs by (subscription identity, event name)."""
    return Index(
        ((identity(listens.trigger), listens.trigger.specification.name), listens.matcher, (job, listens))
        for job in jobs.values()
        for listens in job.listens
    )
