"""Stripe's signatures: its own package signs and we verify, we sign and its package verifies."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe
from hypothesis import given, strategies as st

from trigflow import Headers, Key, Request, VerificationError
from trigflow_stripe.source import webhook

BODY = (Path(__file__).parent / "vectors" / "signed_event.json").read_bytes()
SIGNED_AT = 1533204620
SECRET = "webhook_secret"
V1 = "2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7"
V0 = "63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
VECTOR = f"t={SIGNED_AT},v1={V1},v0={V0}"

secrets = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40).map(
    "whsec_{}".format
)
events: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1),
        "object": st.just("event"),
        "type": st.just("price.created"),
        "data": st.fixed_dictionaries({"object": st.dictionaries(st.text(), st.text() | st.integers())}),
    }
)


def text_of(event: dict[str, Any], indent: int | None, escaped: bool) -> bytes:
    return json.dumps(event, indent=indent, ensure_ascii=escaped).encode("utf-8", "replace")


bodies = st.builds(text_of, events, st.sampled_from([None, 2]), st.booleans())
moments = st.integers(1_000_000_000, 4_000_000_000)


def request(body: bytes, *signatures: str) -> Request:
    fields = [("content-type", "application/json"), *(("Stripe-Signature", one) for one in signatures)]
    return Request("POST", "https://hooks.example.com/e/x", Headers.of(fields), body)


def verify(asked: Request, *known: str, now: int) -> None:
    keys = [Key(secret.encode()) for secret in known]
    webhook.verify.verify(asked, keys, now=datetime.fromtimestamp(now, UTC).timestamp())


def refused(asked: Request, *known: str, now: int) -> str:
    with pytest.raises(VerificationError) as caught:
        verify(asked, *known, now=now)
    return caught.value.cause


def signed_by_stripe(body: bytes, secret: str, at: int) -> str:
    made: Any = stripe.WebhookSignature.generate_signature_header(  # pyright: ignore[reportUnknownMemberType] - untyped there
        payload=body.decode(), secret=secret, timestamp=at
    )
    return str(made)


@given(bodies, secrets, moments)
def test_what_the_official_package_signs_is_accepted(body: bytes, secret: str, at: int) -> None:
    verify(request(body, signed_by_stripe(body, secret, at)), secret, now=at)


@given(bodies, secrets)
def test_what_we_sign_is_accepted_by_the_official_package(body: bytes, secret: str) -> None:
    now = datetime.now(UTC)
    (signature,) = webhook.verify.sign(request(body), Key(secret.encode()), now=now.timestamp())
    assert signature[0].lower() == "stripe-signature"
    constructed: Any = stripe.Webhook.construct_event(body, signature[1], secret)  # pyright: ignore[reportUnknownMemberType] - untyped there
    assert constructed.type == "price.created"


@given(bodies, secrets, secrets, moments, st.binary(min_size=1, max_size=3))
def test_another_secret_or_body_is_refused(
    body: bytes, secret: str, other: str, at: int, more: bytes
) -> None:
    header = signed_by_stripe(body, secret, at)
    if other != secret:
        assert refused(request(body, header), other, now=at) == "bad-signature"
    assert refused(request(body + more, header), secret, now=at) == "bad-signature"


@given(bodies, st.lists(secrets, min_size=2, max_size=4, unique=True), moments, st.randoms())
def test_one_right_v1_among_several_is_enough_wherever_it_stands(
    body: bytes, rolled: list[str], at: int, random: Any
) -> None:
    items = [signed_by_stripe(body, secret, at).partition(",")[2] for secret in rolled]
    items = [*items, f"v0={V0}"]
    random.shuffle(items)
    asked = request(body, ",".join([f"t={at}", *items]))
    for secret in rolled:
        verify(asked, secret, now=at)
    verify(asked, "whsec_another", rolled[-1], now=at)


def test_the_published_vector_is_accepted_within_five_minutes() -> None:
    assert len(BODY) == 484
    for later in (0, 100, 300):
        verify(request(BODY, VECTOR), SECRET, now=SIGNED_AT + later)
    assert refused(request(BODY, VECTOR), SECRET, now=SIGNED_AT + 400) == "stale-timestamp"


@pytest.mark.parametrize(
    "header",
    [
        f"{VECTOR},v1=bad_signature",
        f"v1=bad_signature,{VECTOR}",
        f"v1={V1},t={SIGNED_AT}",
        f"t={SIGNED_AT}, v1={V1}",
    ],
)
def test_the_order_and_what_stands_beside_the_right_signature_do_not_matter(header: str) -> None:
    verify(request(BODY, header), SECRET, now=SIGNED_AT)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"t={SIGNED_AT}",
        f"v1={V1}",
        f"t={SIGNED_AT},v0={V1}",  # the decoy's scheme counts for nothing
        f"t={SIGNED_AT},v1={V0}",
        f"t={SIGNED_AT + 1},v1={V1}",
        f"t={SIGNED_AT},t={SIGNED_AT + 1},v1={V1}",
        f"t=²,v1={V1}",
        f"t={'1' * 5000},v1={V1}",
    ],
)
def test_everything_else_is_refused(header: str) -> None:
    refused(request(BODY, header), SECRET, now=SIGNED_AT)
    refused(request(BODY), SECRET, now=SIGNED_AT)


def test_the_tolerance_is_the_official_packages() -> None:
    assert timedelta(seconds=stripe.Webhook.DEFAULT_TOLERANCE) == timedelta(minutes=5)
