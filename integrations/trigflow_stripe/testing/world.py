"""What the fake Stripe holds: accounts, resources, endpoints, events, attempts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from trigflow_stripe.integration import Stripe
from trigflow_stripe.samples import Fixture
from trigflow_stripe.testing.answers import Json, missing
from trigflow_stripe.testing.deliveries import Attempt
from trigflow_stripe.testing.endpoints import FakeEndpoint

KEPT = timedelta(days=30)
API_VERSION = "2026-10-28.endive"  # the account's default
ACCOUNT = "acct_1PgafTB7WZ01zgkW"


def _types() -> Mapping[str, str]:
    """Return the name of the resource of each event, by its type."""
    found: dict[str, str] = {}
    for _, specification in Stripe.specifications():
        example = specification.examples()["fixture"]
        assert isinstance(example, Fixture)  # noqa: S101 - what `samples` gives
        found[specification.name] = example.object
    return found


TYPES: Mapping[str, str] = _types()
# Where the API has the resources that a client may ask for.
PLACES: Mapping[str, str] = {
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "payment_intent": "payment_intents",
    "payment_method": "payment_methods",
    "payout": "payouts",
    "price": "prices",
    "product": "products",
    "refund": "refunds",
    "setup_intent": "setup_intents",
    "subscription": "subscriptions",
}


@attrs.define
class FakeEvent:
    """An event, and what became of its deliveries.

    pending: endpoints that it is still tried at. failed: those that it was given up at.
    """

    shown: Json
    account: str | None
    at: datetime
    pending: set[str] = attrs.Factory(set[str])
    failed: set[str] = attrs.Factory(set[str])

    @property
    def is_delivered(self) -> bool:
        """Tell whether Stripe counts all of its deliveries as successful."""
        return not self.pending and not self.failed


class World:
    """All that the fake knows; ids are never used twice."""

    def __init__(self, now: Callable[[], datetime], *, livemode: bool) -> None:
        self.now = now
        self.livemode = livemode
        self.endpoints: dict[str, FakeEndpoint] = {}
        self.events: dict[str, FakeEvent] = {}
        self.attempts: list[Attempt] = []
        self.connected: dict[str, Json] = {}
        self.resources: dict[tuple[str, str], Json] = {}
        self._ids = itertools.count(1)
        for object_ in PLACES:
            self.put(fixture(object_))

    def next_id(self, prefix: str) -> str:
        """Return an id that nothing else has, as long as Stripe's are."""
        return f"{prefix}_1Fake{next(self._ids):019d}"

    def own_account(self) -> Json:
        """Return the account that the key belongs to."""
        return account(ACCOUNT, "Acme")

    def put(self, resource: Json) -> None:
        """Keep a resource for the API to answer with; KeyError for a kind that it has no place for."""
        self.resources[PLACES[resource["object"]], resource["id"]] = resource

    def resource(self, place: str, id_: str) -> Json:
        """Return a resource; Refused with 404 where there is none."""
        found = self.resources.get((place, id_))
        if found is None:
            what = next(object_ for object_, where in PLACES.items() if where == place)
            raise missing(what, id_, "id")
        return found

    def endpoint(self, id_: str) -> FakeEndpoint:
        """Return an endpoint; Refused with 404 where there is none."""
        if id_ not in self.endpoints:
            raise missing("webhook endpoint", id_, "webhook_endpoint")
        return self.endpoints[id_]

    def event(self, id_: str) -> Json:
        """Return an event as Stripe shows it; Refused with 404 where it is not there, or too old."""
        found = self.events.get(id_)
        if found is None or self.now() - found.at > KEPT:
            raise missing("event", id_, "id")
        return {**found.shown, "pending_webhooks": len(found.pending)}

    def add_event(
        self,
        type_: str,
        resource: Json,
        *,
        account: str | None,
        previous: Mapping[str, Any] | None,
        id_: str | None,
    ) -> FakeEvent:
        """Keep a new event, pending at the endpoints that want it."""
        at = self.now()
        data: Json = {"object": resource} | ({} if previous is None else {"previous_attributes": previous})
        shown: Json = {
            "id": id_ or self.next_id("evt"),
            "object": "event",
            **({} if account is None else {"account": account}),
            "api_version": API_VERSION,
            "created": int(at.timestamp()),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": {"id": self.next_id("req"), "idempotency_key": None},
            "type": type_,
        }
        wanting = {one.id for one in self.endpoints.values() if one.wants(type_, account=account)}
        event = self.events[shown["id"]] = FakeEvent(shown, account, at, wanting)
        return event

    def listed(self, account: str | None) -> list[FakeEvent]:
        """Return the events of an account that are still kept, the newest first."""
        now = self.now()
        mine = [event for event in self.events.values() if event.account == account]
        return [event for event in reversed(mine) if now - event.at <= KEPT]

    def rendered(self, event: Json, endpoint: FakeEndpoint) -> bytes:
        """Return an event as an endpoint is sent it: in its API version, on many lines."""
        told = {**event, "api_version": endpoint.api_version or event["api_version"]}
        return json.dumps(told, ensure_ascii=False, indent=2).encode()

    def settled(self, event: str, endpoint: str, *, ok: bool) -> None:
        """Note that an event is no longer tried at an endpoint."""
        found = self.events[event]
        found.pending.discard(endpoint)
        if ok:
            found.failed.discard(endpoint)
        else:
            found.failed.add(endpoint)


def fixture(object_: str) -> Json:
    """Return a resource as Stripe's documentation shows it."""
    found: Json = json.loads(Fixture(object_).read())
    return found


def account(id_: str, name: str) -> Json:
    """Return an account."""
    found = fixture("account")
    found["settings"]["dashboard"]["display_name"] = name
    return {**found, "id": id_}
