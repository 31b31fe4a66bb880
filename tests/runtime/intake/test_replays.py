"""Signed messages are taken once: what is remembered, for how long, and what is not."""

import hashlib
import hmac
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trigflow.core.errors import SetupError
from trigflow.core.http import Headers, Request
from trigflow.runtime.intake.replays import Replays, Standing
from trigflow.sources.once import Mark, marks_of, takes_once
from trigflow.sources.parts import BODY, header, json
from trigflow.sources.verify import Key, any_of, first_of, hmac_sha256, token

NOW = 1_700_000_000.0
TOLERANCE = 300.0
stamped = {"timestamp": header("X-Time"), "tolerance": timedelta(seconds=TOLERANCE)}
SLACKLIKE = hmac_sha256("X-Sig", over=(header("X-Time"), ".", BODY), once=True, **stamped)  # type: ignore[arg-type]
MAILGUN = hmac_sha256(
    json("signature.signature"),
    over=(json("signature.timestamp"), json("signature.token")),
    timestamp=json("signature.timestamp"),
    once=True,
)


def mail(word: str, at: int = int(NOW), key: bytes = b"k", said: str = "hello") -> Request:
    signature = hmac.new(key, f"{at}{word}".encode(), hashlib.sha256).hexdigest()
    signed = f'{{"timestamp":"{at}","token":"{word}","signature":"{signature}"}}'
    body = f'{{"signature":{signed},"event-data":"{said}"}}'
    return Request("POST", "https://h.example.com/", Headers(), body.encode())


@given(st.text("abcdef0123456789", min_size=1, max_size=50), st.integers(-300, 300))
def test_another_body_under_the_same_signed_token_is_a_replay(word: str, late: int) -> None:
    replays, first, second = Replays(), mail(word), mail(word, said="something else")
    for request in (first, second):
        MAILGUN.verify(request, [Key(b"k")], now=NOW + late)
    marks = marks_of(MAILGUN, first)
    assert replays.claim("ep", marks, now=NOW) is Standing.NEW
    replays.keep("ep", marks, now=NOW)
    assert replays.claim("ep", marks_of(MAILGUN, second), now=NOW + late) is Standing.KEPT
    assert replays.claim("another", marks_of(MAILGUN, second), now=NOW + late) is Standing.NEW


@given(st.integers(-300, 300))
def test_it_is_remembered_for_as_long_as_the_signature_is_accepted(sent: int) -> None:
    replays, request = Replays(), mail("t", at=int(NOW) + sent)
    MAILGUN.verify(request, [Key(b"k")], now=NOW)
    replays.claim("ep", marks_of(MAILGUN, request), now=NOW)
    replays.keep("ep", marks_of(MAILGUN, request), now=NOW)
    last = NOW + sent + TOLERANCE
    MAILGUN.verify(request, [Key(b"k")], now=last)
    assert replays.claim("ep", marks_of(MAILGUN, request), now=last) is Standing.KEPT


def test_the_same_second_with_another_token_is_no_replay() -> None:
    first, second = (marks_of(MAILGUN, mail(word)) for word in ("one", "two"))
    assert first[0].digest != second[0].digest


def test_whichever_of_several_verifiers_accepted_a_replay_is_seen() -> None:
    plain = token("X-Token")
    other = hmac_sha256("X-Other", over=(header("X-Time"), BODY), once=True, **stamped)  # type: ignore[arg-type]
    for both in (any_of(SLACKLIKE, other, plain), first_of(SLACKLIKE, other)):
        assert takes_once(both)
        request = Request("POST", "u", Headers.of({"X-Time": str(int(NOW))}), b"body")
        assert len(marks_of(both, request)) == 2
    assert not takes_once(any_of(plain))
    assert marks_of(any_of(plain, SLACKLIKE), Request("POST", "u", Headers(), b"")) == []


def test_once_needs_a_time() -> None:
    with pytest.raises(SetupError, match="timestamp="):
        hmac_sha256("X-Sig", once=True)


class ReplaysAgainstAModel(RuleBasedStateMachine):
    """Messages are claimed, kept or released while time goes on; beside them two plain sets."""

    def __init__(self) -> None:
        super().__init__()
        self.replays, self.now = Replays(), NOW
        self.claimed: dict[int, Mark] = {}
        self.kept: dict[int, float] = {}

    @rule(word=st.integers(0, 5), life=st.integers(1, 50))
    def claim(self, word: int, life: int) -> None:
        mark = Mark(bytes([word]), self.now + life)
        found = self.replays.claim("ep", [mark], now=self.now)
        if word in self.kept and self.now <= self.kept[word]:
            assert found is Standing.KEPT
        elif word in self.claimed:
            assert found is Standing.CLAIMED
        elif word not in self.kept or self.now > self.kept[word] + 1:
            assert found is Standing.NEW
        if found is Standing.NEW:
            self.claimed[word] = mark

    @precondition(lambda self: self.claimed)
    @rule(committed=st.booleans())
    def end(self, committed: bool) -> None:
        word, mark = self.claimed.popitem()
        if committed:
            self.replays.keep("ep", [mark], now=self.now)
            self.kept[word] = mark.until
        else:
            self.replays.release("ep", [mark])

    @rule(by=st.integers(0, 30))
    def wait(self, by: int) -> None:
        self.now += by

    @invariant()
    def it_holds_no_more_than_was_kept(self) -> None:
        assert len(self.replays) <= len(self.kept)


TestReplays = ReplaysAgainstAModel.TestCase


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    replays = Replays(most=10)
    marks = [Mark(str(number).encode(), NOW + 300) for number in range(25)]
    for mark in marks:
        replays.claim("ep", [mark], now=NOW)
        replays.keep("ep", [mark], now=NOW)
    assert len(replays) == 10
    assert replays.pushed_out == 15
    assert replays.claim("ep", marks[-1:], now=NOW) is Standing.KEPT
    late = Mark(b"late", NOW + 900)
    replays.claim("ep", [late], now=NOW + 600)
    replays.keep("ep", [late], now=NOW + 600)
    assert len(replays) == 1, "what has run out is let go of"
