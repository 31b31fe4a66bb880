"""JSON into annotations and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NotRequired, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import PayloadError, SetupError
from trigflow.core.payloads import Kept, decode_json_text, encode_json, return_structure, structure_into


@attrs.frozen
class AttrsUser:
    login: str
    id: int


@dataclasses.dataclass
class DataUser:
    login: str
    id: int


class TypedUser(TypedDict):
    login: str
    id: int
    more: NotRequired[str]


class StructUser(msgspec.Struct):
    login: str
    id: int


class PydanticUser(pydantic.BaseModel):
    login: str
    id: int


@attrs.frozen
class Team:
    name: str


KINDS = [AttrsUser, DataUser, TypedUser, StructUser, PydanticUser]


@pytest.mark.parametrize("kind", KINDS)
@given(login=st.text(), id_=st.integers(-(2**60), 2**60))
def test_every_kind_is_filled_and_fields_that_it_does_not_declare_are_ignored(
    kind: Any, login: str, id_: int
) -> None:
    made = structure_into(kind)(json.dumps({"login": login, "id": id_, "unknown": [1]}).encode())
    get: Callable[[str], Any] = made.__getitem__ if kind is TypedUser else lambda name: getattr(made, name)
    assert (get("login"), get("id")) == (login, id_)


@pytest.mark.parametrize("kind", [*KINDS, AttrsUser | Team])
@pytest.mark.parametrize("wrong", ['"7"', "7.5", "true", "null", "[]"])
def test_nothing_is_coerced_and_the_path_is_named(kind: Any, wrong: str) -> None:
    with pytest.raises(PayloadError) as caught:
        structure_into(kind)(f'{{"login": "ada", "id": {wrong}}}'.encode())
    assert caught.value.path.endswith("id")


def test_nested_paths_are_named() -> None:
    with pytest.raises(PayloadError) as caught:
        structure_into(list[AttrsUser])(b'[{"login": "a", "id": 1}, {"login": 2, "id": 1}]')
    assert caught.value.path == "$[1].login"
    with pytest.raises(PayloadError) as caught:
        structure_into(int)(b'"x"')
    assert caught.value.path == "$"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"a":}'])
def test_what_is_no_json_is_a_payload_error(text: bytes) -> None:
    with pytest.raises(PayloadError):
        structure_into(dict)(text)


def test_what_msgspec_cannot_say_goes_another_way() -> None:
    assert structure_into(AttrsUser | Team)(b'{"name": "core"}') == Team("core")
    assert structure_into(AttrsUser | Team)(b'{"login": "a", "id": 1}') == AttrsUser("a", 1)
    assert structure_into(list[PydanticUser])(b'[{"login": "a", "id": 1}]') == [PydanticUser(login="a", id=1)]
    with pytest.raises(PayloadError):
        structure_into(list[PydanticUser])(b'[{"login": "a", "id": "1"}]')


def test_a_float_may_be_a_whole_number() -> None:
    @attrs.frozen
    class Price:
        amount: float

    assert structure_into(Price | Team)(b'{"amount": 3}') == Price(3.0)


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


@pytest.mark.parametrize("annotation", [Plain, list[Plain], dict[str, list[Plain]]])
def test_what_nobody_can_fill_is_found_at_set_up(annotation: Any) -> None:
    with pytest.raises(SetupError, match="Plain"):
        structure_into(annotation)


@attrs.frozen
class Node:
    children: list[Node]


def test_a_type_may_hold_itself() -> None:
    assert structure_into(Node)(b'{"children": [{"children": []}]}') == Node([Node([])])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_what_json_can_say_comes_back_as_it_was(value: object) -> None:
    text = encode_json(value)
    assert json.loads(text) == value
    assert decode_json_text(text) == value
    assert Kept(text).decoded() == value
    assert structure_into(Any)(text) == value


circle: list[object] = []
circle.append(circle)


@pytest.mark.parametrize("value", [object(), {"a": {(1, 2): 3}}, "\ud800", circle, lambda: 1])
def test_what_it_cannot_say_is_a_payload_error(value: object) -> None:
    with pytest.raises(PayloadError, match="result"):
        encode_json(value)


def test_models_are_encoded() -> None:
    assert json.loads(encode_json([PydanticUser(login="a", id=1)])) == [{"login": "a", "id": 1}]


def test_results_follow_the_return_annotation_where_there_is_one() -> None:
    def typed() -> AttrsUser:
        raise NotImplementedError

    def nothing() -> None: ...
    def unresolvable() -> Missing: ...  # type: ignore[name-defined]  # noqa: F821 - what is tested
    def plain() -> Plain:
        raise NotImplementedError

    text = b'{"login": "a", "id": 1}'
    assert return_structure(typed)(text) == AttrsUser("a", 1)
    assert return_structure(typed)(text) == AttrsUser("a", 1)  # from memory
    for function in (nothing, unresolvable, plain, len):
        assert return_structure(function)(text) == {"login": "a", "id": 1}
