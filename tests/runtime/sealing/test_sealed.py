"""Bodies with marked fields: when they are sealed, and that nobody without a key can read them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import StoreUnusable
from trigflow.core.marked import Marked, read_marks
from trigflow.core.triggers import Specification
from trigflow.runtime import records as r
from trigflow.runtime.sealing.sealed import Marks, Sealer
from trigflow.runtime.sealing.vault import Vault

OLD, NEW = Vault.new_key(), Vault.new_key()
EMAIL = b"ada@example.com"
BODY = b'{"id":"1","customer":{"email":"ada@example.com"}}'


def marks(*paths: str) -> Marked:
    return read_marks(paths, where="event")


class Source:
    def __init__(self, id_: str) -> None:
        self.id = id_

    def key_of(self, params: object) -> str:
        return ""


def specification(source: str, name: str, *paths: str) -> Specification:
    return Specification(name, Source(source), dict, (name,), marked=marks(*paths))


KNOWN = Marks(
    [
        specification("shop", "charge", "customer.email"),
        specification("shop", "charge", "card"),
        specification("shop", "parcel"),
        specification("git", "push"),
    ]
)


def sealer(*keys: str) -> Sealer:
    return Sealer(Vault(keys), KNOWN)


@given(st.binary(max_size=300))
def test_what_is_sealed_is_opened_by_the_ring_alone_and_not_in_clear(text: bytes) -> None:
    sealed = sealer(OLD).seal(text)
    assert sealer(NEW, OLD).open(sealed) == text
    assert len(text) < 4 or text not in sealed
    with pytest.raises(StoreUnusable, match="TRIGFLOW_SECRET_KEY"):
        sealer(NEW).open(sealed)


@given(st.binary(max_size=100))
def test_bytes_that_nobody_sealed_are_a_known_error(text: bytes) -> None:
    with pytest.raises(StoreUnusable):
        sealer(OLD).open(text)


def test_sealing_costs_little_room() -> None:
    text = json.dumps([{"number": n, "state": "open", "title": "A title"} for n in range(200)]).encode()
    assert len(sealer(OLD).seal(text)) < len(text) / 3


@pytest.mark.parametrize(
    ("source", "events", "sealed"),
    [
        ("shop", ["charge"], True),
        ("shop", ["parcel"], False),
        ("shop", ["parcel", "charge"], True),
        ("shop", [], True),  # it was not understood, and might be a charge
        ("shop", ["refund"], True),  # an event that nobody declared
        ("git", ["push"], False),
        ("git", [], False),
        ("unknown", ["charge"], False),
    ],
)
def test_a_delivery_stays_open_only_if_all_that_it_brought_is_known_to_have_no_mark(
    source: str, events: list[str], sealed: bool
) -> None:
    assert KNOWN.must_seal(source, events) is sealed


def test_what_several_specifications_mark_of_one_event_is_marked() -> None:
    assert KNOWN.of("shop", "charge") == marks("customer.email", "card")
    assert KNOWN.of("shop", "refund") is None
    assert (KNOWN.in_source("shop"), KNOWN.in_source("git")) == (True, False)


def delivery(*events: r.NewEvent) -> r.NewDelivery:
    return r.NewDelivery("d", "e", "s", 1, "accepted", "", 200, "POST", b"[]", BODY, events=events)


def test_a_kept_delivery_has_its_body_and_all_of_its_payloads_sealed() -> None:
    own = r.NewEvent("1", "1", "charge", None, BODY, None, ())
    kept = sealer(OLD).kept(delivery(own, r.NewEvent("2", "2", "parcel", None, None, None, ())), "shop")
    assert EMAIL not in repr(kept).encode()
    assert (kept.sealed, sealer(OLD).open(kept.body)) == (True, BODY)
    first, second = kept.events
    assert (first.sealed, second.sealed, second.payload) == (True, True, None)
    assert first.payload is not None
    assert sealer(OLD).text(first.payload, sealed=True) == BODY
    assert sealer(OLD).text(BODY, sealed=False) == BODY


def test_a_delivery_that_needs_no_seal_is_kept_as_it_is() -> None:
    parcel = delivery(r.NewEvent("1", "1", "parcel", None, None, None, ()))
    assert sealer(OLD).kept(parcel, "shop") is parcel
    assert sealer(OLD).kept(parcel, "git") is parcel


def test_a_body_that_is_no_longer_kept_is_empty_whatever_the_key() -> None:
    assert sealer(OLD).text(b"", sealed=True) == b""
