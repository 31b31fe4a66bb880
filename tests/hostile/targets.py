"""What a fuzzer calls: each takes bytes and raises where something that must hold does not."""

from __future__ import annotations

import json as stdlib_json
import math
import re
from collections.abc import Callable
from typing import Any, Protocol

from tests.hostile.asking import filters
from tests.hostile.broken import Broken
from tests.hostile.choices import Choices
from tests.hostile.intake import NAMES, Intake
from tests.hostile.sent import Sent
from tests.hostile.tampering import ASKED, QUERIES, asked_by, body_of, sent_by
from tests.hostile.zoo import KEY, KINDS
from trigflow.core.errors import DecodeError, Rejected, VerificationError
from trigflow.core.http import Headers, Request
from trigflow.core.views import view_of
from trigflow.sources.decode import Decoder, decode_json, json_or_form, no_body
from trigflow.sources.derived import SORTED_FORM, either, unescaped
from trigflow.sources.handshake import answer
from trigflow.sources.keys import Key
from trigflow.sources.once import marks_of
from trigflow.sources.parts import BODY, METHOD, URL, Part, form, header, json, kv, query

NOW = 1_767_225_600.0  # what the zoo's clock says
PATH = "/e/test/token"
CAUSES = {
    "missing-signature", "bad-signature", "malformed-signature", "missing-timestamp",
    "malformed-timestamp", "stale-timestamp", "no-key", "unknown-algorithm",
}  # fmt: skip


class Target(Protocol):
    """One thing to fuzz."""

    def feed(self, given: bytes) -> str:
        """Do what the bytes say and tell in a word what came of it; raise where something does not hold."""
        ...

    def rest(self) -> None:
        """Let go of what was opened; `feed` opens it again."""
        ...


class Plain:
    """A target without anything to open."""

    def __init__(self, call: Callable[[Choices], str]) -> None:
        self._call = call

    def feed(self, given: bytes) -> str:
        return self._call(Choices(given))

    def rest(self) -> None:
        """Nothing is open."""


def request_of(sent: Sent) -> Request:
    query_text = sent.query.decode("latin-1")
    return Request(sent.method, sent.url, Headers(sent.headers), sent.body, query_text)


def verifiers(choices: Choices) -> str:
    """A verifier accepts what is genuine and refuses all else, with a cause that is known."""
    name = choices.pick(NAMES)
    kind = KINDS[name]
    sent, _ = sent_by(name, choices, PATH, NOW)
    request = request_of(sent)
    keys = [] if choices.chance(20) else [Key(b"older", NOW - 1), Key(KEY)]
    try:
        kind.verify.verify(request, keys, now=NOW)
    except VerificationError as error:
        if error.cause not in CAUSES:
            raise Broken(f"{name}: cause {error.cause}") from error
        if KEY.decode() in error.detail:
            raise Broken(f"{name}: the secret is in the error") from error
        return error.cause
    if not kind.genuine(sent, KEY, NOW):
        raise Broken(f"{name} accepted what is not genuine")
    if [mark.digest for mark in marks_of(kind.verify, request)] != [
        mark.digest for mark in marks_of(kind.verify, request_of(sent))
    ]:
        raise Broken(f"{name}: two marks of one message")
    return "accepted"


DECODERS: tuple[Decoder, ...] = (decode_json, json_or_form("payload"), no_body)
FORM_TYPE = b"application/x-www-form-urlencoded"
VIEWS = (view_of(None), view_of({}))


def decoders(choices: Choices) -> str:
    """A decoder gives what any JSON parser gives, or DecodeError; however little of it is looked at."""
    content_type = choices.pick((b"application/json", FORM_TYPE, b"\xff", FORM_TYPE + b"; charset=utf-8"))
    request = Request("POST", "u", Headers([(b"content-type", content_type)]), body_of(choices))
    decoder = choices.pick(DECODERS)
    glanced = _outcome(lambda: decoder(request).check())
    seen = _outcome(lambda: decoder(request).seen(choices.pick(VIEWS)))
    whole = _outcome(lambda: decoder(request).payload)
    if isinstance(whole, DecodeError):
        # A glance checks the grammar of numbers, not whether they can be kept.
        if glanced is None and "out of range" not in whole.detail:
            raise Broken(f"checked, but can't be read: {whole.detail}")
        return whole.cause
    if isinstance(glanced, DecodeError) or isinstance(seen, DecodeError):
        raise Broken("refused at a glance, but can be read")
    text = decoder(request).text
    if not _alike(whole, stdlib_json.loads(text.decode())):
        raise Broken("decoded to something else than JSON says")
    return "decoded"


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except DecodeError as error:
        return error


def _alike(ours: Any, theirs: Any) -> bool:
    """Compare decoded JSON; numbers that only differ in how they are kept are alike."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_alike(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_alike, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float | int) and not isinstance(theirs, bool):
        return math.isclose(ours, theirs, rel_tol=1e-12)
    return type(ours) is type(theirs) and bool(ours == theirs)


SAFE_TEXT = re.compile(rb"[ -~]{0,1024}")


def handshakes(choices: Choices) -> str:
    """A handshake is answered harmlessly, or refused; a secret is only taken while pending."""
    name = choices.pick(NAMES)
    kind = KINDS[name]
    if name in ASKED:
        sent = asked_by(name, choices, PATH, NOW)
    else:
        sent, _ = sent_by(name, choices, PATH, NOW)
    request = request_of(sent)
    keys = [Key(KEY)] if choices.chance(2) else []
    pending = choices.chance(2)
    try:
        hello = answer(kind.handshakes, request, keys=keys, pending=pending, facts=kind.facts)
    except Rejected as error:
        if error.cause != "bad-handshake" or not 400 <= error.status < 500:
            raise Broken(f"{name}: refused with {error.cause} {error.status}") from error
        return "refused"
    if hello is None:
        return "none"
    told = dict(hello.response.headers)
    if hello.response.body and "x-content-type-options" not in told:
        raise Broken(f"{name}: a browser may take the answer for something else")
    if not SAFE_TEXT.fullmatch(hello.response.body) or b"<" in hello.response.body:
        raise Broken(f"{name}: the answer holds what it must not")
    if any(not SAFE_TEXT.fullmatch(f"{field}{value}".encode()) for field, value in told.items()):
        raise Broken(f"{name}: an answered header holds what it must not")
    if hello.capture is not None and hello.capture.secret is not None and (keys or not pending):
        raise Broken(f"{name}: a secret was taken again")
    return "answered" if hello.capture is None else "captured"


PARTS: tuple[Part, ...] = (
    header("X-Hub-Signature"), query("hub.challenge"), query("a"), form("payload"), form("a"),
    kv("Stripe-Signature", "v1"), kv("Stripe-Signature", "t", separator=";"), json("id"), json("a"),
    json("value[*].clientState"), json("many[0].go"), json('a["b.c"][*]'), BODY, URL, METHOD, SORTED_FORM,
    unescaped(URL), either(json("id"), form("id"), header("X-Other")),
)  # fmt: skip


def parts(choices: Choices) -> str:
    """A part reads bytes, and never raises; content types are read whatever they are."""
    sent, _ = sent_by(choices.pick(NAMES), choices, PATH, NOW)
    if choices.chance(3):
        sent = sent.with_headers(content_type=FORM_TYPE)
    request = request_of(sent)
    for part in PARTS:
        found = part.values(request)
        if not all(isinstance(value, bytes) for value in found):
            raise Broken(f"{part} read something else than bytes")
    return "read"


class Mixed:
    """All targets in one process: the first byte of an input says which."""

    def __init__(self) -> None:
        self._targets = [make() for name, make in TARGETS.items() if name != "mixed"]

    def feed(self, given: bytes) -> str:
        which = given[0] if given else 0
        return self._targets[which % len(self._targets)].feed(given[1:])

    def rest(self) -> None:
        for target in self._targets:
            target.rest()


TARGETS: dict[str, Callable[[], Target]] = {
    "intake": Intake,
    "verifiers": lambda: Plain(verifiers),
    "decoders": lambda: Plain(decoders),
    "handshakes": lambda: Plain(handshakes),
    "parts": lambda: Plain(parts),
    "filters": lambda: Plain(filters),
    "mixed": Mixed,
}


def seeds() -> list[bytes]:
    """Inputs to begin with: every source, genuine and whole, and some longer ones."""
    plain = [bytes([number]) for number in range(len(NAMES))]
    plain += [bytes([0, number]) for number in range(len(NAMES))]  # for the mixed target
    asking = [bytes([number, 0, 6, 3, *range(12), at]) for number in range(len(NAMES)) for at in range(3)]
    return plain + asking + [bytes(len(QUERIES)), bytes(range(256))]
