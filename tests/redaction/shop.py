"""A provider with marked fields, and an app that gets them; what the tests of this folder share."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import attrs
import msgspec

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    Integration,
    Response,
    Retry,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.core.runs import FINAL
from trigflow.runtime import views as v
from trigflow.testing.deliveries import signed

DEADLINE = 10.0  # seconds
EMAIL = "ada.lovelace@example.com"
CARD = 4242424242424242
PAYLOAD: Mapping[str, Any] = {
    "id": "ch_1",
    "type": "charge",
    "customer": {"email": EMAIL, "country": "DE"},
    "lines": [{"card": CARD, "sku": "book"}, {"card": CARD + 1, "sku": "pen"}],
}
SHOWN: Mapping[str, Any] = {
    **PAYLOAD,
    "customer": {"email": "[redacted]", "country": "DE"},
    "lines": [{"card": "[redacted]", "sku": "book"}, {"card": "[redacted]", "sku": "pen"}],
}


def payload(id_: str = "ch_1", kind: str = "charge", **more: Any) -> dict[str, Any]:
    return {**PAYLOAD, "id": id_, "type": kind, **more}


@attrs.frozen
class Sample:
    text: bytes

    def read(self) -> bytes:
        return self.text


def samples() -> Mapping[str, Sample]:
    email = {"email": "example@example.com", "country": "DE"}
    return {"one": Sample(msgspec.json.encode(payload(customer=email)))}


class Only(enum.Enum):
    """An address that no delivery has: what it refuses it quotes."""

    ONE = "example@example.com"


@attrs.frozen
class Customer:
    email: Only


@attrs.frozen
class Narrow:
    customer: Customer


@attrs.define
class Shop:
    """What a test decides, and what it gets to see."""

    job: Callable[..., Any] | None = None
    filter: Mapping[str, object] = attrs.field(factory=dict[str, object])
    mended: bool = False
    seen: list[Any] = attrs.field(factory=list[Any])

    def handle(self, delivery: Delivery[str, int]) -> Iterable[Event | Ignored]:
        body = delivery.payload
        match body["type"]:
            case "odd":
                return [Ignored("odd")]
            case "broken" if not self.mended:
                raise KeyError(body["customer"]["email"])
            case "broken":
                return [Event("charge", body["id"], body)]
            case "batch":
                return [Event("charge", item["id"], item) for item in body["items"]]
            case kind:
                return [Event(kind, body["id"], body)]

    def app(self, store: Path | str, *keys: str, **options: Any) -> App:
        """Build an app with a job on charges, which by default remembers its payload, and one on parcels."""
        source: ExternalSource[str, object, int] = ExternalSource(
            "shop.webhook", params=str, client=object, data=int, verify=hmac_sha256("X-Sig")
        )
        source.handler(self.handle)

        class ShopIntegration(Integration, id="shop"):
            @event(
                "charge", dict[str, Any], source=source, examples=samples,
                sensitive=("customer.email", "lines.card"),
            )  # fmt: skip
            def charge(self) -> str:
                """A charge."""
                return "all"

            @event("parcel", dict[str, Any], source=source)
            def parcel(self) -> str:
                """A parcel."""
                return "all"

        async def remember(payload: dict[str, Any]) -> None:
            self.seen.append(payload)

        async def carry(payload: dict[str, Any]) -> None:
            self.seen.append(payload)

        shop = ShopIntegration()
        retry = options.pop("retry", Retry(times=0))
        jobs = [
            trigger(shop.charge(), id="charged", filter=self.filter, retry=retry)(self.job or remember),
            trigger(shop.parcel(), id="carried")(carry),
        ]
        return App(jobs, store=str(store), register="off", secret_key=",".join(keys) or None, **options)


async def post(app: App, body: object) -> Response:
    """Deliver a body, signed."""
    opened = app.opened
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    token, request = await signed(opened, opened.sources["shop.webhook"], "charge", raw, "")
    return await opened.receive(token, request)


async def latest(app: App) -> v.DeliveryRow:
    """Return the newest delivery; what nobody waits for is there a moment later."""
    with anyio.fail_after(DEADLINE):
        while not (rows := await app.opened.store.deliveries(limit=1)):
            await anyio.sleep(0.005)
    return rows[0]


async def ended(app: App, *, job: str = "charged") -> v.RunDetail:
    """Return the newest run of a job when it has ended."""
    with anyio.fail_after(DEADLINE):
        while True:
            rows = await app.opened.store.runs(limit=1, job=job)
            if rows and rows[0].state in FINAL:
                detail = await app.opened.store.run(rows[0].id)
                assert detail is not None
                return detail
            await anyio.sleep(0.005)
