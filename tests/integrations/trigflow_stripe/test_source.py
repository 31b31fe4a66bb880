"""Stripe's endpoints as a source, against the fake: registering, and reading what never arrived."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trigflow import (
    App,
    Delivery,
    Event,
    Events,
    Headers,
    Lost,
    Missed,
    Registration,
    Request,
    Unauthorized,
    decode_json,
    trigger,
)
from trigflow_stripe import Stripe, StripeClient
from trigflow_stripe.source import EndpointId, Mode, handle, webhook
from trigflow_stripe.testing import FakeStripe

KEY = "sk_test_fake"
URL = "https://hooks.example.com"


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(KEY) as running:
        yield running


def app(fake: FakeStripe, *names: str, connect: bool = False) -> App:
    stripe = Stripe(base_url=fake.url)
    wanted = [getattr(stripe, name)(connect=connect) for name in names or ("price_created",)]

    async def job(payload: dict[str, Any]) -> None:
        return None

    return App(
        [trigger(*wanted, id="job")(job)],
        url=URL,
        store="memory:",
        register="off",
        connections={stripe: KEY},
    )


async def applied(opened: App) -> list[str]:
    """Apply, and return what was done; fails where a step did."""
    done = await opened.apply()
    assert not [one.error for one in done if one.error]
    return [one.step.action for one in done]


# --- registering


@pytest.mark.anyio
async def test_one_endpoint_listens_to_exactly_what_the_jobs_want(fake: FakeStripe) -> None:
    async with app(fake, "price_created", "invoice_paid") as opened:
        assert await applied(opened) == ["create"]
        (endpoint,) = fake.endpoints
        assert endpoint.url.startswith(f"{URL}/e/")
        assert set(endpoint.enabled_events) == {"price.created", "invoice.paid"}
        assert (endpoint.connect, endpoint.api_version) == (False, None)
        assert await applied(opened) == []


@pytest.mark.anyio
async def test_the_endpoint_of_connected_accounts_is_another_one(fake: FakeStripe) -> None:
    async with app(fake, connect=True) as opened:
        await applied(opened)
    assert [endpoint.connect for endpoint in fake.endpoints] == [True]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "edited", [{"disabled": True}, {"enabled_events": ("charge.failed", "price.created")}]
)
async def test_an_endpoint_that_was_edited_is_mended_and_keeps_its_secret(
    fake: FakeStripe, edited: dict[str, Any]
) -> None:
    async with app(fake) as opened:
        await applied(opened)
        (made,) = fake.endpoints
        fake.edit(made.id, **edited)
        assert await applied(opened) == ["update"]
        assert fake.endpoints == [made]


@pytest.mark.anyio
async def test_an_endpoint_whose_secret_was_never_heard_is_made_anew(fake: FakeStripe) -> None:
    fake.fail("POST", "webhook_endpoints$", 500, effective=True)
    async with app(fake) as opened:
        failed = await opened.apply()
        assert [one.error for one in failed if one.error]
        (deaf,) = fake.endpoints
        again = await opened.apply()
        assert not [one.error for one in again if one.error]
        (made,) = fake.endpoints
    assert made.id != deaf.id


@pytest.mark.anyio
async def test_a_deleted_endpoint_is_made_again_and_foreign_ones_are_left_alone(fake: FakeStripe) -> None:
    foreign = fake.add_endpoint("https://elsewhere.example/stripe", ["*"])
    async with app(fake) as opened:
        await applied(opened)
        fake.delete(fake.endpoints[-1].id)
        assert await applied(opened) in (["create"], ["recreate"])
    assert fake.endpoints[0] == foreign
    assert len(fake.endpoints) == 2


@pytest.mark.anyio
async def test_the_limit_of_endpoints_is_an_error_that_says_so(fake: FakeStripe) -> None:
    for number in range(16):
        fake.add_endpoint(f"https://elsewhere.example/{number}", ["*"])
    async with app(fake) as opened:
        (failed,) = await opened.apply()
    assert "at most 16" in failed.error
    assert len(fake.endpoints) == 16


@pytest.mark.anyio
async def test_no_secret_and_no_key_is_logged(fake: FakeStripe, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with app(fake) as opened:
        await applied(opened)
        fake.fail("*", "webhook_endpoints", 401, {"error": {"message": f"Invalid API Key provided: {KEY}"}})
        fake.delete(fake.endpoints[0].id)
        failed = await opened.apply()
    told = caplog.text + repr(failed)
    assert KEY not in told
    assert "whsec_" not in told


# --- credentials


@pytest.mark.anyio
async def test_a_key_is_checked_and_named_by_its_account(fake: FakeStripe) -> None:
    stripe = Stripe(base_url=fake.url)
    async with StripeClient(KEY, base_url=fake.url) as client:
        checked = await stripe.check(client)
    assert (checked.account, checked.label, checked.missing) == ("acct_1PgafTB7WZ01zgkW", "Acme", ())
    async with StripeClient("sk_test_bad", base_url=fake.url) as client:
        with pytest.raises(Unauthorized, match="STRIPE_API_KEY"):
            await stripe.check(client)


@pytest.mark.anyio
async def test_a_restricted_key_is_told_what_it_lacks(fake: FakeStripe) -> None:
    stripe = Stripe(base_url=fake.url)
    fake.forbid("GET", "account", "rak_account_read", times=1)
    fake.forbid("GET", "webhook_endpoints", "rak_webhook_read")
    fake.fail("GET", "events", 403)  # where Stripe names nothing, we do
    async with StripeClient(KEY, base_url=fake.url) as client:
        checked = await stripe.check(client)
    assert (checked.account, checked.label) == (None, "")
    assert checked.missing == ("rak_webhook_read", "events: read")


# --- what never arrived


def registration(*types: str, connect: bool = False) -> Registration[Mode, EndpointId]:
    return Registration(f"{URL}/e/m/t", Mode(connect=connect), Events(types), "", EndpointId("we_1"), "/e/m/")


async def recovered(
    fake: FakeStripe, since: datetime, *types: str, connect: bool = False, now: datetime | None = None
) -> list[Missed | Lost]:
    assert webhook.recover_hook is not None
    at = now or datetime.now(UTC)
    async with StripeClient(KEY, base_url=fake.url, clock=lambda: at) as client:
        found: AsyncIterator[Missed | Lost] = webhook.recover_hook(
            registration(*types, connect=connect), since, client
        )
        return [one async for one in found]


def ids(found: list[Missed | Lost]) -> list[str]:
    return [json.loads(one.body)["id"] for one in found if isinstance(one, Missed)]


def handled(missed: Missed) -> Event:
    request = Request("POST", URL, Headers.of([]), missed.body)
    delivery: Delivery[Mode, EndpointId] = Delivery(
        "dlv", request, datetime.now(UTC), decode_json(request), Mode(), None
    )
    (event,) = handle(delivery)
    assert isinstance(event, Event)
    return event


@pytest.mark.anyio
async def test_what_was_missed_is_handled_as_its_delivery_would_have_been(fake: FakeStripe) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    fake.emit(
        "price.updated", {"id": "p", "object": "price"}, id="evt_1", previous_attributes={"active": True}
    )
    (missed,) = await recovered(fake, start, "price.updated")
    assert isinstance(missed, Missed)
    event = handled(missed)
    assert (event.name, event.id, event.payload) == ("price.updated", "evt_1", {"id": "p", "object": "price"})
    assert event.context["previous_attributes"] == {"active": True}
    assert event.at == missed.at
    assert abs(missed.at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.anyio
async def test_events_that_stripe_counts_as_delivered_are_read_too(fake: FakeStripe) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    fake.emit("price.created", id="nobody_listened")
    fake.add_endpoint("https://h", ["price.created"])
    fake.lose()
    fake.emit("price.created", id="lost")
    fake.emit("price.deleted", id="not_ours")
    assert ids(await recovered(fake, start, "price.created")) == ["lost", "nobody_listened"]


names = sorted({one.name for _, one in Stripe.specifications()})


@given(st.lists(st.sampled_from(names), min_size=1, unique=True), st.integers(0, 250))
@settings(max_examples=10)
@pytest.mark.anyio
async def test_all_and_only_events_of_our_types_come_out_once(types: list[str], happened: int) -> None:
    with FakeStripe(KEY) as fake:
        start = datetime.now(UTC) - timedelta(minutes=1)
        expected: set[str] = set()
        for number in range(happened):
            type_ = names[number * 7 % len(names)]
            fake.emit(type_, {"id": "x", "object": "x"}, id=f"evt_{number}")
            expected |= {f"evt_{number}"} if type_ in types else set()
        found = ids(await recovered(fake, start, *types))
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.anyio
async def test_an_endpoint_that_listens_to_everything_is_read_whole(fake: FakeStripe) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    for number, type_ in enumerate(names):
        fake.emit(type_, {"id": "x", "object": "x"}, id=f"evt_{number}")
    everything = {f"evt_{number}" for number in range(275)}
    assert set(ids(await recovered(fake, start, *names))) == everything
    assert set(ids(await recovered(fake, start, "*"))) == everything


@pytest.mark.anyio
async def test_only_what_happened_since_is_read(fake: FakeStripe) -> None:
    fake.emit("price.created", id="before")
    fake.advance(timedelta(hours=2))
    fake.emit("price.created", id="after")
    since = datetime.now(UTC) + timedelta(hours=1)
    assert ids(await recovered(fake, since, "price.created")) == ["after"]


@pytest.mark.anyio
async def test_what_stripe_does_not_keep_any_more_is_said_to_be_lost(fake: FakeStripe) -> None:
    now = datetime.now(UTC)
    (lost,) = await recovered(fake, now - timedelta(days=31), "price.created", now=now)
    assert isinstance(lost, Lost)
    assert "30 days" in lost.because
    assert await recovered(fake, now - timedelta(days=29), "price.created", now=now) == []


@pytest.mark.anyio
async def test_events_of_connected_accounts_are_read_from_each_and_name_it(fake: FakeStripe) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    for name in ("acct_1", "acct_2"):
        fake.add_account(name)
        fake.emit("price.created", account=name, id=f"evt_{name}")
    fake.emit("price.created", id="evt_own")
    found = await recovered(fake, start, "price.created", connect=True)
    told = {handled(one).id: handled(one).context["account"] for one in found if isinstance(one, Missed)}
    assert told == {"evt_acct_1": "acct_1", "evt_acct_2": "acct_2"}
    assert ids(await recovered(fake, start, "price.created")) == ["evt_own"]
