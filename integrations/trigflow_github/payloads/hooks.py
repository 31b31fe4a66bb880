"""A webhook and its deliveries, as GitHub's API and the ping event show them."""

from datetime import datetime
from typing import Any

import attrs

from trigflow import Payload, payload


@payload
class HookConfig(Payload):
    """Where a webhook sends to and how; `secret` is never shown, only masked."""

    url: str | None = None
    content_type: str | None = None
    insecure_ssl: str | float | None = None
    secret: str | None = attrs.field(default=None, repr=False)


@payload
class LastResponse(Payload):
    """How the latest delivery of a webhook went."""

    code: int | None = None
    status: str | None = None
    message: str | None = None


@payload
class Hook(Payload):
    """A webhook; `type` is Repository, Organization or App."""

    id: int
    type: str
    name: str
    active: bool
    events: tuple[str, ...]
    config: HookConfig
    created_at: datetime
    updated_at: datetime
    app_id: int | None = None
    url: str | None = None
    ping_url: str | None = None
    deliveries_url: str | None = None
    last_response: LastResponse | None = None


@payload
class HookDelivery(Payload):
    """One attempt to deliver an event; attempts at the same event share the `guid`.

    status: "OK", or what went wrong in words; status_code: what was answered, if anything.
    duration: seconds.
    """

    id: int
    guid: str
    delivered_at: datetime
    redelivery: bool
    duration: float
    status: str
    status_code: int
    event: str
    action: str | None = None
    installation_id: int | None = None
    repository_id: int | None = None
    throttled_at: datetime | None = None


@payload
class DeliveredMessage(Payload):
    """One side of a delivery; the payload of a request is JSON, that of a response is text."""

    headers: dict[str, Any] | None = None
    payload: Any = None


@payload
class HookDeliveryDetail(HookDelivery):
    """An attempt with what was sent and what was answered."""

    request: DeliveredMessage
    response: DeliveredMessage
    url: str | None = None
