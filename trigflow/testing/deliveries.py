"""Delivering an event to an app as its provider would: signed, over the whole path.

async with App(jobs=[triage], store="memory:", register="off") as app:
delivered = await deliver(app, github.issues, example="opened")
assert delivered.runs[0].state == "succeeded"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import anyio
import attrs

from trigflow.app import App
from trigflow.core.dynamic import Dynamic
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.core.http import TRIED, Headers, Request
from trigflow.core.payloads import decode_json_text, encode_json
from trigflow.core.plan import Identity
from trigflow.core.runs import FINAL
from trigflow.core.triggers import Specification, Trigger
from trigflow.opened import Opened
from trigflow.runtime import records as r, views as v
from trigflow.runtime.intake.routes import AnySource
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import BoundEvent
from trigflow.testing.jobs import Ran, ran_of

POLL = 0.005  # seconds between two looks at a run


@attrs.frozen
class Delivered:
    """What became of a delivery.

    outcome: accepted, duplicate, ignored, rejected, …; cause: why, if not accepted.
    runs: every run that it started, ended. missed: why jobs did not run.
    """

    id: str
    status: int
    outcome: r.DeliveryOutcome
    cause: str
    runs: tuple[Ran, ...]
    missed: Mapping[str, str]


async def deliver(
    app: App,
    event: Trigger[Any] | BoundEvent[..., Any] | Dynamic[..., object],
    *,
    to: str | None = None,
    example: str | None = None,
    payload: object = None,
    id: str | None = None,  # noqa: A002 - the provider's word
    timeout: float = 10.0,  # noqa: ASYNC109 - seconds, of the runs
) -> Delivered:
    """Sign and deliver an event to an open app, and wait until the runs that it starts have ended.

    to: the key of a subscriber of a dynamic trigger: delivered where its events come from, so
        that it is for all who subscribed there.
    example: which of the event's examples; default the typical one.
    payload: sent instead of an example; JSON-able, or JSON text as bytes.
    id: the provider's id of the event; the same one again is a redelivery.
    Raises SetupError where the app does not listen to the event's source,
    TimeoutError where a run has not ended in time.
    """
    specification = (event.trigger if isinstance(event, Dynamic) else event).specification
    source = specification.source
    if not is_webhook(source):
        raise SetupError(f"{event!r} does not come over HTTP")
    text = _text(specification, example) if payload is None else payload
    body = text if isinstance(text, bytes) else encode_json(text)
    opened = app.opened
    identity = await _identity(opened, event, to)
    token, request = await signed(
        opened, source, specification.name, body, id or str(uuid4()), identity=identity
    )
    latest = await opened.store.deliveries(limit=1)
    response = await opened.receive(token, request)
    with anyio.fail_after(timeout):
        return await _outcome(opened, latest[0].id if latest else "", response.status)


async def _identity(opened: Opened, event: object, to: str | None) -> Identity | None:
    """Return the subscription that a subscriber's events come from."""
    if not isinstance(event, Dynamic):
        return None
    if to is None:
        raise SetupError(f"dynamic {event.id!r}: name a subscriber that it is delivered to, with to=")
    found = await opened.store.subscriber(event.id, to)
    if found is None:
        raise SetupError(f"nobody subscribed to {event.id!r} with the key {to!r}")
    return found.identity


def _text(specification: Specification, example: str | None) -> bytes:
    examples = specification.examples()
    name = example or next(iter(examples), None)
    if name is None or name not in examples:
        known = ", ".join(examples) or "none"
        raise SetupError(f"there is no example {name!r} of {specification.name}; there are: {known}")
    return examples[name].read()


async def signed(
    opened: Opened,
    source: AnySource,
    event: str,
    payload: bytes,
    id: str,  # noqa: A002
    *,
    key: str | None = None,
    identity: Identity | None = None,
    signer: int = 0,
) -> tuple[str, Request]:
    """Return the token of a source's endpoint, and a request as the provider would send it there.

    key, identity: of the subscription whose endpoint is meant, where the source has several.
    signer: which of the endpoint's keys signs, the newest first.
    """
    endpoint = await _endpoint(opened, source, key, identity)
    if endpoint is None:
        raise SetupError(f"no job of this app listens to {source.id}")
    body = source.sample_body(event, payload, id)
    headers = [("content-type", "application/json"), (TRIED, "1"), *source.sample_headers(event, body, id)]
    url = opened.public_url(f"{opened.mark}{endpoint.token}", "")
    request = Request("POST", url, Headers.of(headers), body)
    keys = opened.routes.keys_of(endpoint)
    if keys:
        signature = source.verify.sign(request, keys[signer], now=opened.clock.now())
        request = attrs.evolve(request, headers=Headers.of([*headers, *signature]))
    return endpoint.token, request


async def _endpoint(
    opened: Opened, source: AnySource, key: str | None, identity: Identity | None
) -> r.Endpoint | None:
    if identity is not None:
        return (await opened.store.endpoints_for([identity])).get(identity)
    for endpoint in await opened.store.endpoints():
        if endpoint.source == source.id and key in (None, *(s.key for s in endpoint.subscriptions)):
            return endpoint
    return None


async def _outcome(opened: Opened, before: str, status: int) -> Delivered:
    row = await _logged(opened, before)
    runs: list[Ran] = []
    for event in await opened.store.events(row.id):
        for run in await opened.store.runs(limit=1000, event=event.id):
            if run.replay_of is None and row.outcome != "duplicate":
                runs.append(await _ended(opened, run.id))
    said: list[dict[str, str]] = [] if row.trace is None else decode_json_text(row.trace)
    missed = {entry["job"]: entry["why"] for entry in said if "job" in entry}
    return Delivered(row.id, status, row.outcome, row.cause, tuple(runs), missed)


async def _logged(opened: Opened, before: str) -> v.DeliveryRow:
    """Return the delivery after `before`: what is rejected is logged without anybody waiting for it."""
    while True:
        for row in await opened.store.deliveries(limit=1):
            if row.id > before:
                return row
        await anyio.sleep(POLL)


async def _ended(opened: Opened, run_id: str) -> Ran:
    while True:
        detail = await opened.store.run(run_id)
        if detail is None:
            raise TrigflowError(f"run {run_id} is gone")
        if detail.row.state in FINAL:
            return ran_of(detail)
        await anyio.sleep(POLL)
