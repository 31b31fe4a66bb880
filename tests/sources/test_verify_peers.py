"""Standard Webhooks, and what other people's libraries sign and accept."""

import base64
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import attrs
import pytest
import standardwebhooks
import stripe
from hypothesis import given, strategies as st

from trigflow.core.errors import VerificationError
from trigflow.core.http import Headers, Request
from trigflow.sources.parts import BODY, kv
from trigflow.sources.verify import Key, Verifier, hmac_sha256, standard_webhooks

NOW = 1_700_000_000.0
STRIPE = hmac_sha256(
    kv("Stripe-Signature", "v1"),
    over=(kv("Stripe-Signature", "t"), ".", BODY),
    timestamp=kv("Stripe-Signature", "t"),
)


def request(body: bytes = b'{"a":1}', headers: Sequence[tuple[str, str]] = ()) -> Request:
    return Request("POST", "https://hooks.example.com/in", Headers.of(headers), body)


def signed(verifier: Verifier, unsigned: Request, key: Key) -> Request:
    return attrs.evolve(unsigned, headers=Headers.of(list(verifier.sign(unsigned, key, now=NOW))))


def cause_of(verifier: Verifier, received: Request, keys: Sequence[Key]) -> str:
    with pytest.raises(VerificationError) as refused:
        verifier.verify(received, keys, now=NOW)
    return refused.value.cause


PUBLIC = b"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def test_a_public_key_is_never_an_hmac_secret() -> None:
    material = PUBLIC.removeprefix(b"whpk_")
    forged = signed(standard_webhooks(), request(), Key(b"whsec_" + material))
    assert cause_of(standard_webhooks(), forged, [Key(PUBLIC)]) == "unknown-algorithm"


def test_unknown_versions_are_skipped_and_alone_are_unknown() -> None:
    key = Key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    received = signed(standard_webhooks(), request(), key)
    value = received.headers.get("webhook-signature") or ""
    told = [pair for pair in received.headers if pair[0] != "webhook-signature"]

    def listed(text: str) -> Request:
        return request(headers=[*told, ("webhook-signature", text)])

    assert standard_webhooks().verify(listed(f"v2,zzz v1,AAAA {value}"), [key], now=NOW) == 0
    assert cause_of(standard_webhooks(), listed("v2,zzz"), [key]) == "unknown-algorithm"
    assert cause_of(standard_webhooks(), listed("zzz"), [key]) == "malformed-signature"
    assert cause_of(standard_webhooks(), listed("v1,zzz"), [key]) == "malformed-signature"
    assert cause_of(standard_webhooks(), listed(" ".join(["v1,zzz"] * 99)), [key]) == "malformed-signature"


@given(st.binary(min_size=24, max_size=64), st.text(max_size=40), st.integers(0, 4_000_000_000))
def test_the_standard_webhooks_library_signs_what_we_accept(secret: bytes, text: str, now: int) -> None:
    body = text.encode()
    key = b"whsec_" + base64.b64encode(secret)
    sent = datetime.fromtimestamp(now, UTC)
    made = standardwebhooks.Webhook(key.decode()).sign("msg_1", sent, text)
    headers = [("webhook-id", "msg_1"), ("webhook-timestamp", str(now)), ("webhook-signature", made)]
    assert standard_webhooks().verify(request(body, headers), [Key(key)], now=now) == 0
    elder = [(name.replace("webhook", "svix"), value) for name, value in headers]
    assert standard_webhooks().verify(request(body, elder), [Key(key)], now=now) == 0


def test_the_standard_webhooks_library_accepts_what_we_sign() -> None:
    key = Key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = dict(standard_webhooks().sign(request(), key, now=time.time()))
    standardwebhooks.Webhook(key.secret.decode()).verify(b'{"a":1}', made)


@given(st.text(max_size=40), st.integers(0, 4_000_000_000))
def test_the_stripe_library_signs_what_we_accept_and_the_reverse(text: str, now: int) -> None:
    made = stripe.WebhookSignature.generate_signature_header(payload=text, secret="whsec_x", timestamp=now)  # pyright: ignore[reportUnknownMemberType]
    key = Key(b"whsec_x")
    assert STRIPE.verify(request(text.encode(), [("Stripe-Signature", made)]), [key], now=now) == 0
    ours = dict(STRIPE.sign(request(text.encode()), key, now=now))["Stripe-Signature"]
    assert stripe.WebhookSignature.verify_header(text, ours, "whsec_x", tolerance=None)  # pyright: ignore[reportUnknownMemberType]
