"""What people are shown of bodies and payloads with marked fields."""

from __future__ import annotations

import pytest

from trigflow.core.marked import NOTHING, Marked, read_marks
from trigflow.runtime import views as v
from trigflow.runtime.sealing.sealed import Marks, Sealer
from trigflow.runtime.sealing.shown import Shown, shown_body, shown_payload
from trigflow.runtime.sealing.vault import Vault

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


class Kept:
    """What a store gives for any event."""

    def __init__(self, text: bytes | None) -> None:
        self.text = text

    async def payload(self, event_row: str) -> bytes | None:
        return self.text


def row(*, sealed: bool) -> v.DeliveryRow:
    return v.DeliveryRow(
        "d", "e", "shop", "s", 1, "accepted", "", 200, "POST", b"[]", None, 1, 1, sealed
    )  # fmt: skip


def event_row(*, sealed: bool) -> v.EventRow:
    return v.EventRow("e", "1", "charge", None, "s", "d", sealed)


@pytest.mark.anyio
async def test_without_an_app_what_is_sealed_stays_closed_and_what_is_open_is_shown() -> None:
    closed = Shown(Kept(b"\x80"), None)
    assert b"app is needed" in await closed.body(row(sealed=True), b"\x80", [event_row(sealed=True)])
    assert b"app is needed" in await closed.payload(row(sealed=True), event_row(sealed=True))
    opened = Shown(Kept(BODY), None)
    assert await opened.body(row(sealed=False), BODY, [event_row(sealed=False)]) == BODY
    assert await opened.payload(row(sealed=False), event_row(sealed=False)) == BODY


@pytest.mark.anyio
@pytest.mark.parametrize("sealed", [True, False])
async def test_what_is_no_longer_kept_is_no_question_of_the_key(sealed: bool) -> None:
    sealer = Sealer(Vault([Vault.new_key()]), Marks(()))
    shown = Shown(Kept(None), sealer)
    assert await shown.body(row(sealed=sealed), b"", [event_row(sealed=sealed)]) == b""
    assert b"TRIGFLOW_SECRET_KEY" not in await shown.payload(row(sealed=sealed), event_row(sealed=sealed))
