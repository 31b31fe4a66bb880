"""Doing again what a delivery said, because a person asked for it.

A redelivery by the provider starts nothing twice; a replay always does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from trigflow.core.errors import TrigflowError
from trigflow.core.http import Headers, Request
from trigflow.core.ids import Ids
from trigflow.core.payloads import decode_json_text
from trigflow.runtime import records as r, views as v
from trigflow.runtime.intake.audience import Audience, Found
from trigflow.runtime.intake.decide import Matching
from trigflow.runtime.intake.receive import Receiver
from trigflow.runtime.intake.routes import AnySource, Routes, topic_of
from trigflow.runtime.ports import Clock, Engine, Item, Store
from trigflow.runtime.sealing.sealed import Sealer
from trigflow.sources.delivery import Delivery
from trigflow.sources.external import delivery_of

PublicUrl = Callable[[str, str], str]


class Replayer:
    """Starts the runs of kept deliveries anew."""

    def __init__(
        self,
        store: Store,
        routes: Routes,
        receiver: Receiver,
        matching: Matching,
        audience: Audience,
        sealer: Sealer,
        engine: Engine,
        clock: Clock,
        ids: Ids,
        public_url: PublicUrl,
    ) -> None:
        """Work with the parts of one open app."""
        self._store, self._routes, self._receiver, self._matching = store, routes, receiver, matching
        self._audience, self._sealer, self._engine = audience, sealer, engine
        self._clock, self._ids, self._public_url = clock, ids, public_url

    async def replay(self, delivery: str, *, job: str | None) -> Sequence[str]:
        """Start runs for a delivery's events with the triggers of now; return the runs' ids.

        A delivery whose handler raised is handled again first.
        Raises TrigflowError where the delivery is unknown or was rejected.
        """
        found = await self._store.delivery(delivery)
        if found is None:
            raise TrigflowError(f"there is no delivery {delivery}; `trigflow deliveries list` shows them")
        row, body = found
        if row.outcome in ("rejected", "handshake"):
            raise TrigflowError(
                f"delivery {delivery} was {row.outcome} ({row.cause}); there is nothing to replay"
            )
        events = await self._store.events(delivery)
        if not events:
            if body is None:
                raise TrigflowError(f"delivery {delivery}: its body is no longer kept")
            return await self._handle_again(row, self._sealer.text(body, sealed=row.sealed))
        started = [await self._start(event, job) for event in events]
        return [run for runs in started for run in runs]

    async def _start(self, event: v.EventRow, job: str | None) -> Sequence[str]:
        text = await self._store.payload(event.id)
        subscription = await self._store.subscription(event.subscription_id)
        if text is None or subscription is None:
            raise _not_kept(event)
        payload = decode_json_text(self._sealer.text(text, sealed=event.sealed))
        found = await self._found(event, subscription, payload)
        earlier = {run.job: run.id for run in await self._store.runs(limit=1000, event=event.id)}
        names = dict.fromkeys(one.id for one, _ in found if job in (None, one.id))
        return [await self._run(event, name, earlier.get(name)) for name in names]

    async def _found(self, event: v.EventRow, s: r.Subscription, payload: object) -> Found:
        """Return the jobs that an event starts now; a subscriber's event those of the dynamic trigger."""
        if event.subscriber is not None:
            dynamic = msgspec.json.decode(event.subscriber, type=r.SubscriberOf).dynamic
            return self._audience.matching.match((dynamic, s.source, event.name), payload)
        endpoint = (await self._store.endpoints_for([s.identity])).get(s.identity)
        topic = s.identity if endpoint is None else topic_of(endpoint, s)
        return self._matching.match((topic, event.name), payload)

    async def _run(self, event: v.EventRow, job: str, earlier: str | None) -> str:
        now = int(self._clock.now() * 1000)
        item = Item(self._ids.new("run"), now, 0)
        (statements,) = self._engine.put([item])
        run = r.NewRun(item.run_id, job, now, statements, replay_of=earlier)
        if not await self._store.replay(event.id, run, at=now):
            raise _not_kept(event)
        self._engine.wake(statements)
        return run.id

    async def _handle_again(self, row: v.DeliveryRow, body: bytes) -> Sequence[str]:
        token = await self._store.token_of(row.endpoint_id)
        route = None if token is None else await self._routes.find(token)
        if route is None:
            raise TrigflowError(f"delivery {row.id}: its endpoint is gone")
        request = request_of(row, body, self._public_url)
        return await self._receiver.handle_again(route, request)


def _not_kept(event: v.EventRow) -> TrigflowError:
    return TrigflowError(f"event {event.event_id}: its payload or its subscription is no longer kept")


async def kept_delivery(
    store: Store,
    sources: Mapping[str, AnySource],
    sealer: Sealer,
    delivery_id: str,
    subscription_id: str,
    public_url: PublicUrl,
) -> Delivery[Any, Any]:
    """Put a kept delivery together for a job; its credentials are redacted.

    subscription_id: of the job's event; a delivery may have brought events of several.
    """
    found = await store.delivery(delivery_id)
    s = await store.subscription(subscription_id)
    if found is None or found[1] is None:
        raise TrigflowError(f"delivery {delivery_id} is no longer kept")
    row, body = found[0], found[1]
    if s is None:
        raise TrigflowError(f"the subscription of delivery {delivery_id} is gone")
    request = request_of(row, sealer.text(body, sealed=row.sealed), public_url)
    source = sources[s.source]
    return delivery_of(
        source, request, source.decode(request), id=row.id, received_at=row.received_at / 1000,
        params=s.params, data=s.data, metadata=s.metadata,
    )  # fmt: skip


def request_of(row: v.DeliveryRow, body: bytes, public_url: PublicUrl) -> Request:
    """Put a kept request together; its credentials are redacted, and its query is not kept."""
    headers = Headers.of(msgspec.json.decode(row.headers, type=list[tuple[str, str]]))
    return Request(row.method, public_url("", ""), headers, body)
