"""Filters against odd payloads, and odd filters: refused when declared, or answered for any payload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.core.filter_strategies import NUMBERS, TEXTS, holds
from tests.hostile.broken import Broken
from tests.hostile.choices import Choices
from tests.hostile.tampering import body_of
from trigflow.core.errors import SetupError
from trigflow.core.filters import compile_filter
from trigflow.core.matching import Index

KEYS = ("a", "b", "id", "many", "go")
OPERATORS = (
    "$exists", "$isNull", "$in", "$nin", "$anythingBut", "$not", "$gt", "$gte", "$lt", "$lte", "$between",
    "$startsWith", "$endsWith", "$contains", "$ignoreCaseEquals", "$regex", "$glob", "$includes", "$size",
    "$all", "$any", "$or", "$and", "$path", "$unknown", "",
)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, 2**70, float("inf"), float("nan"), "", "a", "abc", "^a", "[0-9]+$",
    "a*", "\ud800", "\u00c4", "$.many", "many",
)  # fmt: skip
TYPED: dict[str, Sequence[Any]] = {
    "$exists": (True, False), "$isNull": (True, False), "$gt": NUMBERS, "$gte": NUMBERS, "$lt": NUMBERS,
    "$lte": NUMBERS, "$between": ([0, 1], [-1, 2**53 + 1], [1.0, 1.5]), "$startsWith": TEXTS[1:],
    "$endsWith": TEXTS[1:], "$contains": TEXTS[1:], "$ignoreCaseEquals": TEXTS,
    "$regex": ("^foo", "o+$", "[0-9]", "a|b"), "$glob": ("foo*", "*.png", "?", "*o?"),
    "$includes": (*TEXTS, *NUMBERS, True, None), "$size": (0, 1, 2),
    "$in": (["a", "1"], [1, 2], [None, True]),
    "$nin": (["a", "1"], [1, 2], [None]), "$anythingBut": ("a", 1, ["a", "b"]), "$not": ("a", 1, ["foo"]),
}  # fmt: skip


def filters(choices: Choices) -> str:
    """Refused when declared, or answered for any payload, as the model says, and explained alike."""
    valid = choices.chance(2)
    written = _filter(choices, 3) if valid else _odd_filter(choices)
    try:
        matcher = compile_filter(written, where="fuzz")
    except SetupError as error:
        if valid:
            raise Broken(f"a filter that can be read was refused: {error}") from error
        return "refused"
    matched = "no match"
    index = Index([("topic", matcher, "entry")])
    for _ in range(3):
        payload = _payload(choices)
        answered = matcher.matches(payload)
        if answered != (matcher.explain(payload) is None):
            raise Broken("the filter explains something else than it answers")
        str(matcher.explain(payload))
        if bool(index.match("topic", payload)) != answered:
            raise Broken("the index finds something else than the filter answers")
        if valid and answered != holds(written, payload):
            raise Broken("the filter answers something else than the model")
        matched = "match" if answered else matched
    return matched


def _payload(choices: Choices) -> Any:
    if choices.chance(3):
        try:
            return msgspec.json.decode(body_of(choices))
        except (ValueError, RecursionError):
            return None
    return _value(choices, 3)


def _value(choices: Choices, depth: int) -> Any:
    kind = choices.number(3) if depth else 0
    if kind == 0:
        return choices.pick((*TEXTS, *NUMBERS, True, False, None, 10**400, float("inf"), "\ud800"))
    if kind == 1:
        return [_value(choices, depth - 1) for _ in range(choices.number(3))]
    return {choices.pick(KEYS): _value(choices, depth - 1) for _ in range(choices.number(3))}


def _filter(choices: Choices, depth: int) -> dict[str, Any]:
    """Write what can be read."""
    return {choices.pick(KEYS): _clause(choices, depth) for _ in range(choices.number(2) + 1)}


def _clause(choices: Choices, depth: int) -> Any:
    kind = choices.number(3) if depth else choices.number(1)
    if kind == 0:
        return choices.pick((["a", "foo"], [1, 2], [1.5], [True], [None, "a"], []))
    if kind == 1:
        return {name: choices.pick(TYPED[name]) for name in [choices.pick(tuple(TYPED))]}
    if kind == 2:
        return _filter(choices, depth - 1)
    inner = _clause(choices, depth - 1)
    if not isinstance(inner, dict):
        inner = {"$in": ["a", "b"]}
    return choices.pick(
        (
            {"$and": [inner, {"$exists": True}]}, {"$or": [inner, {"$isNull": True}]}, {"$any": inner},
            {"$all": inner}, {"$not": inner}, {"$path": {"a.b": inner}},
        )
    )  # fmt: skip


def _odd_filter(choices: Choices) -> dict[str, Any]:
    return {
        choices.pick((*KEYS, *OPERATORS)): _odd(choices, choices.number(4)) for _ in range(choices.number(3))
    }


def _odd(choices: Choices, depth: int) -> Any:
    kind = choices.number(3) if depth else 0
    if kind == 0:
        return choices.pick(LEAVES)
    if kind == 1:
        return [_odd(choices, depth - 1) for _ in range(choices.number(3))]
    names = (*OPERATORS, *KEYS)
    return {choices.pick(names): _odd(choices, depth - 1) for _ in range(1 + choices.number(2))}
