"""Bodies made to cost much: answered as anything else, without being unpacked."""

import gzip
import tracemalloc
import zlib
from contextlib import suppress

import pytest

from tests.hostile.sent import Sent
from tests.hostile.targets import PARTS
from tests.hostile.zoo import KEY, KINDS, Heard, endpoints, zoo
from trigflow import App, Headers, Request, Response
from trigflow.core.errors import DecodeError, VerificationError
from trigflow.sources.decode import decode_json, json_or_form, no_body
from trigflow.sources.handshake import answer
from trigflow.sources.keys import Key

MB = 1024 * 1024
FORM = "application/x-www-form-urlencoded"
BOMBS: dict[str, bytes] = {
    "a form of 100,000 fields": b"&".join([b"payload=%7B%7D"] * 100_000),
    "a form of nothing": b"&" * 8 * MB,
    "escapes": b"a=" + b"%41" * MB,
    "half escapes": b"a=" + b"%" * MB,
    "a list in a list in a list": b"[" * 8 * MB,
    "an object in an object": b'{"a":' * MB,
    "many lists": b"[" + b"[]," * 300_000 + b"[]]",
    "many objects": b'{"value":[' + b"{}," * MB + b"{}]}",
    "a number of 5,000 digits": b'{"id":' + b"1" * 5_000 + b"}",
    "a number of a million digits": b'{"n":' + b"9" * MB + b"}",
    "an exponent": b'{"id":1e' + b"9" * 5_000 + b"}",
    "bad UTF-8": b'{"id":"' + b"\xff" * MB + b'"}',
    "surrogates": b'{"id":"' + b"\\ud800" * 100_000 + b'"}',
    "one key many times": b"{" + b'"id":"1",' * 500_000 + b'"id":"2"}',
    "zeros": b"\x00" * MB,
}


@pytest.fixture(params=sorted(BOMBS))
def bomb(request: pytest.FixtureRequest) -> bytes:
    return BOMBS[request.param]


@pytest.mark.parametrize("content_type", ["application/json", FORM])
def test_what_is_read_before_a_signature_is_checked_takes_no_more_memory_than_the_body_some_times(
    bomb: bytes, content_type: str
) -> None:
    request = Request("POST", "https://h.example.com/x", Headers.of({"content-type": content_type}), bomb)
    tracemalloc.start()
    try:
        for part in PARTS:
            part.values(request)
        for kind in KINDS.values():
            answer(kind.handshakes, request, keys=[Key(KEY)], pending=True, facts=kind.facts)
            with pytest.raises(VerificationError):
                kind.verify.verify(request, [Key(KEY)], now=0.0)
        assert tracemalloc.get_traced_memory()[1] < 16 * len(bomb) + 32 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("decoder", [decode_json, json_or_form("payload"), no_body])
@pytest.mark.parametrize("content_type", ["application/json", FORM])
def test_a_decoder_gives_a_payload_or_refuses(decoder: object, bomb: bytes, content_type: str) -> None:
    request = Request("POST", "u", Headers.of({"content-type": content_type}), bomb)
    assert callable(decoder)
    with suppress(DecodeError):  # nothing else, and no end of it
        _ = decoder(request).payload


async def send(app: App, name: str, sent: Sent) -> Response:
    token = (await endpoints(app))[name].rpartition("/")[2]
    return await app.opened.receive(token, Request(sent.method, sent.url, Headers(sent.headers), sent.body))


PACKED = {
    "gzip": gzip.compress(b'{"id":"1","more":"' + b"0" * 64 * MB + b'"}'),
    "deflate": zlib.compress(b"0" * 64 * MB),
    "br": b"\x5b\xff\xff\xff" + b"\x00" * 1000,
    "zstd": b"\x28\xb5\x2f\xfd" + b"\x00" * 1000,
}


@pytest.mark.anyio
@pytest.mark.parametrize("coding", sorted(PACKED))
async def test_a_packed_body_is_not_unpacked_even_if_it_is_genuine(coding: str) -> None:
    heard = Heard()
    async with zoo(heard) as app:
        sent = Sent(path="/e/x/y", body=PACKED[coding]).with_headers(content_encoding=coding)
        sent = KINDS["hub"].sign(sent, KEY, 0.0)
        tracemalloc.start()
        try:
            answered = await send(app, "hub", sent)
            assert tracemalloc.get_traced_memory()[1] < 16 * MB
        finally:
            tracemalloc.stop()
        assert (answered.status, answered.body) == (400, b"bad-json")
        assert not await app.opened.store.runs(limit=1)


@pytest.mark.anyio
async def test_every_source_answers_every_bomb_that_is_genuine(bomb: bytes) -> None:
    heard = Heard()
    async with zoo(heard) as app:
        now = app.opened.clock.now()
        for name in ("hub", "hashed", "token", "standard"):
            sent = KINDS[name].sign(Sent(body=bomb), KEY, now)
            assert (await send(app, name, sent)).status in {200, 400}
