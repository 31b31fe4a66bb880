"""What a hostile sender does: odd bodies, odd headers, and changes to what was genuine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from tests.hostile.choices import Choices
from tests.hostile.sent import Sent
from tests.hostile.zoo import KEY, KINDS, Kind

LARGE = 64 * 1024
METHODS = ("POST", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "post", "")
GOOD: Sequence[bytes] = (
    b'{"id":"1","go":1,"who":"abc"}',
    b'{"many":[{"go":2,"who":"a"},{"go":3},4,null]}',
    b"{}",
    b"[]",
    b'"text"',
    b"null",
    b'{"id":"2","event":"endpoint.url_validation","payload":{"plainToken":"abc"}}',
    b'{"challenge":"abc","id":"3"}',
    b'{"id":"4","value":[{"clientState":"x"}],"1e3":1e3,"big":123456789012345678901234567890}',
)
BAD: Sequence[bytes] = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"id":"\xed\xa0\x80"}',
    b'{"id":"\\ud800"}',
    b'{"\\ud800":1,"id":"1"}',
    b'{"id":"5","skipped":"\xff"}',
    b'{"id":"6","skipped":tru}',
    b'{"id":"7"} trailing',
    b'{"id":"8","id":"9"}',
    b'{"id":"\\u0000"}',
    b'\xef\xbb\xbf{"id":"1"}',
    b"\x1f\x8b\x08\x00" + b"\x00" * 20,
    b"NaN",
    b'{"id":"10","n":1e99999}',
    b'{"id":"11","n":' + b"1" * 5000 + b"}",
    b'{"id":"12","n":' + b"[" * 200 + b"]" * 200 + b"}",
    b"[" * 5000,
    b'{"a":' * 3000,
    b"a=1&" * 2000,
    b"payload=%7B%22id%22%3A%221%22%7D",
    b"payload=%7B&payload=%7B",
    b"payload=%FF%ZZ%",
    b"&" * 5000,
)
NAMES: Sequence[bytes] = (
    b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"authorization",
    b"x-hub-signature-256", b"x-hub-signature", b"stripe-signature", b"x-slack-signature",
    b"x-slack-request-timestamp", b"webhook-signature", b"webhook-id", b"webhook-timestamp",
    b"svix-signature", b"x-new", b"x-old", b"x-signature-ed25519", b"x-signature-timestamp",
    b"x-zm-signature", b"x-zm-request-timestamp", b"x-twilio-signature", b"x-hook-secret",
    b"x-hubspot-signature-v3", b"x-hubspot-request-timestamp", b"x-hubspot-signature",
    b"x-zendesk-webhook-signature", b"x-zendesk-webhook-signature-timestamp",
    b"webhook-request-origin", b"webhook-request-rate", b"expect", b"x-other", b"", b"\xff", b"a b",
)  # fmt: skip
VALUES: Sequence[bytes] = (
    b"", b"0", b"-1", b"1e3", b"\xc2\xb2", b"1" * 5000, b"\xff" * 40, b"v" * LARGE, b" ", b"\r\nx: y",
    b"application/x-www-form-urlencoded", b"application/json; charset=\xff", b"gzip", b"deflate", b"br",
    b"chunked", b"100-continue", b"sha256=", b"sha256=" + b"0" * 64, b"sha999=" + b"0" * 64,
    b"t=1,v1=2", b"t=,v1=,t=", b"v1=" * 3000, b"v1," + b"A" * 43 + b"=", b"v1, " * 2000,
    b"2026-01-01T00:00:00Z", b"0000-00-00T00:00:00Z", b"0001-01-01T00:00:00+23:59", b"1767225600",
    b"999999999999999", b"Bearer ", b"a" * 40, b"<script>", b"sender.example.com", b"*", b"None",
)  # fmt: skip
QUERIES: Sequence[bytes] = (
    b"", b"challenge=abc", b"validationToken=abc%20def", b"validationToken=%3Cscript%3E",
    b"crc_token=abc", b'crc_token={"id":"1"}', b"crc_token=" + b"a" * 300,
    b"hub.mode=subscribe&hub.challenge=ab&hub.verify_token=not-a-secret-but-private",
    b"hub.mode=subscribe&hub.challenge=ab&hub.topic=https://example.com/feed&hub.lease_seconds=60",
    b"hub.mode=subscribe&hub.challenge=ab&hub.topic=https://example.com/feed&hub.lease_seconds=" + b"9" * 50,
    b"hub.challenge=" + b"a" * 2000, b"hub.challenge=a&hub.challenge=b", b"verification_token=" + b"b" * 32,
    b"bodySHA256=00", b"bodySHA256", b"=&=&&", b"%", b"%f0%9f", b"\xff=\xfe", b"a=1&" * 4000, b"q" * 20_000,
)  # fmt: skip


# What providers ask to see whether an endpoint is ours: method, query, a header, body.
ASKED: dict[str, tuple[str, bytes, tuple[bytes, bytes], bytes]] = {
    "hub": ("HEAD", b"", (b"a", b"b"), b""),
    "slack": ("POST", b"", (b"a", b"b"), b'{"challenge":"abc"}'),
    "hubspot": ("OPTIONS", b"", (b"webhook-request-origin", b"sender.example.com"), b""),
    "graph": ("POST", b"validationToken=abc%20def", (b"a", b"b"), b""),
    "websub": (
        "GET", b"hub.mode=subscribe&hub.challenge=ab&hub.topic=https://example.com/feed&hub.lease_seconds=60",
        (b"a", b"b"), b"",
    ),
    "rotating": (
        "GET", b"hub.mode=subscribe&hub.challenge=ab&hub.verify_token=not-a-secret-but-private",
        (b"a", b"b"), b"",
    ),
    "zoom": (
        "POST", b"", (b"a", b"b"), b'{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}',
    ),
    "x": ("GET", b"crc_token=abc", (b"a", b"b"), b""),
    "asana": ("POST", b"", (b"x-hook-secret", KEY), b""),
    "notion": ("POST", b"", (b"a", b"b"), b'{"verification_token":"%s"}' % KEY),
}  # fmt: skip


def asked_by(name: str, choices: Choices, path: str, now: float) -> Sent:
    """Make a handshake as the provider would, signed or not, or one that was changed."""
    method, query, field, body = ASKED[name]
    sent = Sent(method, path, query, (field,), body)
    if choices.chance(2):
        sent = KINDS[name].sign(sent, KEY, now)
    return _tampered(sent, choices) if choices.chance(2) else sent


def body_of(choices: Choices) -> bytes:
    """Make a body: good, bad, or any bytes."""
    kind = choices.number(3)
    if kind == 0:
        return choices.pick(GOOD)
    if kind == 1:
        return choices.pick(BAD)
    if kind == 2:
        return b'{"id":"' + choices.some(40) + b'","more":' + choices.some(200) + b"}"
    return choices.some(400)


def changed(text: bytes, choices: Choices) -> bytes:
    """Change some bytes: turn a bit, cut, double, put something in."""
    how = choices.number(4)
    at = choices.number(max(len(text) - 1, 0)) if text else 0
    if how == 0 and text:
        return text[:at] + bytes([text[at] ^ (1 << choices.number(7))]) + text[at + 1 :]
    if how == 1:
        return text[:at]
    if how == 2:
        return text[:at] + choices.some(8) + text[at:]
    if how == 3:
        return text + text
    return text.swapcase()


def _header_changed(sent: Sent, choices: Choices) -> Sent:
    if not sent.headers:
        return sent
    at = choices.number(len(sent.headers) - 1)
    name, value = sent.headers[at]
    headers = list(sent.headers)
    headers[at] = (name, changed(value, choices))
    return attrs.evolve(sent, headers=tuple(headers))


def _header_added(sent: Sent, choices: Choices) -> Sent:
    field = (choices.pick(NAMES), choices.pick(VALUES) if choices.chance(2) else choices.some(60))
    before = choices.chance(2)
    return attrs.evolve(sent, headers=(field, *sent.headers) if before else (*sent.headers, field))


def _header_repeated(sent: Sent, choices: Choices) -> Sent:
    return attrs.evolve(sent, headers=(*sent.headers, choices.pick(sent.headers or ((b"a", b"b"),))))


def _header_removed(sent: Sent, choices: Choices) -> Sent:
    at = choices.number(max(len(sent.headers) - 1, 0))
    return attrs.evolve(sent, headers=tuple(f for n, f in enumerate(sent.headers) if n != at))


def _body_changed(sent: Sent, choices: Choices) -> Sent:
    return attrs.evolve(sent, body=changed(sent.body, choices))


def _body_replaced(sent: Sent, choices: Choices) -> Sent:
    return attrs.evolve(sent, body=body_of(choices))


def _method(sent: Sent, choices: Choices) -> Sent:
    return attrs.evolve(sent, method=choices.pick(METHODS))


def _query(sent: Sent, choices: Choices) -> Sent:
    more = choices.pick(QUERIES) if choices.chance(2) else choices.some(60)
    return attrs.evolve(sent, query=sent.query + b"&" * bool(sent.query) + more)


def _flood(sent: Sent, choices: Choices) -> Sent:
    field = (choices.pick(NAMES), choices.pick(VALUES))
    return attrs.evolve(sent, headers=(*sent.headers, *[field] * choices.number(400)))


TAMPERINGS: Sequence[Callable[[Sent, Choices], Sent]] = (
    _body_changed, _header_changed, _header_added, _header_repeated, _header_removed, _body_replaced,
    _method, _query, _flood,
)  # fmt: skip


def sent_by(name: str, choices: Choices, path: str, now: float) -> tuple[Sent, bool]:
    """Make a request; tell whether it is as the provider would send it, or changed, stale or invented."""
    kind: Kind = KINDS[name]
    if name in ASKED and choices.chance(3):
        return asked_by(name, choices, path, now), False
    sent = Sent(path=path, body=body_of(choices), query=choices.pick(QUERIES) if choices.chance(4) else b"")
    if choices.chance(3):
        sent = sent.with_headers(content_type=choices.pick(("application/json", "text/plain", "\u00e4")))
    how = choices.number(3)
    if how == 3:
        return _tampered(sent, choices), False
    away = choices.pick((0, 300, -300, 301, -301, 10**9, -(10**9))) if choices.chance(4) else 0
    right = not choices.chance(8)
    sent = kind.sign(sent, KEY if right else b"another key", max(now + away, 0.0))
    if how:
        return _tampered(sent, choices), False
    return sent, right and abs(away) <= 300


def _tampered(sent: Sent, choices: Choices) -> Sent:
    for _ in range(1 + choices.number(2)):
        sent = choices.pick(TAMPERINGS)(sent, choices)
    return sent
