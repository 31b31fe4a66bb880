"""The client against scripted answers: what it sends, and what it makes of refusals."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import example, given, strategies as st

from trigflow import ApiError, NotFound, RateLimited, Unauthorized, __version__
from trigflow_stripe.client import StripeClient
from trigflow_stripe.client.encoding import encoded
from trigflow_stripe.client.refusals import refusal
from trigflow_stripe.samples import Fixture
from trigflow_stripe.testing.forms import decoded

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "sk_test_averysecretkey"
PRICE: Any = json.loads(Fixture("price").read())
ENDPOINT: Any = {
    "id": "we_1", "object": "webhook_endpoint", "url": "https://h/e", "enabled_events": ["price.created"],
    "status": "enabled", "secret": "whsec_told_once",
}  # fmt: skip


class Scripted:
    """Answers from a list and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0)


def client(script: Callable[[httpx.Request], httpx.Response], **more: Any) -> StripeClient:
    return StripeClient(KEY, transport=httpx.MockTransport(script), clock=lambda: NOW, **more)


def refused(status: int, body: object, headers: Mapping[str, str] | None = None) -> Exception:
    return refusal("Stripe GET /v1/x", status, headers or {}, json.dumps(body).encode(), now=NOW)


def page(*items: Mapping[str, Any], has_more: bool = False) -> httpx.Response:
    return httpx.Response(200, json={"object": "list", "data": list(items), "has_more": has_more})


# --- requests


@pytest.mark.anyio
async def test_a_request_says_who_asks_and_for_which_version() -> None:
    script = Scripted(httpx.Response(200, json=PRICE), httpx.Response(200, json=PRICE))
    async with client(script, api_version="2026-10-28.endive") as stripe:
        price = await stripe.price("price_1")
        await stripe.price("price_1", account="acct_1")
    asked, connected = script.requests
    assert (asked.method, str(asked.url)) == ("GET", "https://api.stripe.com/v1/prices/price_1")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["stripe-version"] == "2026-10-28.endive"
    assert asked.headers["user-agent"] == f"trigflow/{__version__}"
    assert "idempotency-key" not in asked.headers
    assert "stripe-account" not in asked.headers
    assert connected.headers["stripe-account"] == "acct_1"
    assert (price.unit_amount, price.recurring and price.recurring.interval) == (2000, "month")


@pytest.mark.anyio
async def test_without_a_version_the_accounts_own_is_used() -> None:
    script = Scripted(httpx.Response(200, json=PRICE))
    async with client(script) as stripe:
        await stripe.price("price_1")
    assert "stripe-version" not in script.requests[0].headers


@pytest.mark.anyio
async def test_an_endpoint_is_made_by_a_form_with_a_key_of_its_own() -> None:
    script = Scripted(httpx.Response(200, json=ENDPOINT), httpx.Response(200, json=ENDPOINT))
    async with client(script) as stripe:
        made = await stripe.create_webhook_endpoint("https://h/e?a=1&b=2", ["a.b", "c"], connect=True)
        await stripe.create_webhook_endpoint("https://h/e", ["*"], idempotency_key="mine")
    first, second = script.requests
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(first.content.decode()) == [
        ("url", "https://h/e?a=1&b=2"), ("enabled_events[0]", "a.b"), ("enabled_events[1]", "c"),
        ("connect", "true"),
    ]  # fmt: skip
    assert ("connect", "false") not in parse_qsl(second.content.decode())
    assert second.headers["idempotency-key"] == "mine"
    assert first.headers["idempotency-key"] not in ("", "mine")
    assert made.secret == "whsec_told_once"
    assert "whsec_told_once" not in repr(made)


@pytest.mark.anyio
async def test_every_page_is_read_and_each_asks_for_what_follows_the_last() -> None:
    script = Scripted(page({"id": "evt_3"}, {"id": "evt_2"}, has_more=True), page({"id": "evt_1"}))
    since = datetime(2026, 1, 1, tzinfo=UTC)
    async with client(script) as stripe:
        found = [
            event["id"] async for event in stripe.events(since=since, types=["a", "b"], account="acct_1")
        ]
    assert found == ["evt_3", "evt_2", "evt_1"]
    queries = [dict(parse_qsl(asked.url.query.decode())) for asked in script.requests]
    asked = {"created[gte]": str(int(since.timestamp())), "types[0]": "a", "types[1]": "b", "limit": "100"}
    assert queries == [asked, asked | {"starting_after": "evt_2"}]
    assert {asked.headers["stripe-account"] for asked in script.requests} == {"acct_1"}


@pytest.mark.anyio
async def test_pages_that_go_in_a_circle_end_in_an_error() -> None:
    same = page({"id": "evt_1"}, has_more=True)
    script = Scripted(same, page({"id": "evt_1"}, has_more=True))
    async with client(script) as stripe:
        with pytest.raises(ApiError, match="circle"):
            assert [event async for event in stripe.events()]


@pytest.mark.parametrize("bad", ["", ".", ".."])
@pytest.mark.anyio
async def test_an_id_never_leaves_its_place_in_the_path(bad: str) -> None:
    script = Scripted(httpx.Response(200, json=PRICE))
    async with client(script) as stripe:
        with pytest.raises(ValueError, match="not the id"):
            await stripe.price(bad)
        await stripe.price("../accounts?x")
    assert script.requests[0].url.raw_path == b"/v1/prices/..%2Faccounts%3Fx"


# --- forms

texts = st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1)
values = st.recursive(
    st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(texts.filter(str.isalpha), inner, min_size=1),
    max_leaves=8,
)


@given(st.dictionaries(texts.filter(str.isalpha), values))
@example({"a": [{"b": ["1", "2"]}, "3"], "c": {"d": ""}})
def test_a_form_says_what_was_given(form: dict[str, Any]) -> None:
    assert decoded(encoded(form)) == form


def test_a_form_is_written_as_stripe_documents_it() -> None:
    told = {"a": None, "b": True, "c": 1, "d": "", "e": ["x", "y"], "f": {"g": {"h": "1 &"}}}
    assert encoded(told) == "b=true&c=1&d=&e[0]=x&e[1]=y&f[g][h]=1+%26"


@pytest.mark.parametrize("value", [b"x", object(), datetime(2026, 1, 1)])
def test_what_no_form_can_hold_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="field"):
        encoded({"field": value})


# --- refusals


def test_refusals_become_errors_that_say_what_to_do() -> None:
    missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such x"}}
    assert isinstance(refused(404, missing), NotFound)
    assert isinstance(refused(401, {"error": {"message": "Invalid API Key"}}), Unauthorized)
    assert isinstance(refused(403, {"error": {"message": "not allowed"}}), Unauthorized)
    bad = refused(400, {"error": {"message": "Invalid URL", "param": "url"}})
    assert isinstance(bad, ApiError)
    assert str(bad) == "Stripe GET /v1/x: 400 Invalid URL (parameter url)"


def test_a_limit_names_when_to_ask_again() -> None:
    error = {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": "too many"}}
    plain = refused(429, error, {"stripe-rate-limited-reason": "endpoint-rate"})
    assert isinstance(plain, RateLimited)
    assert timedelta() < plain.until - NOW <= timedelta(minutes=1)
    assert "endpoint-rate" in str(plain)
    asked = refused(429, error, {"retry-after": "120"})
    assert isinstance(asked, RateLimited)
    assert asked.until == NOW + timedelta(minutes=2)


@given(st.integers(300, 599), st.binary() | st.just(b'{"error": "invalid_grant"}'), st.text())
def test_any_answer_becomes_an_error(status: int, body: bytes, retry_after: str) -> None:
    made = refusal("Stripe GET /v1/x", status, {"retry-after": retry_after}, body, now=NOW)
    assert isinstance(made, ApiError | Unauthorized)
    if isinstance(made, RateLimited):
        assert NOW <= made.until <= NOW + timedelta(days=1)


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_no_error_shows_a_key(status: int) -> None:
    echoed = {"error": {"message": f"Invalid API Key provided: {KEY} whsec_abc rk_live_***1234"}}
    async with client(Scripted(httpx.Response(status, json=echoed))) as stripe:
        with pytest.raises((ApiError, Unauthorized)) as caught:
            await stripe.account()
        assert KEY not in repr(stripe)
    for part in ("averysecret", "whsec_abc", "1234"):
        assert part not in str(caught.value)


@pytest.mark.anyio
async def test_no_answer_is_an_error_of_status_0() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(broken) as stripe:
        with pytest.raises(ApiError, match="no answer") as caught:
            await stripe.account()
    assert caught.value.status == 0


@pytest.mark.parametrize("key", ["", "sk test", "sk_tést", "sk\n"])
def test_a_key_that_can_not_be_one_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="STRIPE_API_KEY") as caught:
        StripeClient(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["http://api.stripe.com", "https://u@h", "ftp://h", "https://h?x=1"])
def test_a_key_goes_nowhere_unencrypted(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        StripeClient(KEY, base_url=url)
