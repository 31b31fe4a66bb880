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
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import msgspec

from trigflow.core.errors import Rejected, StoreError, TrigflowError, VerificationError
from trigflow.core.http import Request, Response
from trigflow.core.ids import Ids
from trigflow.core.payloads import encode_json
from trigflow.core.redact import redacted_headers
from trigflow.runtime import records as r
from trigflow.runtime.execution.execute import Handover
from trigflow.runtime.health.activity import Activities
from trigflow.runtime.intake.audience import Audience, Behind
from trigflow.runtime.intake.decide import Decider, Matching, loaded
from trigflow.runtime.intake.handshakes import Handshakes
from trigflow.runtime.intake.outcomes import Read, answer_of, call_handler, outcome_of, updates_of
from trigflow.runtime.intake.replays import Replays, Standing
from trigflow.runtime.intake.routes import Route, Routes
from trigflow.runtime.ports import Clock, Engine, Intake, Registry
from trigflow.runtime.sealing.sealed import Sealer
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.decode import Decoded
from trigflow.sources.once import marks_of

logger: logging.Logger = logging.getLogger("trigflow.deliveries")
PLAIN = (("content-type", "text/plain"),)
NOT_FOUND = Response(404, b"trigflow: no such endpoint", PLAIN)
UNAVAILABLE = Response(503, b"trigflow: try again", (*PLAIN, ("retry-after", "5")))
QUIET = 10.0  # seconds between two lines in the log about deliveries that could not be kept

Recovered: TypeAlias = Literal["recovered", "known", "failed"]


class Understood(msgspec.Struct, frozen=True):
    """A delivery before it is kept: its rows, the JSON text of its payload, and what will be answered."""

    route: Route
    new: r.NewDelivery
    text: bytes
    response: Response
    subscriptions: Sequence[r.Subscription]


class Receiver:
    """Takes requests at endpoints; see `receive`."""

    def __init__(
        self,
        routes: Routes,
        matching: Matching,
        audience: Audience,
        store: Intake,
        registry: Registry,
        engine: Engine,
        handover: Handover,
        vault: Vault,
        sealer: Sealer,
        clock: Clock,
        ids: Ids,
        *,
        activities: Activities,
        on_signal: Callable[[], object],
        on_stranger: Callable[[], object],
        on_accounts: Callable[[], object],
    ) -> None:
        """Work with the parts of one open app.

        on_signal: hears that a provider told something of a subscription itself.
        on_stranger: hears that a delivery came for an account that is not known.
        on_accounts: hears that a provider told that our app's accounts are others now.
        """
        self._routes, self._audience, self._store, self._registry = routes, audience, store, registry
        self._engine, self._handover, self._sealer = engine, handover, sealer
        self._decider = Decider(matching, audience, engine, sealer.marks)
        self._handshakes = Handshakes(routes, registry, vault)
        self._clock, self._ids = clock, ids
        self._activities, self._on_signal, self._on_stranger = activities, on_signal, on_stranger
        self._on_accounts = on_accounts
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
        """Handle a request that was verified before; return the ids of the runs that it starts.

        Raises TrigflowError where its account is not known yet.
        """
        subscriptions = await self._routes.addressed(route, request)
        if not subscriptions and route.tells_accounts_apart:
            raise TrigflowError(
                "no connection stands for the account that the delivery is of; connect it, and the "
                "delivery starts its runs by itself"
            )
        behind = await self._audience.of(subscriptions)
        now = self._clock.now()
        new, _, _ = await self._keep(self.read(route, request, subscriptions, now, behind=behind))
        return [run.id for event in new.events for run in event.runs]

    async def take_recovered(self, token: str, request: Request, at: float) -> Recovered:
        """Take a request that the provider's own log has; its API told it, so it is not verified.

        at: unix seconds; when it was first sent. "known": it came by itself or was recovered before,
        or holds no event. "failed": it can't be read, or its handler raises. Raises StoreError
        where it can't be kept now.
        """
        route = await self._routes.find(token)
        if route is None or route.is_removed:
            return "failed"
        try:
            subscriptions = await self._routes.addressed(route, request)
            behind = await self._audience.of(subscriptions)
            understood = self.read(route, request, subscriptions, at, behind=behind, cause="recovered")
        except Rejected:
            return "failed"
        if understood.new.outcome == "failed":
            return "failed"
        _, _, accepted = await self._keep(understood)
        is_new = bool(understood.new.events) and accepted.outcome != "duplicate"
        return "recovered" if is_new else "known"

    async def _receive(self, route: Route, request: Request) -> Response:
        source, now = route.source, self._clock.now()
        if route.is_removed:
            return self._answer_late(route, request, now)
        answered = await self._handshakes.answer(route, request, now) if source.handshakes else None
        if answered is not None:
            self._store.note(self._row(route, request, "handshake", "", now=now, body=b""))
            return answered
        route, key = await self._verify(route, request, now)
        if source.once:
            return await self._take_once(route, request, now, key)
        return await self._take(route, request, now, key)

    async def _verify(self, route: Route, request: Request, now: float) -> tuple[Route, int | None]:
        """Return the serial of the key that fits, and the route that has it.

        What no key fits is looked at again with the keys of now: another process may have
        begun to rotate a moment ago.
        """
        try:
            return route, route.serial(route.source.verify.verify(request, route.keys, now=now))
        except VerificationError:
            newer = await self._routes.reread(route)
            if newer.endpoint.keys == route.endpoint.keys:
                raise
        return newer, newer.serial(newer.source.verify.verify(request, newer.keys, now=now))

    async def _take_once(self, route: Route, request: Request, now: float, key: int | None) -> Response:
        """Take a signed message unless it was taken before; it is remembered once it is kept."""
        endpoint, marks = route.endpoint.id, marks_of(route.source.verify, request)
        standing = self._replays.claim(endpoint, marks, now=now)
        if standing is Standing.KEPT:
            self._store.note(self._row(route, request, "duplicate", "replayed", now=now, body=b""))
            return route.source.answer
        if standing is Standing.CLAIMED:
            return UNAVAILABLE
        try:
            response = await self._take(route, request, now, key)
        except BaseException:  # nothing was kept: the provider's next try must pass
            self._replays.release(endpoint, marks)
            raise
        self._replays.keep(endpoint, marks, now=now)
        return response

    async def _take(self, route: Route, request: Request, now: float, key: int | None) -> Response:
        """Take a verified request; `key` is the serial of the key that fitted."""
        subscriptions = await self._routes.addressed(route, request)
        if not subscriptions:
            route.source.decode(request).check()
            return await self._keep_strangers(route, request, now, key)
        behind = await self._audience.of(subscriptions)
        # What was decoded is let go of before the commit is awaited: a body may be hundreds of
        # objects, and with many in flight they would all be cold when they are freed.
        _, response, _ = await self._keep(
            self.read(route, request, subscriptions, now, behind=behind, key=key)
        )
        for subscription in subscriptions:
            self._activities.note(subscription.id, route.endpoint.id, int(now * 1000), key)
        return response

    def read(
        self,
        route: Route,
        request: Request,
        subscriptions: Sequence[r.Subscription],
        now: float,
        *,
        behind: Behind,
        key: int | None = None,
        cause: str = "",
    ) -> Understood:
        """Decode a verified request and turn what its handler says into rows; nothing is kept yet."""
        decoded = route.source.decode(request)
        delivery_id = self._ids.new("dlv")
        is_private = self._sealer.marks.in_source(route.source.id)
        reads = [
            call_handler(route, request, decoded, one, delivery_id, now, is_private=is_private)
            for one in subscriptions
        ]
        new = self._decide(route, request, decoded, reads, behind, delivery_id, now)
        new = msgspec.structs.replace(new, key_serial=key, cause=new.cause or cause)
        if is_private:
            new = self._sealer.kept(new, route.source.id)
        return Understood(route, new, decoded.text, answer_of(route, reads), subscriptions)

    async def _keep(self, understood: Understood) -> tuple[r.NewDelivery, Response, r.Accepted]:
        new, text = understood.new, understood.text
        accepted = await self._store.accept(new, lambda accepted: self.start(new, accepted, text))
        await self.follow(understood)
        return new, understood.response, accepted

    async def follow(self, understood: Understood) -> None:
        """Do what a delivery that is kept asks for besides its runs."""
        for one in understood.subscriptions:
            if one.state == "paused":
                await self._let_go(one.id)
        if understood.new.updates:
            self._routes.forget(understood.route.endpoint.token)
            if any(update.cause for update in understood.new.updates):
                self._on_signal()
            if any(update.accounts for update in understood.new.updates):
                self._on_accounts()

    async def _let_go(self, subscription: str) -> None:
        """Release what was just held if the subscription was resumed since its route was read.

        The commit came first: who resumes it later finds the held runs and releases them.
        """
        with suppress(StoreError):  # what was kept is kept; the next look releases it
            now = await self._registry.subscription(subscription)
            if now is None or now.state != "paused":
                await self._registry.release_held(subscription)

    def _decide(
        self,
        route: Route,
        request: Request,
        decoded: Decoded,
        reads: Sequence[Read],
        behind: Behind,
        delivery_id: str,
        now: float,
    ) -> r.NewDelivery:
        """Turn what the handler said into rows; nothing is kept yet."""
        events, trace = self._decider.decide(route, decoded, reads, behind, delivery_id, now)
        decoded.check()
        kind, cause = outcome_of(reads)
        return self._row(
            route, request, kind, cause,
            id=delivery_id, subscription=reads[0].subscription if len(reads) == 1 else None,
            now=now, body=request.body,
            trace=encode_json(trace) if trace else None,
            events=events,
            updates=updates_of(reads, request),
        )  # fmt: skip

    def start(self, new: r.NewDelivery, accepted: r.Accepted, text: bytes) -> None:
        """Hand committed runs to the engine, with their payload."""
        for number, event in enumerate(new.events):
            if number in accepted.duplicates:
                continue
            for run in event.runs:
                self._handover.put(loaded(new, event, run, text))
                self._engine.wake(run.statements)

    async def _keep_strangers(self, route: Route, request: Request, now: float, key: int | None) -> Response:
        """Keep a verified delivery of an unknown account whole: it starts its runs once that is known."""
        row = self._row(
            route, request, "ignored", "unknown-account", now=now, body=request.body, key_serial=key,
            waits_for=self._routes.accounts_of(route, request),
        )  # fmt: skip
        if self._sealer.marks.in_source(route.source.id):
            row = msgspec.structs.replace(row, sealed=True, body=self._sealer.seal(row.body))
        await self._store.accept(row)
        self._on_stranger()
        return route.source.answer

    def _answer_late(self, route: Route, request: Request, now: float) -> Response:
        """Answer what comes to an endpoint that was removed: a provider may ask whether it is to end."""
        told = self._handshakes.goodbye(route, request) if route.source.handshakes else None
        outcome: r.DeliveryOutcome = "handshake" if told else "ignored"
        self._store.note(self._row(route, request, outcome, "removed", now=now, body=b""))
        return told or route.source.answer

    def _reject(self, route: Route, request: Request, rejected: Rejected) -> Response:
        logger.warning("rejected a delivery at %s: %s (%s)", route.source.id, rejected.cause, rejected.detail)
        row = self._row(route, request, "rejected", rejected.cause, now=self._clock.now(), body=b"")
        trace = encode_json([{"why": rejected.detail}])
        self._store.note(msgspec.structs.replace(row, status=rejected.status, trace=trace))
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
