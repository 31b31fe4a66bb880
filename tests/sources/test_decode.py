"""Decoders give a payload and its text, or a DecodeError that tells nothing of the body."""

import json as stdlib_json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import DecodeError
from trigflow.core.http import Headers, Request
from trigflow.core.views import view_of
from trigflow.sources.decode import decode_json, json_or_form, no_body

FORM_TYPE = Headers.of({"Content-Type": "application/x-www-form-urlencoded"})
payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def posted(body: bytes, headers: Headers | None = None) -> Request:
    return Request("POST", "https://h.example/in", headers or Headers(), body)


@given(payloads)
def test_json_is_read_and_its_text_is_the_body_itself(payload: Any) -> None:
    request = posted(stdlib_json.dumps(payload).encode())
    decoded = decode_json(request)
    assert decoded.payload == payload
    assert decoded.text is request.body
    assert json_or_form()(request).text is request.body


def test_a_form_holds_the_json_in_a_field() -> None:
    decoded = json_or_form("payload")(posted(b"x=1&payload=%7B%22yo%22%3Atrue%7D", FORM_TYPE))
    assert decoded.payload == {"yo": True}
    assert decoded.text == b'{"yo":true}'


@pytest.mark.parametrize("body", [b"", b"x=1", b"payload=1&payload=2"])
def test_a_form_without_exactly_one_such_field_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        json_or_form("payload")(posted(body, FORM_TYPE))
    assert refused.value.cause == "bad-form"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "empty-body"),
        (b" ", "bad-json"),
        (b'{"s3cr3t": tru', "bad-json"),
        (b'{"s3cr3t": 1e999}', "bad-json"),
        (b'{"s3cr3t": [1e999]}', "bad-json"),
        (b'"s3cr3t\xff"', "bad-json"),
        (b'{"s3cr3t": NaN}', "bad-json"),
        (b'{"s3cr3t": 1} {}', "bad-json"),
        (b"\xef\xbb\xbf{}", "bad-json"),
        (b"1" * 5_000, "bad-json"),
        (b'{"s3cr3t":' + b"-" + b"9" * 5_000 + b"}", "bad-json"),
        (b"[" * 100_000, "bad-json"),
        (b"[" * 100_000 + b"]" * 100_000, "bad-json"),
        (b'{"a":' * 100_000, "bad-json"),
        (b'"\\ud800"', "bad-json"),
    ],
)
def test_what_is_no_json_is_refused_without_a_word_of_it(body: bytes, cause: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_json(posted(body)).payload  # noqa: B018 - it raises
    assert refused.value.cause == cause
    assert "s3cr3t" not in str(refused.value)
    assert len(str(refused.value)) < 120
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(body: bytes, is_form: bool) -> None:
    for decode in decode_json, json_or_form():
        with suppress(DecodeError):
            decoded = decode(posted(body, FORM_TYPE if is_form else None))
            decoded.check()
            assert decoded.text
            assert stdlib_json.loads(decoded.text) is not decoded


@given(payloads, st.sampled_from([b"", b"\xff", b"}", b'"', b",", b"tru"]), st.data())
def test_what_is_passed_over_is_checked_too(payload: Any, broken: bytes, data: Any) -> None:
    text = stdlib_json.dumps({"seen": 1, "not": payload}, ensure_ascii=False).encode()
    at = data.draw(st.integers(0, len(text)))
    body = text[:at] + broken + text[at:]
    view = view_of({"seen": None})
    try:
        whole = stdlib_json.loads(body)
    except ValueError:
        for look in (lambda decoded: decoded.seen(view), lambda decoded: decoded.check()):
            with pytest.raises(DecodeError):
                look(decode_json(posted(body)))
    else:
        seen = decode_json(posted(body)).seen(view)
        assert seen == ({"seen": whole["seen"]} if isinstance(whole, dict) and "seen" in whole else seen)


def test_what_nobody_looks_at_is_not_decoded() -> None:
    decoded = decode_json(posted(b'{"seen":1,"not":1e999}'))
    assert decoded.seen(view_of({"seen": None})) == {"seen": 1}
    with pytest.raises(DecodeError):
        decoded.payload  # noqa: B018 - it raises


def test_no_body_reads_nothing() -> None:
    decoded = no_body(posted(b"\xff"))
    assert decoded.payload is None
    assert decoded.text == b"null"
