"""Signatures that providers published, or that independent code computed, under each provider's verifier."""

import json as stdlib_json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import Rejected, VerificationError
from trigflow.core.http import Headers, Request
from trigflow.sources.derived import SORTED_FORM, either, unescaped
from trigflow.sources.parts import BODY, METHOD, URL, form, header, json, kv
from trigflow.sources.verify import (
    SECRET,
    Key,
    Verifier,
    ecdsa_p256,
    ed25519,
    hashed,
    hmac_any,
    hmac_sha1,
    hmac_sha256,
    standard_webhooks,
    token,
)


class ContentfulString:
    """What Contentful signs: a part as an integration would write its own."""

    def values(self, request: Request) -> Sequence[bytes]:
        named = request.headers.get("x-contentful-signed-headers") or ""
        pairs = ";".join(f"{name}:{request.headers.get(name) or ''}" for name in sorted(named.split(",")))
        path, _, query_string = "/".join(request.url.split("/")[3:]).partition("?")
        # Contentful encodes the query twice.
        if query_string:
            path += quote("?" + quote(query_string, safe=""), safe="?")
        return [
            "\n".join([request.method, f"/{path}", pairs, request.body.decode("utf-8", "replace")]).encode()
        ]


SLACK_TIME = header("X-Slack-Request-Timestamp")
STRIPE_TIME = kv("Stripe-Signature", "t")
CALENDLY_TIME = kv("Calendly-Webhook-Signature", "t")
ZOOM_TIME = header("x-zm-request-timestamp")
HUBSPOT_TIME = header("X-HubSpot-Request-Timestamp")
ZENDESK_TIME = header("X-Zendesk-Webhook-Signature-Timestamp")
SENDGRID_TIME = header("X-Twilio-Email-Event-Webhook-Timestamp")
MAILGUN_TIME = json("signature.timestamp")

VERIFIERS: dict[str, Verifier] = {
    "github": hmac_sha256("X-Hub-Signature-256", prefix="sha256="),
    "github_sha1": hmac_sha1("X-Hub-Signature", prefix="sha1="),
    "meta": hmac_sha256("X-Hub-Signature-256", prefix="sha256="),
    "notion": hmac_sha256("X-Notion-Signature", prefix="sha256="),
    "bitbucket": hmac_sha256("X-Hub-Signature", prefix="sha256="),
    "intercom": hmac_sha1("X-Hub-Signature", prefix="sha1="),
    "websub": hmac_any("X-Hub-Signature"),
    "dropbox": hmac_sha256("X-Dropbox-Signature"),
    "asana": hmac_sha256("X-Hook-Signature"),
    "gitea": hmac_sha256("X-Gitea-Signature", over=(either(form("payload"), BODY),)),
    "line": hmac_sha256("X-Line-Signature", encoding="base64"),
    "x": hmac_sha256("x-twitter-webhooks-signature", prefix="sha256=", encoding="base64"),
    "airtable": hmac_sha256("X-Airtable-Content-MAC", prefix="hmac-sha256=", key_encoding="base64"),
    "square": hmac_sha256("x-square-hmacsha256-signature", over=(URL, BODY), encoding="base64"),
    "trello": hmac_sha1("X-Trello-Webhook", over=(BODY, URL), encoding="base64"),
    "twilio": hmac_sha1("X-Twilio-Signature", over=(URL, SORTED_FORM), encoding="base64"),
    "stripe": hmac_sha256(
        kv("Stripe-Signature", "v1"), over=(STRIPE_TIME, b".", BODY), timestamp=STRIPE_TIME
    ),
    "calendly": hmac_sha256(
        kv("Calendly-Webhook-Signature", "v1"),
        over=(CALENDLY_TIME, ".", BODY),
        timestamp=CALENDLY_TIME,
        tolerance=timedelta(minutes=3),
    ),
    "slack": hmac_sha256(
        "X-Slack-Signature", prefix="v0=", over=("v0:", SLACK_TIME, ":", BODY), timestamp=SLACK_TIME
    ),
    "zoom": hmac_sha256(
        "x-zm-signature", prefix="v0=", over=("v0:", ZOOM_TIME, ":", BODY), timestamp=ZOOM_TIME
    ),
    "zendesk": hmac_sha256(
        "X-Zendesk-Webhook-Signature",
        over=(ZENDESK_TIME, BODY),
        encoding="base64",
        timestamp=ZENDESK_TIME,
        unit="rfc3339",
    ),
    "hubspot_v3": hmac_sha256(
        "X-HubSpot-Signature-v3",
        over=(METHOD, unescaped(URL), BODY, HUBSPOT_TIME),
        encoding="base64",
        timestamp=HUBSPOT_TIME,
        unit="ms",
    ),
    "hubspot_v2": hashed("X-HubSpot-Signature", over=(SECRET, METHOD, URL, BODY)),
    "hubspot_v1": hashed("X-HubSpot-Signature", over=(SECRET, BODY)),
    "contentful": hmac_sha256(
        "x-contentful-signature",
        over=(ContentfulString(),),
        timestamp=header("x-contentful-timestamp"),
        unit="ms",
    ),
    "mailgun": hmac_sha256(
        json("signature.signature"),
        over=(MAILGUN_TIME, json("signature.token")),
        timestamp=MAILGUN_TIME,
    ),
    "sendgrid": ecdsa_p256(
        "X-Twilio-Email-Event-Webhook-Signature", over=(SENDGRID_TIME, BODY), timestamp=SENDGRID_TIME
    ),
    "discord": ed25519("X-Signature-Ed25519", over=(header("X-Signature-Timestamp"), BODY)),
    "standard_webhooks": standard_webhooks(),
    "telegram": token("X-Telegram-Bot-Api-Secret-Token"),
    "google_channel": token("X-Goog-Channel-Token"),
    "msgraph": token(json("value[*].clientState")),
}
BODY_NOT_COVERED = {"telegram", "google_channel", "msgraph", "mailgun"}


@attrs.frozen
class Vector:
    id: str
    verifier: Verifier
    name: str
    request: Request
    key: Key
    now: float
    signature_header: str | None
    timed: bool
    valid: bool

    def verify(
        self, request: Request | None = None, *, key: Key | None = None, now: float | None = None
    ) -> int | None:
        keys = [self.key if key is None else key]
        return self.verifier.verify(request or self.request, keys, now=self.now if now is None else now)

    def with_header(self, change: Callable[[str], Sequence[str]]) -> Request:
        """The request with its signature header changed into none, one or several."""
        name = self.signature_header
        assert name is not None
        value = self.request.headers.get(name)
        assert value is not None
        others = [pair for pair in self.request.headers if pair[0] != name.lower()]
        return attrs.evolve(
            self.request, headers=Headers.of([*others, *((name, changed) for changed in change(value))])
        )


def read(entry: dict[str, Any]) -> Vector:
    body = bytes.fromhex(entry["body_hex"]) if "body_hex" in entry else entry["body"].encode()
    query = entry["url"].partition("?")[2]
    request = Request(entry["method"], entry["url"], Headers.of(entry["headers"]), body, query)
    return Vector(
        entry["id"],
        VERIFIERS[entry["verifier"]],
        entry["verifier"],
        request,
        Key(entry["key"].encode()),
        entry["now"] or 0.0,
        entry["signature_header"],
        entry["now"] is not None,
        entry.get("valid", True),
    )


ENTRIES = stdlib_json.loads((Path(__file__).parent / "vectors" / "signatures.json").read_text("utf-8"))
VECTORS = [read(entry) for entry in ENTRIES]
VALID = [vector for vector in VECTORS if vector.valid]
IN_HEADER = [vector for vector in VALID if vector.signature_header]
COVERED = [vector for vector in VALID if vector.name not in BODY_NOT_COVERED]
TIMED = [vector for vector in VALID if vector.timed]


def always(flipped: str, _: str) -> list[str]:
    return [flipped]


def of_each(vectors: Sequence[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector.id)


def cause_of(vector: Vector, request: Request | None = None, **changed: Any) -> str:
    with pytest.raises(VerificationError) as refused:
        vector.verify(request, **changed)
    secret = vector.key.secret.decode()
    assert secret not in refused.value.detail
    return refused.value.cause


@of_each(VALID)
def test_a_published_signature_is_accepted(vector: Vector) -> None:
    assert vector.verify() == 0


@of_each([vector for vector in VECTORS if not vector.valid])
def test_a_signature_published_as_wrong_is_refused(vector: Vector) -> None:
    assert cause_of(vector) in {"bad-signature", "malformed-timestamp"}


@of_each(VALID)
def test_the_index_of_the_key_that_matched_is_told(vector: Vector) -> None:
    other = attrs.evolve(vector.key, secret=vector.key.secret, valid_until=vector.now)
    assert vector.verifier.verify(vector.request, [other, vector.key], now=vector.now) == 1


@of_each(COVERED)
def test_one_flipped_bit_anywhere_in_the_body_is_refused(vector: Vector) -> None:
    body = vector.request.body
    for place in range(len(body)):
        # The lowest bit: the case bit of an escape, %2b for %2B, would leave a form the same.
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        cause_of(vector, attrs.evolve(vector.request, body=changed))


@of_each(COVERED)
def test_a_longer_or_shorter_body_is_refused(vector: Vector) -> None:
    body = vector.request.body
    cause_of(vector, attrs.evolve(vector.request, body=body + b"x"))
    if body:
        cause_of(vector, attrs.evolve(vector.request, body=body[:-1]))


@of_each(
    [vector for vector in VALID if vector.name in {"square", "trello", "twilio", "hubspot_v2", "hubspot_v3"}]
)
def test_a_signed_url_cannot_be_exchanged(vector: Vector) -> None:
    cause_of(vector, attrs.evolve(vector.request, url=vector.request.url + "x"))
    cause_of(vector, attrs.evolve(vector.request, url=vector.request.url.replace("://", "://x.")))


@of_each([vector for vector in IN_HEADER if vector.name not in {"telegram", "google_channel"}])
def test_one_flipped_bit_anywhere_in_the_signature_is_refused(vector: Vector) -> None:
    # Of several signatures in one header only the decisive ones matter: here, one that is not v1.
    signature = vector.request.headers.get(vector.signature_header or "") or ""
    end = signature.index(",v0=") if ",v0=" in signature else len(signature)
    for place in range(end):
        flipped = signature[:place] + chr(ord(signature[place]) ^ 1) + signature[place + 1 :]
        cause_of(vector, vector.with_header(partial(always, flipped)))


@of_each(IN_HEADER)
def test_a_truncated_or_recased_signature_is_refused(vector: Vector) -> None:
    def cut(value: str) -> list[str]:
        return [value[: value.index(",v0=") - 1] if ",v0=" in value else value[:-1]]

    cause_of(vector, vector.with_header(cut))
    cause_of(vector, vector.with_header(lambda value: [value.swapcase()]))


@of_each(IN_HEADER)
def test_no_signature_or_an_empty_one_is_missing(vector: Vector) -> None:
    assert cause_of(vector, vector.with_header(lambda _: [])) == "missing-signature"
    assert cause_of(vector, vector.with_header(lambda _: [""])) == "missing-signature"


@of_each(IN_HEADER)
def test_a_doubled_signature_header_is_refused(vector: Vector) -> None:
    cause = cause_of(vector, vector.with_header(lambda value: [value, value]))
    assert cause in {"malformed-signature", "malformed-timestamp"}


@of_each(VALID)
def test_another_key_is_refused(vector: Vector) -> None:
    # A public key that is no point on its curve, or a secret in no base64, is no key at all.
    assert cause_of(vector, key=Key(vector.key.secret[:-6] + b"AAAAAA")) in {"bad-signature", "no-key"}


@of_each(VALID)
def test_no_key_an_empty_key_or_an_expired_key_accepts_nothing(vector: Vector) -> None:
    for keys in [], [Key(b"")], [attrs.evolve(vector.key, valid_until=vector.now)]:
        with pytest.raises(VerificationError) as refused:
            vector.verifier.verify(vector.request, keys, now=vector.now)
        assert refused.value.cause == "no-key"


@of_each(TIMED)
def test_a_genuine_request_that_is_too_old_or_too_new_is_stale(vector: Vector) -> None:
    for away in (-301, 301):
        assert cause_of(vector, now=vector.now + away) == "stale-timestamp"


junk = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"",
            b"=",
            b",",
            b"t=",
            b"v1,",
            b"sha256=",
            b"sha256=\xff",
            b"1" * 5000,
            "²".encode(),
            b" ",
            b"t=1,t=2",
        ]
    ),
    st.sampled_from(
        [b"9" * 15, b"0001-01-01T00:00:00+23:59", b"2021-13-01T00:00:00Z", b"-1", b"1e9", b"nan"]
    ),
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"[" * 5000,
            b"1" * 5000,
            b"{}",
            b'{"value":[]}',
            b'{"value":[{}]}',
            b"payload=%",
            b"\xff",
            b"{",
        ]
    ),
)


@given(st.sampled_from(VALID), st.data())
def test_whatever_arrives_is_accepted_or_refused_and_nothing_else(
    vector: Vector, data: st.DataObject
) -> None:
    kept = [(name, value) for name, value in vector.request.headers.raw if data.draw(st.booleans())]
    changed = [(name, data.draw(junk)) for name, _ in vector.request.headers.raw if data.draw(st.booleans())]
    form_type = [(b"content-type", b"application/x-www-form-urlencoded")] if data.draw(st.booleans()) else []
    request = attrs.evolve(
        vector.request,
        headers=Headers([*kept, *changed, *form_type]),
        body=data.draw(bodies | st.just(vector.request.body)),
        url=data.draw(st.text(max_size=30) | st.just(vector.request.url)),
    )
    keys = [Key(data.draw(st.binary(max_size=40))), vector.key]
    with suppress(Rejected):
        vector.verify(request)
    with suppress(Rejected):
        vector.verifier.verify(request, keys, now=vector.now)
