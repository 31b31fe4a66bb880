"""An integration of your own: Parcels, a made-up delivery service, in one file.

Run it with `trigflow dev examples/own_integration.py`; needs PARCELS_TOKEN.
What Parcels' documentation would say:

- POST /webhooks {"url", "secret", "events"} answers {"id"}; DELETE /webhooks/{id}
- each request is signed: X-Parcels-Signature is the HMAC-SHA-256, in hex, over
  X-Parcels-Time (unix seconds), a full stop and the body
- the body is {"id": "...", "type": "parcel.delivered", "parcel": {...}}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

import attrs
import httpx

from trigflow import (
    BODY,
    IO,
    ApiError,
    ApiKey,
    App,
    Credentials,
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    Integration,
    Registered,
    Registration,
    event,
    header,
    hmac_sha256,
    trigger,
)

# --- the client: plain Python, knows nothing of trigflow but an error


class ParcelsClient:
    """Parcels' API for one account."""

    def __init__(self, token: str, base_url: str) -> None:
        self.base_url = base_url  # where it is on this machine, an app at localhost can be reached
        self._http = httpx.AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {token}"})

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def create_webhook(self, url: str, secret: str, events: Sequence[str]) -> str:
        answer = await self._http.post(
            "/webhooks", json={"url": url, "secret": secret, "events": list(events)}
        )
        _check(answer)
        return str(answer.json()["id"])

    async def delete_webhook(self, id: str) -> None:  # noqa: A002
        answer = await self._http.delete(f"/webhooks/{id}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            _check(answer)


def _check(answer: httpx.Response) -> None:
    if answer.is_error:
        raise ApiError(
            f"{answer.request.method} {answer.request.url.path}", answer.status_code, answer.text[:200]
        )


# --- the source: how its webhook is registered, verified and read


@attrs.frozen
class Everywhere:
    """Params of the webhook: there is one for the whole account."""


@attrs.frozen
class WebhookId:
    """What is kept of a registration."""

    id: str


webhook = ExternalSource(
    "parcels.webhook",
    params=Everywhere,
    client=ParcelsClient,
    data=WebhookId,
    verify=hmac_sha256(
        "X-Parcels-Signature",
        over=(header("X-Parcels-Time"), ".", BODY),
        timestamp=header("X-Parcels-Time"),
        tolerance=timedelta(minutes=5),
    ),
)


@webhook.register
async def register(
    reg: Registration[Everywhere, WebhookId], parcels: ParcelsClient
) -> Registered[WebhookId] | None:
    """Parcels can't change a webhook: make another, then take the old one away."""
    made = await parcels.create_webhook(reg.url, reg.secret, reg.events.desired)
    if reg.data is not None:
        await parcels.delete_webhook(reg.data.id)
    return Registered(WebhookId(made))


@webhook.unregister
async def unregister(reg: Registration[Everywhere, WebhookId], parcels: ParcelsClient) -> None:
    if reg.data is not None:
        await parcels.delete_webhook(reg.data.id)


@webhook.handler
def handle(delivery: Delivery[Everywhere, WebhookId]) -> Iterable[Event | Ignored]:
    """Pure: what a verified delivery says. The id is Parcels' own, the same on a redelivery."""
    match delivery.payload:
        case {"type": str(name), "id": str(id_)}:
            return [Event(name, id_, delivery.payload)]
        case _:
            return [Ignored("not-an-event")]


# --- the integration: its credentials and its events


@attrs.frozen
class Parcel:
    number: str
    recipient: str


@attrs.frozen
class Delivered:
    """The payload of parcel.delivered."""

    id: str
    parcel: Parcel


@attrs.frozen
class Sample:
    text: bytes

    def read(self) -> bytes:
        return self.text


def samples() -> Mapping[str, Sample]:
    """Real payloads: jobs are checked against them when an app is built."""
    text = b'{"id":"ev_1","type":"parcel.delivered","parcel":{"number":"P-7","recipient":"Ada"}}'
    return {"delivered": Sample(text)}


class Parcels(Integration, id="parcels", auth=[ApiKey("PARCELS_TOKEN")]):
    """Parcels on their way."""

    base_url: str = "https://api.parcels.example"

    def client(self, credentials: Credentials) -> ParcelsClient:
        return ParcelsClient(credentials["token"], os.environ.get("PARCELS_API_URL", self.base_url))

    # Nobody but the job reads who gets a parcel: not in the store, on no page, in no log.
    @event("parcel.delivered", Delivered, source=webhook, examples=samples, sensitive=["parcel.recipient"])
    def delivered(self) -> Everywhere:
        """A parcel was handed over."""
        return Everywhere()


parcels = Parcels()

# --- and a job that uses it


def thank(recipient: str) -> str:
    return f"Thank you, {recipient}!"


@trigger(parcels.delivered)
async def delivered(payload: Delivered, io: IO) -> str:
    """Thank the recipient."""
    return await io.task("thank", thank, payload.parcel.recipient)


app = App(jobs=[delivered])
