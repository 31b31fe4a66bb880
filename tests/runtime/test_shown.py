"""What people are shown of bodies and payloads with marked fields."""

from __future__ import annotations

import pytest

from trigflow.core.marked import NOTHING, Marked, read_marks
from trigflow.runtime.shown import shown_body, shown_payload

BODY = b'{"id":"1","customer":{"email":"ada@example.com"}}'
HIDDEN = b'{"id":"1","customer":{"email":"[redacted]"}}'


def marks(*paths: str) -> Marked:
    return read_marks(paths, where="event")


CHARGE = marks("customer.email")


@pytest.mark.parametrize("sealed", [True, False])
def test_a_body_that_is_the_payload_is_shown_without_the_marked_values(sealed: bool) -> None:
    assert shown_body(BODY, [(BODY, CHARGE)], sealed=sealed) == HIDDEN
    assert shown_body(BODY, [(BODY, CHARGE), (b"{}", NOTHING)], sealed=sealed) == HIDDEN
    assert shown_payload(BODY, CHARGE, sealed=sealed) == HIDDEN


@pytest.mark.parametrize(
    "payloads",
    [
        [],  # it was not understood
        [(b'{"email":"ada@example.com"}', marks("email"))],  # the payload is a part of the body
        [(BODY, None)],  # an event that nobody declares any more
        [(BODY, CHARGE), (BODY, None)],
    ],
)
def test_a_sealed_body_is_hidden_whole_where_nobody_knows_what_is_marked(
    payloads: list[tuple[bytes, Marked | None]],
) -> None:
    assert shown_body(BODY, payloads, sealed=True) == b"[redacted]"


def test_a_sealed_payload_of_an_unknown_event_is_hidden_whole() -> None:
    assert shown_payload(BODY, None, sealed=True) == b'"[redacted]"'
    assert shown_payload(b"no json", CHARGE, sealed=True) == b'"[redacted]"'


def test_what_has_no_marks_is_shown_as_it_is() -> None:
    assert shown_body(b"no json", [], sealed=False) == b"no json"
    assert shown_body(BODY, [(BODY, NOTHING), (b"1", None)], sealed=False) == BODY
    assert shown_payload(BODY, None, sealed=False) == BODY
    assert shown_payload(BODY, NOTHING, sealed=True) == BODY
