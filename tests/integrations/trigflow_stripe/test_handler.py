"""What a verified delivery of Stripe says."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trigflow import Delivery, Event, Headers, Ignored, Request, decode_json
from trigflow_stripe.samples import Captured
from trigflow_stripe.source import EndpointId, Mode, envelope, handle

THIN = {
    "id": "evt_234",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "created": "2022-02-15T00:27:45.330Z",
    "livemode": True,
    "related_object": {"id": "me_123", "type": "billing.meter", "url": "/v1/billing/meters/me_123"},
}


def said(body: object, **headers: str) -> list[object]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request("POST", "https://h/", Headers.of(headers), text)
    delivery: Delivery[Mode, EndpointId] = Delivery(
        "dlv", request, datetime.now(UTC), decode_json(request), Mode(), None
    )
    return list(handle(delivery))


def only(body: object) -> Event:
    (event,) = said(body)
    assert isinstance(event, Event)
    return event


def test_an_event_is_its_resource_and_what_stands_around_it_is_context() -> None:
    envelope: Any = json.loads(Captured("price.updated").envelope())
    event = only(envelope)
    assert (event.name, event.id) == ("price.updated", "evt_1HlZbxFz0jfFqjGsZwiHHf7h")
    assert event.payload == envelope["data"]["object"]
    assert event.at == datetime(2020, 11, 9, 12, 36, 41, tzinfo=UTC)
    assert event.context == {
        "api_version": "2020-03-02",
        "livemode": False,
        "request": {"id": "req_78pnxbwPMvOIwe", "idempotency_key": None},
        "account": None,
        "previous_attributes": {"unit_amount": 2000, "unit_amount_decimal": "2000"},
    }


def test_an_event_of_a_connected_account_names_it() -> None:
    context = only(Captured("account.application.deauthorized").envelope()).context
    assert (context["account"], context["previous_attributes"]) == ("acct_1Fg9jUA3kq9o1aTc", None)


def test_events_of_before_2017_name_their_request_by_its_id_alone() -> None:
    event = only(Captured("checkout.session.completed").envelope())
    assert event.context["request"] == "req_6lsB7hkicwhaDj"


def test_thin_events_carry_no_resource_and_are_ignored() -> None:
    assert said(THIN) == [Ignored("thin-event")]


def test_a_resource_alone_is_put_into_an_event_and_a_whole_event_stays_as_it_is() -> None:
    resource = {"id": "price_1", "object": "price"}
    event = only(envelope("price.created", json.dumps(resource).encode(), "evt_1"))
    assert (event.name, event.id, event.payload) == ("price.created", "evt_1", resource)
    whole = Captured("price.updated").envelope()
    assert envelope("price.created", whole, "evt_1") == whole
    assert said(resource) == [Ignored("not-an-event")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
near_events = st.fixed_dictionaries(
    {},
    optional={
        "object": st.just("event") | json_values,
        "id": st.text() | json_values,
        "type": st.text() | json_values,
        "created": st.integers() | json_values,
        "data": st.fixed_dictionaries({}, optional={"object": json_values | st.just(dict[str, object]())})
        | json_values,
        "request": json_values,
    },
)


@given(near_events | json_values)
def test_anything_that_is_signed_is_an_event_or_is_ignored(body: object) -> None:
    for outcome in said(body):
        assert isinstance(outcome, Event | Ignored)
        if isinstance(outcome, Event):
            assert outcome.at is None or outcome.at.tzinfo is not None


@pytest.mark.parametrize("created", [True, 10**18, -(10**18), "1", None])
def test_a_time_that_is_none_is_left_out(created: object) -> None:
    envelope: Any = json.loads(Captured("price.updated").envelope())
    assert only({**envelope, "created": created}).at is None
