"""Stripe's webhook endpoints as one source.

Facts: docs.stripe.com/webhooks, docs.stripe.com/api/webhook_endpoints and
docs.stripe.com/api/events. What a job gets of an event is its resource, `data.object`;
what stands around it is the event's context (see `handle`).

Thin events (event destinations of API v2) carry no resource; they are ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import attrs
import msgspec

from trigflow import (
    BODY,
    ApiError,
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    Lost,
    Missed,
    NotFound,
    Registration,
    RegistrationError,
    Secret,
    Webhook,
    WebhookApi,
    hmac_sha256,
    kv,
)
from trigflow_stripe.client import MOST_ENDPOINTS, StripeClient
from trigflow_stripe.client.connection import event_time
from trigflow_stripe.client.resources import WebhookEndpoint

EVENTS_KEPT = timedelta(days=30)  # how far back Stripe lists events
MOST_TYPES = 20  # names that one request for events may list
_IN_CONTEXT = ("api_version", "livemode", "request", "account")


@attrs.frozen(kw_only=True)
class Mode:
    """Which endpoint: for events of the account itself, or of the accounts that are connected to it.

    api_version: how events are rendered; None for the account's default version.
    """

    connect: bool = False
    api_version: str | None = None


@attrs.frozen
class EndpointId:
    """What is kept of an endpoint: its id at Stripe, `we_…`."""

    id: str


def _key(mode: Mode) -> str:
    """Name the endpoint; neither its kind nor its API version can be changed once it is made."""
    kind = "connect" if mode.connect else "account"
    return kind if mode.api_version is None else f"{kind}:{mode.api_version}"


def _webhook(endpoint: WebhookEndpoint) -> Webhook[EndpointId]:
    events = tuple(sorted(endpoint.enabled_events))
    return Webhook(
        endpoint.url, events, EndpointId(endpoint.id), endpoint.status == "enabled", endpoint.secret
    )


async def _list(_: Mode, stripe: StripeClient) -> Sequence[Webhook[EndpointId]]:
    return [_webhook(endpoint) async for endpoint in stripe.webhook_endpoints()]


async def _create(reg: Registration[Mode, EndpointId], stripe: StripeClient) -> Webhook[EndpointId]:
    try:
        made = await stripe.create_webhook_endpoint(
            reg.url,
            reg.events.desired,
            connect=reg.params.connect,
            api_version=reg.params.api_version,
            description="made by trigflow",
        )
    except ApiError as error:
        await _explain(error, stripe)
        raise
    return _webhook(made)


async def _explain(error: ApiError, stripe: StripeClient) -> None:
    """Raise a RegistrationError where the account has as many endpoints as it may have.

    Stripe documents no code for it, so that the endpoints are counted.
    """
    if error.status != 400:
        return
    count = len([endpoint async for endpoint in stripe.webhook_endpoints()])
    if count >= MOST_ENDPOINTS:
        raise RegistrationError(
            f"Stripe has {count} webhook endpoints of this account in this mode and takes at most "
            f"{MOST_ENDPOINTS}; delete one in the dashboard, under Developers, Webhooks ({error.message})"
        ) from error


async def _update(
    reg: Registration[Mode, EndpointId], webhook: Webhook[EndpointId], stripe: StripeClient
) -> Webhook[EndpointId]:
    return _webhook(
        await stripe.update_webhook_endpoint(
            webhook.data.id, url=reg.url, enabled_events=reg.events.desired, disabled=False
        )
    )


async def _delete(
    _: Registration[Mode, EndpointId], webhook: Webhook[EndpointId], stripe: StripeClient
) -> None:
    with contextlib.suppress(NotFound):
        await stripe.delete_webhook_endpoint(webhook.data.id)


webhook: ExternalSource[Mode, StripeClient, EndpointId] = ExternalSource(
    "stripe.webhook",
    params=Mode,
    client=StripeClient,
    data=EndpointId,
    key=_key,
    # Told once, in the answer to the request that makes the endpoint, and never again.
    secret=Secret.RETURNED,
    # The key is the whole secret, "whsec_" included. While a secret is rolled there are several v1.
    verify=hmac_sha256(
        kv("Stripe-Signature", "v1"),
        over=(kv("Stripe-Signature", "t"), ".", BODY),
        timestamp=kv("Stripe-Signature", "t"),
        tolerance=timedelta(minutes=5),
    ),
    api=WebhookApi(list=_list, create=_create, update=_update, delete=_delete),
    retries_for=timedelta(days=3),
    instructions=(
        "in the Stripe dashboard, under Developers, Webhooks, add an endpoint with the URL and the events; "
        'for connect=True listen to "Events on connected accounts"; then copy its signing secret (whsec_…)'
    ),
)


@webhook.handler
def handle(delivery: Delivery[Mode, EndpointId]) -> Iterable[Event | Ignored]:
    """Return the one event of a delivery: its resource, and what stands around it as context.

    Context: api_version, livemode, request, account (None unless a connected account's),
    previous_attributes (None where nothing was changed).
    """
    match delivery.payload:
        case {"object": "event", "id": str(id_), "type": str(name), "data": {"object": dict()}} as event if (
            id_
        ):
            return [_event(name, id_, event)]
        case {"object": "v2.core.event"}:
            return [Ignored("thin-event")]
        case _:
            return [Ignored("not-an-event")]


def _event(name: str, id_: str, event: Mapping[str, Any]) -> Event:
    context = {field: event.get(field) for field in _IN_CONTEXT}
    context["previous_attributes"] = event["data"].get("previous_attributes")
    return Event(name, id_, event["data"]["object"], event_time(event), context)


@webhook.envelope
def envelope(event: str, payload: bytes, id: str) -> bytes:  # noqa: A002 - the hook's word
    """Return the event that a resource (JSON text) would come in, without a time; a whole event as it is."""
    told: Any = msgspec.json.decode(payload)
    if isinstance(told, dict) and cast("dict[str, Any]", told).get("object") == "event":
        return payload
    around = {
        "id": id, "object": "event", "api_version": None, "livemode": False, "type": event,
        "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None},
        "data": {"object": msgspec.Raw(payload)},
    }  # fmt: skip
    return msgspec.json.encode(around)


@webhook.recover
async def recover(
    reg: Registration[Mode, EndpointId], since: datetime, stripe: StripeClient
) -> AsyncIterator[Missed | Lost]:
    """Yield the events of our types since a moment, for each account the newest first.

    Not only those with delivery_success=false: an event that arose while our endpoint was
    missing or disabled was delivered wherever it had to be, so that Stripe counts it as a success.
    """
    oldest = stripe.now() - EVENTS_KEPT
    if since < oldest:
        yield Lost(since, f"Stripe keeps events for 30 days; what is before {oldest:%Y-%m-%d %H:%M} is gone")
    async for account in _accounts(reg.params, stripe):
        for types in _chunks(reg.events.desired):
            async for event in stripe.events(since=since, types=types, account=account):
                yield _missed(event, account)


async def _accounts(mode: Mode, stripe: StripeClient) -> AsyncIterator[str | None]:
    """Yield whose events to list: our own (None), or those of each connected account."""
    if not mode.connect:
        yield None
        return
    async for account in stripe.connected_accounts():
        yield account.id


def _chunks(types: Sequence[str]) -> Iterable[Sequence[str]]:
    """Split names into as many as one request may list; "*" is every type, which no list says."""
    if "*" in types:
        return [()]
    return [types[start : start + MOST_TYPES] for start in range(0, len(types), MOST_TYPES)]


def _missed(event: Mapping[str, Any], account: str | None) -> Missed:
    # A connected account's own list does not say whose it is; a delivery to a Connect endpoint does.
    told = event if account is None else {**event, "account": account}
    return Missed(msgspec.json.encode(told), event_time(event) or datetime.fromtimestamp(0, UTC))
