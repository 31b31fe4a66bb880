"""Verifiers in general: what they sign they accept, and each way to be wrong has its cause."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import timedelta

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, strategies as st

from trigflow.core.errors import SetupError, VerificationError
from trigflow.core.http import Headers, Request
from trigflow.sources.keys import KeyEncoding
from trigflow.sources.parts import BODY, METHOD, URL, Part, header, json, kv, query
from trigflow.sources.schemes import Encoding
from trigflow.sources.timestamps import Unit
from trigflow.sources.verify import (
    SECRET,
    Key,
    Unsigned,
    Verifier,
    any_of,
    ecdsa_p256,
    ed25519,
    first_of,
    hashed,
    hmac_any,
    hmac_sha1,
    hmac_sha256,
    hmac_sha512,
    standard_webhooks,
    token,
)

NOW = 1_700_000_000.0
DER = serialization.Encoding.DER
KEY = Key(b"s3cr3t-for-tests")
GITHUB = hmac_sha256("X-Hub-Signature-256", prefix="sha256=")
STRIPE = hmac_sha256(
    kv("Stripe-Signature", "v1"),
    over=(kv("Stripe-Signature", "t"), ".", BODY),
    timestamp=kv("Stripe-Signature", "t"),
)


def request(body: bytes = b'{"a":1}', headers: Sequence[tuple[str, str]] = ()) -> Request:
    return Request("POST", "https://hooks.example.com/in?x=1", Headers.of(headers), body, "x=1")


def signed(verifier: Verifier, unsigned: Request, key: Key = KEY, now: float = NOW) -> Request:
    return attrs.evolve(unsigned, headers=Headers.of(list(verifier.sign(unsigned, key, now=now))))


def cause_of(verifier: Verifier, received: Request, keys: Sequence[Key] = (KEY,), now: float = NOW) -> str:
    with pytest.raises(VerificationError) as refused:
        verifier.verify(received, keys, now=now)
    return refused.value.cause


STAMPS: list[Part | None] = [None, header("X-Time"), kv("X-Sig", "t")]
PLACES: list[Part] = [header("X-Mac"), kv("X-Sig", "v1"), kv("X-Sig", "v1", separator=";")]
PIECES: list[Part | bytes | str] = [METHOD, URL, b".", "v0:"]
SECRETS: list[tuple[KeyEncoding, bytes]] = [
    ("utf-8", b"any text"),
    ("base64", b"c2VjcmV0LWtleQ=="),
    ("hex", b"00ff10"),
]
ENCODINGS: list[Encoding] = ["hex", "base64", "base64url"]
UNITS: list[Unit] = ["s", "ms", "rfc3339"]


@st.composite
def verifiers(draw: st.DrawFn) -> tuple[Verifier, Key]:
    """A verifier of any configuration whose signature covers the body, and a key for it."""
    stamp = draw(st.sampled_from(STAMPS))
    at = draw(st.sampled_from(PLACES))
    if stamp == kv("X-Sig", "t") and at == kv("X-Sig", "v1", separator=";"):
        stamp = kv("X-Sig", "t", separator=";")
    pieces: list[Part | bytes | str] = [*draw(st.lists(st.sampled_from(PIECES), max_size=3)), BODY]
    if stamp is not None:
        pieces.insert(draw(st.integers(0, len(pieces))), stamp)
    make = draw(st.sampled_from([hmac_sha1, hmac_sha256, hmac_sha512]))
    key_encoding, secret = draw(st.sampled_from(SECRETS))
    prefixed = draw(st.booleans())
    return make(
        at,
        over=pieces,
        prefix=draw(st.sampled_from(["", "v0=", "sha256="])),
        encoding=draw(st.sampled_from(ENCODINGS)),
        key_encoding=key_encoding,
        key_prefix="whsec_" if prefixed else "",
        timestamp=stamp,
        unit=draw(st.sampled_from(UNITS)),
    ), Key(b"whsec_" + secret if prefixed else secret)


@given(verifiers(), st.binary(max_size=50), st.integers(0, 4_000_000_000))
def test_what_a_verifier_signs_it_accepts_and_nothing_changed(
    made: tuple[Verifier, Key], body: bytes, now: int
) -> None:
    verifier, key = made
    received = signed(verifier, request(body), key, now)
    assert verifier.verify(received, [key], now=now) == 0
    # Another character at the end: for a URL before it, moving bytes would sign the same.
    assert cause_of(verifier, attrs.evolve(received, body=body + b"!"), [key], now) == "bad-signature"
    assert cause_of(verifier, received, [Key(key.secret[:-4] + b"0000")], now) in {"bad-signature", "no-key"}


@given(st.integers(0, 10**10), st.floats(-2000, 2000), st.sampled_from(UNITS))
def test_the_tolerance_holds_both_ways(sent: int, away: float, unit: Unit) -> None:
    verifier = hmac_sha256(
        "X-Mac",
        over=(header("X-Time"), BODY),
        timestamp=header("X-Time"),
        unit=unit,
    )
    received = signed(verifier, request(), now=sent)
    if abs(away) <= 300:
        assert verifier.verify(received, [KEY], now=sent + away) == 0
    elif abs(away) > 300.001:
        assert cause_of(verifier, received, now=sent + away) == "stale-timestamp"


def test_exactly_the_tolerance_is_near_enough() -> None:
    received = signed(STRIPE, request())
    for now in (NOW - 300, NOW + 300):
        assert STRIPE.verify(received, [KEY], now=now) == 0
    for now in (NOW - 301, NOW + 301):
        assert cause_of(STRIPE, received, now=now) == "stale-timestamp"


def test_a_key_is_valid_until_its_moment_and_never_when_empty() -> None:
    assert Key(b"a").is_valid(now=NOW)
    assert Key(b"a", valid_until=NOW).is_valid(now=NOW - 1)
    assert not Key(b"a", valid_until=NOW).is_valid(now=NOW)
    assert not Key(b"").is_valid(now=NOW)


@pytest.mark.parametrize(
    "stamp",
    [
        "1" * 5000,
        "²",
        "-1",
        "1e9",
        " 1700000000",
        "1700000000 ",
        "1700000000.0",
        "nan",
        "0x10",
        "1_700_000_000",
        "9" * 16,
    ],
)
def test_a_time_that_is_not_plain_digits_is_malformed(stamp: str) -> None:
    verifier = hmac_sha256("X-Mac", over=(header("X-Time"), BODY), timestamp=header("X-Time"))
    received = attrs.evolve(request(), headers=Headers([(b"x-mac", b"0" * 64), (b"x-time", stamp.encode())]))
    assert cause_of(verifier, received) == "malformed-timestamp"


@pytest.mark.parametrize(
    "stamp", ["2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T22:13:60Z"]
)
def test_a_time_that_is_not_rfc_3339_is_malformed(stamp: str) -> None:
    verifier = hmac_sha256("X-Mac", timestamp=header("X-Time"), unit="rfc3339")
    received = request(headers=[("X-Mac", "0" * 64), ("X-Time", stamp)])
    assert cause_of(verifier, received) == "malformed-timestamp"


def test_a_missing_time_is_told_apart_from_a_missing_signature() -> None:
    verifier = hmac_sha256("X-Mac", timestamp=header("X-Time"))
    assert cause_of(verifier, request(headers=[("X-Mac", "0" * 64)])) == "missing-timestamp"
    assert cause_of(verifier, request(headers=[("X-Time", "1700000000")])) == "missing-signature"


@pytest.mark.parametrize(
    "signature", ["0" * 64, "sha256=", "sha256=0", "sha256=" + "0" * 63, "sha1=" + "0" * 64]
)
def test_what_cannot_be_a_signature_is_malformed(signature: str) -> None:
    assert cause_of(GITHUB, request(headers=[("X-Hub-Signature-256", signature)])) == "malformed-signature"


def test_several_signatures_in_a_list_are_each_tried() -> None:
    received = signed(STRIPE, request())
    genuine = received.headers.get("Stripe-Signature")
    rotated = request(headers=[("Stripe-Signature", f"{genuine},v1={'0' * 64},v0=x")])
    assert STRIPE.verify(rotated, [Key(b"other"), KEY], now=NOW) == 1


def test_a_list_of_endless_signatures_is_refused() -> None:
    endless = "t=1700000000" + f",v1={'0' * 64}" * 100
    assert cause_of(STRIPE, request(headers=[("Stripe-Signature", endless)])) == "malformed-signature"


def test_base64url_is_read_with_and_without_padding() -> None:
    verifier = hmac_sha256("X-Mac", encoding="base64url")
    value = signed(verifier, request()).headers.get("X-Mac") or ""
    assert verifier.verify(request(headers=[("X-Mac", value)]), [KEY], now=NOW) == 0
    assert verifier.verify(request(headers=[("X-Mac", value.rstrip("="))]), [KEY], now=NOW) == 0
    assert cause_of(verifier, request(headers=[("X-Mac", value + "=")])) != "stale-timestamp"


def test_hex_in_upper_case_is_not_the_signature() -> None:
    value = (signed(GITHUB, request()).headers.get("X-Hub-Signature-256") or "").removeprefix("sha256=")
    received = request(headers=[("X-Hub-Signature-256", "sha256=" + value.upper())])
    assert cause_of(GITHUB, received) == "malformed-signature"


def test_a_fixed_key_replaces_the_endpoints_keys() -> None:
    fixed = hmac_sha256("X-Mac", key="fixed")
    called = hmac_sha256("X-Mac", key=lambda: "fixed")
    for verifier in fixed, called:
        assert not verifier.requires_key
        received = signed(verifier, request())
        assert verifier.verify(received, [], now=NOW) is None
        assert hmac_sha256("X-Mac").verify(received, [Key(b"fixed")], now=NOW) == 0
    assert cause_of(hmac_sha256("X-Mac", key=lambda: ""), signed(fixed, request())) == "no-key"


def test_an_algorithm_that_is_not_listed_is_unknown() -> None:
    verifier = hmac_any("X-Hub-Signature", algorithms=("sha256", "sha512"))
    weak = signed(hmac_any("X-Hub-Signature", algorithms=("sha1",)), request())
    assert cause_of(verifier, weak) == "unknown-algorithm"
    assert cause_of(verifier, request(headers=[("X-Hub-Signature", "md5=00")])) == "unknown-algorithm"
    assert cause_of(verifier, request(headers=[("X-Hub-Signature", "sha256")])) == "malformed-signature"


def test_a_genuine_weak_signature_does_not_stand_in_for_a_wrong_strong_one() -> None:
    strong, weak = hmac_sha256("X-New"), hmac_sha1("X-Old")
    both = [*strong.sign(request(), KEY, now=NOW), *weak.sign(request(), KEY, now=NOW)]
    wrong_strong = [("X-New", "0" * 64), *weak.sign(request(), KEY, now=NOW)]
    assert first_of(strong, weak).verify(request(headers=both), [KEY], now=NOW) == 0
    assert cause_of(first_of(strong, weak), request(headers=wrong_strong)) == "bad-signature"
    assert any_of(strong, weak).verify(request(headers=wrong_strong), [KEY], now=NOW) == 0
    assert first_of(strong, weak).verify(signed(weak, request()), [KEY], now=NOW) == 0
    assert cause_of(any_of(strong, weak), request()) == "missing-signature"


def test_every_place_must_hold_the_token() -> None:
    graph = token(json("value[*].clientState"))
    good, bad = b'{"clientState":"s3cr3t-for-tests"}', b'{"clientState":"other"}'
    assert graph.verify(request(b'{"value":[%s,%s]}' % (good, good)), [KEY], now=NOW) == 0
    assert cause_of(graph, request(b'{"value":[%s,%s]}' % (good, bad))) == "bad-signature"
    assert cause_of(graph, request(b'{"value":[%s,{}]}' % good)) == "missing-signature"
    assert cause_of(graph, request(b'{"value":[]}')) == "missing-signature"


def test_values_of_several_keys_do_not_add_up() -> None:
    graph = token(json("value[*].clientState"))
    body = b'{"value":[{"clientState":"a"},{"clientState":"b"}]}'
    assert cause_of(graph, request(body), [Key(b"a"), Key(b"b")]) == "bad-signature"


def test_a_bearer_token_is_read_behind_its_prefix() -> None:
    bearer = any_of(token("Authorization", prefix="Bearer "), token(query("access_token")))
    assert bearer.verify(signed(bearer, request()), [KEY], now=NOW) == 0
    received = attrs.evolve(request(), query="access_token=s3cr3t-for-tests")
    assert bearer.verify(received, [KEY], now=NOW) == 0
    assert cause_of(bearer, request(headers=[("Authorization", "s3cr3t-for-tests")])) == "bad-signature"


def test_unsigned_accepts_and_says_why() -> None:
    unsigned = Unsigned(because="the sender is a sensor")
    assert unsigned.verify(request(), [], now=NOW) is None  # type: ignore[func-returns-value]
    assert "the sender is a sensor" in unsigned.describes()
    assert not unsigned.requires_key


@pytest.mark.parametrize(
    "build",
    [
        lambda: Unsigned(because=" "),
        any_of,
        lambda: first_of(GITHUB, Unsigned(because="x")),
        lambda: hmac_sha256("X-Mac", key=""),
        lambda: hmac_sha256("X-Mac", key="?", key_encoding="base64"),
        lambda: hmac_sha256("not a header"),
        lambda: hmac_sha256("X-Mac", over=()),
        lambda: hmac_sha256("X-Mac", over=(SECRET, BODY)),
        lambda: hashed("X-Mac", over=(BODY,)),
        lambda: hmac_any("X-Mac", algorithms=("md5",)),
        lambda: hmac_sha256("X-Mac", timestamp=header("X-Time"), tolerance=timedelta(0)),
    ],
)
def test_a_verifier_that_would_be_worthless_cannot_be_built(build: object) -> None:
    assert callable(build)
    with pytest.raises(SetupError):
        build()


def test_no_text_holds_a_secret() -> None:
    verifier = hmac_sha256("X-Mac", key="sup3rs3cret")
    assert "sup3rs3cret" not in repr(verifier) + verifier.describes() + repr(Key(b"sup3rs3cret"))


def test_a_verifier_describes_itself_in_one_line() -> None:
    assert GITHUB.describes() == "HMAC-SHA256 over the body, header X-Hub-Signature-256"
    described: list[Verifier] = [
        STRIPE,
        standard_webhooks(),
        token("X-A"),
        first_of(GITHUB, STRIPE),
        hmac_any("X-A"),
    ]
    assert all("\n" not in verifier.describes() for verifier in described)


def test_a_signature_in_the_body_cannot_be_added_as_a_header() -> None:
    with pytest.raises(SetupError):
        hmac_sha256(json("signature")).sign(request(), KEY, now=NOW)


def test_signing_replaces_an_older_time_and_signature() -> None:
    old = signed(STRIPE, request(), now=NOW - 10_000)
    assert STRIPE.verify(signed(STRIPE, old), [KEY], now=NOW) == 0


def test_public_key_signatures_are_made_with_the_private_key() -> None:
    seed = Ed25519PrivateKey.generate()
    discord = ed25519("X-Sig", over=(header("X-Time"), BODY), timestamp=header("X-Time"))
    received = signed(discord, request(), Key(seed.private_bytes_raw().hex().encode()))
    assert discord.verify(received, [Key(seed.public_key().public_bytes_raw().hex().encode())], now=NOW) == 0

    private = ec.generate_private_key(ec.SECP256R1())
    der = private.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    spki = private.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    sendgrid = ecdsa_p256("X-Sig", over=(BODY,))
    assert (
        sendgrid.verify(signed(sendgrid, request(), Key(b64encode(der))), [Key(b64encode(spki))], now=NOW)
        == 0
    )
    assert (
        cause_of(sendgrid, signed(sendgrid, request(), Key(b64encode(der))), [Key(b64encode(der))])
        == "no-key"
    )
