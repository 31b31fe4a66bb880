"""Handshakes are answered as providers expect, and refused where an answer would help someone else."""

import hashlib
import hmac
import json as stdlib_json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import Rejected, SetupError
from trigflow.core.http import Headers, Request
from trigflow.sources.handshake import (
    Answer,
    Capture,
    Handshake,
    Reply,
    answer,
    crc,
    echo,
    head_ok,
    header_echo,
    hub_challenge,
    hub_intent,
    options_origin,
    secret_in,
)
from trigflow.sources.parts import json, query
from trigflow.sources.verify import Key

ZOOM = crc(
    json("payload.plainToken"),
    field="encryptedToken",
    echo_field="plainToken",
    method="POST",
    when=((json("event"), "endpoint.url_validation"),),
    signed=True,
)
X = crc(query("crc_token"), field="response_token", prefix="sha256=", encoding="base64")
HANDSHAKES: dict[str, Handshake] = {
    "dropbox-challenge": echo(query("challenge")),
    "meta-hub.challenge": hub_challenge(),
    "websub-subscribe": hub_intent(),
    "websub-unknown-topic": hub_intent(),
    "msgraph-validationToken": echo(query("validationToken"), method="POST"),
    "asana-X-Hook-Secret": header_echo("X-Hook-Secret"),
    "zoom-url_validation": ZOOM,
    "x-crc": X,
    "trello-HEAD": head_ok(),
    "cloudevents-OPTIONS": options_origin("eventemitter.example.com"),
}
VECTORS: list[dict[str, Any]] = stdlib_json.loads(
    (Path(__file__).parent / "vectors" / "handshakes.json").read_text("utf-8")
)
KEY = Key(b"s3cr3t-for-tests")
NOTHING: Mapping[str, str] = {}


def asked(method: str, question: str = "", body: bytes = b"", **headers: str) -> Request:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, f"https://h.example.com/w?{question}", Headers.of(named), body, question)


def reply(
    handshake: Handshake,
    request: Request,
    *keys: Key,
    pending: bool = True,
    facts: Mapping[str, str] = NOTHING,
) -> Answer | None:
    return answer([handshake], request, keys=keys, pending=pending, facts=facts)


def refusal(
    handshake: Handshake,
    request: Request,
    *keys: Key,
    pending: bool = True,
    facts: Mapping[str, str] = NOTHING,
) -> Rejected:
    with pytest.raises(Rejected) as refused:
        reply(handshake, request, *keys, pending=pending, facts=facts)
    assert refused.value.cause == "bad-handshake"
    return refused.value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_documented_handshake_is_answered_as_documented(vector: dict[str, Any]) -> None:
    told, expected, context = vector["request"], vector["expect"], vector["context"]
    request = Request(
        told["method"],
        told["url"],
        Headers.of(told["headers"]),
        told["body"].encode(),
        told["url"].partition("?")[2],
    )
    keys = [Key(context["secret"].encode())] if "secret" in context else []
    facts = {name: value for name, value in context.items() if isinstance(value, str)}
    handshake = HANDSHAKES[vector["id"]]
    if expected["status"] != 200:
        assert refusal(handshake, request, *keys, facts=facts).status == expected["status"]
        return

    given = reply(handshake, request, *keys, facts=facts)
    assert given is not None
    sent = {name.lower(): value for name, value in given.response.headers}
    assert given.response.status == 200
    assert expected.get("headers", {}).items() <= sent.items()
    if "body" in expected:
        assert given.response.body == expected["body"].encode()
        assert (sent["content-type"], sent["x-content-type-options"]) == ("text/plain", "nosniff")
    if "json" in expected:
        assert stdlib_json.loads(given.response.body) == expected["json"]
    capture = expected.get("capture", {})
    if capture:
        secret = capture["secret"].encode() if "secret" in capture else None
        assert given.capture == Capture(secret, capture.get("lease_seconds"))
    else:
        assert given.capture is None


def test_a_delivery_is_no_handshake() -> None:
    delivery = asked("POST", body=b'{"event":"meeting.started"}')
    assert answer(list(HANDSHAKES.values()), delivery, keys=[KEY], pending=True, facts={}) is None
    assert reply(head_ok(), asked("GET")) is None


@pytest.mark.parametrize("handshake", [echo(query("challenge")), hub_challenge(), hub_intent()])
@given(st.text(min_size=1))
def test_an_echo_is_plain_and_opens_no_markup(handshake: Handshake, challenge: str) -> None:
    name = "challenge" if handshake.when == (query("challenge"),) else "hub.challenge"
    request = Request(
        "GET",
        "u",
        Headers(),
        query=_encoded({name: challenge, "hub.mode": "subscribe", "hub.topic": "t", "hub.verify_token": "v"}),
    )
    fine = len(challenge) <= 1024 and all(" " <= c <= "~" and c not in "<>&\"'" for c in challenge)
    if fine:
        given_answer = reply(handshake, request, facts={"topic": "t", "verify_token": "v"})
        assert given_answer is not None
        assert given_answer.response.body == challenge.encode()
        assert ("content-type", "text/plain") in given_answer.response.headers
        assert ("x-content-type-options", "nosniff") in given_answer.response.headers
    else:
        refusal(handshake, request, facts={"topic": "t", "verify_token": "v"})


def _encoded(values: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return urlencode(values, errors="surrogatepass")


@pytest.mark.parametrize(
    "challenge", ["a" * 1025, "%3Cscript%3E", "a&challenge=b", "", "%22", "%27", "a%0a", "%ff"]
)
def test_a_challenge_that_no_provider_sends_is_refused(challenge: str) -> None:
    refusal(echo(query("challenge")), asked("GET", f"challenge={challenge}"))


forged = st.one_of(
    st.just('{"for_user_id":"1"}'),
    st.just("v0:1700000000:{}"),
    st.just("a" * 257),
    st.just(""),
    st.text(min_size=1).filter(
        lambda text: not all(c.isascii() and (c.isalnum() or c in "_+/=.-") for c in text)
    ),
)


@given(forged)
def test_no_challenge_becomes_the_signature_of_a_delivery(token: str) -> None:
    refusal(X, asked("GET", _encoded({"crc_token": token})), KEY)
    body = stdlib_json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": token}}).encode()
    refusal(ZOOM, asked("POST", body=body), KEY)


@given(st.text("abcXYZ019_+/=.-", min_size=1, max_size=256), st.binary(min_size=1))
def test_a_challenge_is_signed_with_the_current_key(token: str, secret: bytes) -> None:
    body = stdlib_json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": token}}).encode()
    given_answer = reply(ZOOM, asked("POST", body=body), Key(secret), Key(b"previous"))
    assert given_answer is not None
    expected = hmac.new(secret, token.encode(), hashlib.sha256).hexdigest()
    assert stdlib_json.loads(given_answer.response.body) == {"plainToken": token, "encryptedToken": expected}


def test_a_signed_handshake_must_be_verified_before_it_is_answered() -> None:
    body = b'{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}'
    zoom = reply(ZOOM, asked("POST", body=body), KEY)
    x = reply(X, asked("GET", "crc_token=abc"), KEY)
    assert zoom is not None
    assert zoom.must_verify
    assert x is not None
    assert not x.must_verify


def test_without_a_key_a_challenge_is_refused() -> None:
    refusal(X, asked("GET", "crc_token=abc"))
    refusal(X, asked("GET", "crc_token=abc"), Key(b""))


SECRET = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"


def hook_secret(secret: str) -> Request:
    return asked("POST", X_Hook_Secret=secret)


def verification_token(secret: str) -> Request:
    return asked("POST", body=stdlib_json.dumps({"verification_token": secret}).encode())


@pytest.mark.parametrize(
    ("handshake", "request_of"),
    [
        (header_echo("X-Hook-Secret"), hook_secret),
        (secret_in(json("verification_token")), verification_token),
    ],
)
def test_a_secret_is_taken_once_and_only_while_pending(
    handshake: Handshake, request_of: Callable[[str], Request]
) -> None:
    first = reply(handshake, request_of(SECRET))
    assert first is not None
    assert first.capture == Capture(SECRET.encode())
    assert SECRET not in repr(first.capture)

    known = Key(SECRET.encode())
    again = reply(handshake, request_of(SECRET), known)
    assert again is not None
    assert again.capture is None
    refusal(handshake, request_of("another-secret-of-an-intruder"), known)
    refusal(handshake, request_of(SECRET), known, pending=False)
    refusal(handshake, request_of(SECRET), pending=False)
    refusal(handshake, request_of("short"))
    refusal(handshake, request_of("a" * 300))
    refusal(handshake, request_of("a secret with spaces in it"))


def test_a_handshake_for_pending_endpoints_is_refused_by_an_active_one() -> None:
    handshake = attrs.evolve(echo(query("challenge")), while_pending=True)
    assert reply(handshake, asked("GET", "challenge=1")) is not None
    refusal(handshake, asked("GET", "challenge=1"), pending=False)


def test_an_echoed_header_cannot_be_split() -> None:
    request = Request("POST", "u", Headers([(b"x-hook-secret", b"a" * 20 + b"\r\nset-cookie: a=b")]))
    refusal(header_echo("X-Hook-Secret"), request)
    refusal(
        header_echo("X-Hook-Secret"),
        attrs.evolve(request, headers=Headers([(b"x-hook-secret", b"a" * 20)] * 2)),
    )


@pytest.mark.parametrize("facts", [{"verify_token": "other"}, {"verify_token": ""}, {}])
def test_a_wrong_or_unknown_verify_token_is_refused(facts: dict[str, str]) -> None:
    question = "hub.mode=subscribe&hub.challenge=1&hub.verify_token="
    refusal(hub_challenge(), asked("GET", question + "vt"), facts=facts)
    refusal(hub_challenge(), asked("GET", question), facts=facts)
    refusal(hub_challenge(), asked("GET", "hub.mode=subscribe&hub.challenge=1"), facts=facts)


def test_a_hub_is_only_told_yes_to_what_was_asked_of_it() -> None:
    unsubscribe = asked("GET", "hub.mode=unsubscribe&hub.topic=t&hub.challenge=c")
    assert refusal(hub_intent(), unsubscribe, facts={"topic": "t"}).status == 404
    assert reply(hub_intent(), unsubscribe, facts={"topic": "t", "mode": "unsubscribe"}) is not None
    assert refusal(hub_intent(), asked("GET", "hub.mode=subscribe&hub.topic=&hub.challenge=c")).status == 404


@pytest.mark.parametrize("lease", ["-1", "0", "1.5", "²", "9" * 5000, "", "1&hub.lease_seconds=2"])
def test_a_lease_that_is_no_number_of_seconds_is_refused(lease: str) -> None:
    question = f"hub.mode=subscribe&hub.topic=t&hub.challenge=c&hub.lease_seconds={lease}"
    refusal(hub_intent(), asked("GET", question), facts={"topic": "t"})


def test_a_sender_is_granted_only_if_its_origin_is_allowed() -> None:
    handshake = options_origin("a.example")
    granted = reply(handshake, asked("OPTIONS", WebHook_Request_Origin="A.example"))
    assert granted is not None
    assert ("webhook-allowed-rate", "*") in granted.response.headers
    assert refusal(handshake, asked("OPTIONS", WebHook_Request_Origin="b.example")).status == 405
    assert reply(options_origin("*"), asked("OPTIONS", WebHook_Request_Origin="b.example")) is not None
    refusal(options_origin("*"), asked("OPTIONS", WebHook_Request_Origin="b.example\r\nx: y"))
    refusal(
        options_origin("*"), asked("OPTIONS", WebHook_Request_Origin="b.example", WebHook_Request_Rate="fast")
    )
    with pytest.raises(SetupError):
        options_origin()


def test_a_ping_can_be_answered_with_fixed_json() -> None:
    ping = Handshake("POST", Reply(fields=(("type", 1),)), when=((json("type"), "1"),), signed=True)
    given_answer = reply(ping, asked("POST", body=b'{"type":1}'))
    assert given_answer is not None
    assert (given_answer.response.body, given_answer.must_verify) == (b'{"type":1}', True)
    assert reply(ping, asked("POST", body=b'{"type":2}')) is None


NAMES = [b"x-hook-secret", b"webhook-request-origin", b"x"]
requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]),
    st.just("u"),
    st.builds(Headers, st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40)), max_size=2)),
    st.binary(max_size=60) | st.sampled_from([b"[" * 5000, b'{"event":"endpoint.url_validation"}']),
    st.text(max_size=40)
    | st.sampled_from(["hub.challenge=1&hub.mode=subscribe", "crc_token=%ff", "challenge"]),
)


def cause_of(handshake: Handshake, request: Request) -> str | None:
    try:
        reply(handshake, request, KEY, facts={"topic": "t", "verify_token": "v"})
    except Rejected as refused:
        return refused.cause
    return None


@given(st.sampled_from(sorted(HANDSHAKES)), requests)
def test_whatever_is_asked_is_answered_or_refused(name: str, request: Request) -> None:
    assert cause_of(HANDSHAKES[name], request) in {None, "bad-handshake"}
