"""Fields that nobody may read but the job: where they are, and texts without them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import SetupError
from trigflow.core.filters import compile_filter
from trigflow.core.marked import Marked, Scrub, read_marks
from trigflow.core.triggers import Specification

HIDDEN = "[redacted]"
KEYS = ["a", "b", "c", "0", "x.y", "\\"]
SECRET = "s3cr3t-"  # the start of every marked text; it stands nowhere else


def marks(*paths: str) -> Marked:
    return read_marks(paths, where="event thing")


# A payload is made together with the paths of what is secret in it: an oracle that needs no walk.


@attrs.frozen
class Made:
    """A payload, its secrets, and a path to each."""

    payload: Any
    secrets: tuple[str, ...] = ()
    paths: tuple[tuple[str, ...], ...] = ()


def _object(parts: dict[str, Made]) -> Made:
    return Made(
        {key: part.payload for key, part in parts.items()},
        tuple(secret for part in parts.values() for secret in part.secrets),
        tuple((key, *path) for key, part in parts.items() for path in part.paths),
    )


def _array(parts: list[Made]) -> Made:
    return Made(
        [part.payload for part in parts],
        tuple(secret for part in parts for secret in part.secrets),
        tuple(path for part in parts for path in part.paths),
    )


secrets = st.text(st.sampled_from("abc'\"\\é\n "), max_size=12).map(
    lambda text: Made(f"{SECRET}{text}", (f"{SECRET}{text}",), ((),))
)
values: list[Any] = [None, True, 7, 1.5, "", "plain", [], {}]
plain = st.sampled_from(values).map(Made)
made = st.recursive(
    secrets | plain,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(_object)
        | st.lists(inner, max_size=3).map(_array)
    ),
    max_leaves=15,
)


def written(path: tuple[str, ...]) -> str:
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)


def marked_in(one: Made) -> Marked:
    return marks(*(written(path) for path in one.paths if path))


whole = made.filter(lambda one: () not in one.paths)


@given(whole)
def test_no_marked_value_is_left_and_the_payload_itself_is_not_changed(one: Made) -> None:
    before = copy.deepcopy(one.payload)
    shown = json.dumps(marked_in(one).hidden(one.payload))
    assert SECRET not in shown
    assert one.payload == before


@given(whole)
def test_a_blanked_payload_has_no_marked_value_either(one: Made) -> None:
    assert SECRET not in json.dumps(marked_in(one).blanked(one.payload))


@given(whole, st.text())
def test_texts_that_quote_marked_values_are_scrubbed(one: Made, more: str) -> None:
    scrub = marked_in(one).scrub(one.payload)
    for secret in one.secrets:
        for quoted in (
            secret, repr(secret), json.dumps(secret), f"{more}{secret}{more}", repr(json.dumps([secret])),
            repr(json.dumps({"a": secret}).encode()), json.dumps(json.dumps(secret)), repr([f"'{secret}\""]),
        ):  # fmt: skip
            assert SECRET not in scrub.text(f"no such customer: {quoted}")


def test_what_is_not_marked_stays_as_it_is() -> None:
    payload = {"customer": {"email": "ada@example.com", "id": 7}, "lines": [{"card": 1, "n": 2}, {"n": 3}]}
    assert marks("customer.email", "lines.card").hidden(payload) == {
        "customer": {"email": HIDDEN, "id": 7},
        "lines": [{"card": HIDDEN, "n": 2}, {"n": 3}],
    }


@pytest.mark.parametrize(
    ("path", "payload", "hidden"),
    [
        ("a", {"a": {"b": [1]}}, {"a": HIDDEN}),
        ("a", {"a": None}, {"a": HIDDEN}),
        ("a.b", {"a": "text"}, {"a": "text"}),
        ("a", [{"a": 1}, [{"a": 2}], 3], [{"a": HIDDEN}, [{"a": HIDDEN}], 3]),
        ("a.*", {"a": {"b": 1, "c": {"d": 2}}}, {"a": {"b": HIDDEN, "c": HIDDEN}}),
        ("a.*", {"a": [1, [2]]}, {"a": [HIDDEN, HIDDEN]}),
        ("a.*.c", {"a": [{"c": 1, "d": {"c": 2}}]}, {"a": [{"c": HIDDEN, "d": {"c": 2}}]}),
        ("*.b", {"x": {"b": 1}, "y": {"b": 2, "c": 3}}, {"x": {"b": HIDDEN}, "y": {"b": HIDDEN, "c": 3}}),
        ("a.1", {"a": ["x", "y"]}, {"a": ["x", HIDDEN]}),
        (r"a\.b", {"a.b": 1, "a": {"b": 2}}, {"a.b": HIDDEN, "a": {"b": 2}}),
    ],
)  # fmt: skip
def test_paths_mean(path: str, payload: object, hidden: object) -> None:
    assert marks(path).hidden(payload) == hidden


def test_arrays_nested_beyond_any_use_are_hidden_whole() -> None:
    deep: Any = [{"a": "ada@example.com"}]
    for _ in range(5_000):
        deep = [deep]
    assert HIDDEN in str(marks("a").hidden(deep))[:600]
    assert marks("a").scrub(deep).text("ada@example.com") == HIDDEN
    marks("a").blanked({"a": deep})


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "dots between"), (".a", "dots between"), ("a.", "dots between"), ("a..b", "dots between"),
        ("a\\", "dots between"), ("$.a", "start with the key"), ("/a/b", "start with the key"),
        ("a[0].b", "no brackets"), ("a[].b", "no brackets"), (7, "as text"),
    ],
)  # fmt: skip
def test_a_malformed_path_is_refused_when_it_is_declared(path: Any, says: str) -> None:
    with pytest.raises(SetupError, match=f"event thing, sensitive: .*{says}"):
        marks(path)


def test_one_text_instead_of_a_sequence_is_refused() -> None:
    with pytest.raises(SetupError, match="expected paths, got one text"):
        read_marks("a.b", where="event thing")


def test_paths_that_lead_nowhere_are_told_as_they_were_written() -> None:
    found = marks(r"a.x\.y", "b.c", "lines.card").absent([{"a": {"x.y": None}}, {"lines": [{}, {"card": 1}]}])
    assert found == ["b.c"]


# --- filter traces

EMAIL = "ada@example.com"
PAYLOAD: Mapping[str, Any] = {
    "type": "charge",
    "customer": {"email": EMAIL, "id": 7},
    "lines": [{"card": 4242424242424242, "n": 1}],
}


@pytest.mark.parametrize(
    "filter_",
    [
        {"customer": {"email": ["bob@example.com"]}},
        {"customer": {"email": [{"$not": [EMAIL]}]}},
        {"customer": {"email": [{"$anythingBut": [EMAIL]}]}},
        {"customer": [{"$not": {"email": [EMAIL]}}]},
        {"customer": ["x"]},
        {"$or": [{"customer": {"email": [{"$startsWith": "bob"}]}}, {"type": ["x"]}]},
        {"$not": {"customer": {"email": [EMAIL]}}},
        {"$path": {"customer.email": [{"$endsWith": ".org"}]}},
        {"$path": {"lines.0.card": [1]}},
        {"lines": {"card": [1]}},
        {"lines": [{"$any": {"card": [1]}}]},
        {"lines": [{"$all": {"card": [1]}}]},
        {"lines": [{"$size": 3}]},
    ],
)
def test_why_a_filter_did_not_match_never_shows_a_marked_value(filter_: dict[str, object]) -> None:
    mismatch = compile_filter(filter_, where="test").explain(PAYLOAD)
    assert mismatch is not None
    told = marks("customer.email", "lines.card").told(mismatch)
    assert EMAIL not in told
    assert "4242" not in told
    assert told.startswith(mismatch.path or "payload")


def test_why_a_filter_did_not_match_is_told_whole_where_nothing_is_marked() -> None:
    mismatch = compile_filter({"customer": {"id": [8]}}, where="test").explain(PAYLOAD)
    assert mismatch is not None
    assert marks("customer.email").told(mismatch) == "customer.id: expected one of [8], saw 7"


def test_a_short_value_is_replaced_only_where_it_stands_alone() -> None:
    scrub = Scrub.of(["42", 7, "", True, None])
    assert scrub.text("order 42 of 1420, task 7, True, None") == (
        f"order {HIDDEN} of 1420, task {HIDDEN}, True, None"
    )


def test_keys_inside_a_marked_object_are_values_where_they_are_no_plain_names() -> None:
    scrub = marks("by").scrub({"by": {"ada@example.com": 100_000, "city": "Ulm"}})
    assert scrub.text("ada@example.com city Ulm 100000") == f"{HIDDEN} city {HIDDEN} {HIDDEN}"


# --- specifications


@attrs.frozen
class Customer:
    email: str
    age: int
    vip: bool


@attrs.frozen
class Charge:
    id: str
    customer: Customer


@attrs.frozen
class Sample:
    text: bytes

    def read(self) -> bytes:
        return self.text


class Source:
    id = "source"

    def key_of(self, params: object) -> str:
        return ""


TEXT = b'{"id":"ch_1","customer":{"email":"ada@example.com","age":37,"vip":true}}'


def charge(*sensitive: str, properties: Any = None) -> Specification:
    return Specification(
        "charge", Source(), Charge, ("charge",), examples=lambda: {"one": Sample(TEXT)},
        properties=properties, marked=marks(*sensitive),
    )  # fmt: skip


def test_a_marked_field_that_no_example_has_is_refused() -> None:
    charge("customer.email", "id").check()
    with pytest.raises(SetupError, match=r"none of its examples has customer\.mail;"):
        charge("customer.email", "customer.mail").check()


def test_properties_never_see_a_marked_value() -> None:
    def properties(said: Charge) -> dict[str, str]:
        return {
            "id": said.id,
            "who": f"{said.customer.email.upper()} {said.customer.age} {said.customer.vip}",
        }

    assert charge(properties=properties).properties_of(TEXT)["who"] == "ADA@EXAMPLE.COM 37 True"
    assert charge("customer", properties=properties).properties_of(TEXT) == {
        "id": "ch_1",
        "who": f"{HIDDEN.upper()} 0 False",
    }


def test_a_payload_without_its_type_has_no_properties() -> None:
    def properties(_: Charge) -> dict[str, str]:
        return {"a": "b"}

    assert charge(properties=properties).properties_of(b'{"id":1}') == {}
    assert charge().properties_of(TEXT) == {}
