"""Hypothesis strategies for filters and for payloads that nearly or fully meet one, and a model.

The model, `holds`, reads a filter's rules one by one, slowly, and shares nothing with
the code under test.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from hypothesis import strategies as st

NOTHING = object()  # the value of a key that is not there

Draw = Callable[[st.SearchStrategy[Any]], Any]

KEYS: Sequence[str] = ("a", "b", "c", "$ref", "d.e")  # few, so that filters and payloads meet
PLAIN_KEYS: Sequence[str] = ("a", "b", "c", "d.e")
STEPS = ("a", "b", "c", "0", "1", "$ref", r"d\.e")
TEXTS = ("", "a", "A", "ä", "Ä", "A\u0308", "foo", "foo.png", "foobar", "ofoo", "1", "true")
NUMBERS = (-1, 0, 1, 1.0, 1.5, 2, 3, 2**53 + 1)
PATTERNS = ("^foo", "o+$", "[0-9]", "a|b", r"\.png\Z")
GLOBS = ("foo*", "*.png", "?", "*o?", "FOO*")

literals = st.sampled_from(TEXTS) | st.sampled_from(NUMBERS) | st.booleans() | st.none()


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value that a decoder may give, odd numbers and lone surrogates included."""
    text = st.text(st.characters(exclude_categories=()), max_size=5)
    leaves = literals | text | st.integers() | st.floats() | st.just(10**400)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | text, inner, max_size=4)
        ),
        max_leaves=12,
    )


def one_type(*, min_size: int = 1) -> st.SearchStrategy[list[Any]]:
    """Literals of one type, null among them now and then."""
    kinds: Sequence[st.SearchStrategy[Any]] = (
        st.sampled_from(TEXTS),
        st.sampled_from(NUMBERS),
        st.booleans(),
    )
    return st.one_of([st.lists(kind | st.none(), min_size=min_size, max_size=3) for kind in kinds])


def filters(*, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Make valid filters of all operators."""
    plain: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
        st.sampled_from(PLAIN_KEYS), clauses(depth=depth), max_size=3
    )
    return plain | operators(depth=depth) if depth else plain


def clauses(*, depth: int) -> st.SearchStrategy[Any]:
    """Make what may stand under a key."""
    flat = one_type(min_size=0) | st.lists(operators(depth=0), max_size=2) | operators(depth=0)
    if not depth:
        return flat
    return flat | st.lists(operators(depth=depth - 1), max_size=2) | filters(depth=depth - 1)


def operators(*, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Make one or two operators on a value."""
    number, text = st.sampled_from(NUMBERS), st.sampled_from(TEXTS[1:])
    known: dict[str, st.SearchStrategy[Any]] = {
        "$exists": st.booleans(),
        "$isNull": st.booleans(),
        "$in": one_type(),
        "$nin": one_type(),
        "$anythingBut": literals | one_type(),
        "$not": literals | one_type(),
        "$gt": number,
        "$gte": number,
        "$lt": number,
        "$lte": number,
        "$between": st.lists(number, min_size=2, max_size=2).map(sorted),
        "$startsWith": text,
        "$endsWith": text,
        "$contains": text,
        "$ignoreCaseEquals": st.sampled_from(TEXTS),
        "$regex": st.sampled_from(PATTERNS),
        "$glob": st.sampled_from(GLOBS),
        "$includes": literals,
        "$size": st.integers(0, 3) | st.fixed_dictionaries({"$gte": st.integers(0, 3)}),
    }
    if depth:
        known |= _combining(depth - 1)
    return st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: known[name] for name in names})
    )


def _says_something(clause: Any) -> bool:
    # Not `bool`: Hypothesis turns that into min_size=1 but keeps the average size of
    # st.lists(max_size=2), and then fails an assertion of its own.
    return clause not in ([], {})


def _combining(depth: int) -> dict[str, st.SearchStrategy[Any]]:
    several = st.lists(filters(depth=depth), min_size=1, max_size=3)
    paths = st.lists(st.sampled_from(STEPS), min_size=1, max_size=3).map(".".join)
    return {
        "$and": several,
        "$or": several,
        "$not": clauses(depth=depth).filter(_says_something),
        "$any": clauses(depth=depth),
        "$all": clauses(depth=depth),
        "$path": st.dictionaries(paths, clauses(depth=depth), min_size=1, max_size=2),
    }


@st.composite
def payloads_near(draw: Draw, written: Mapping[str, Any]) -> Any:
    """Make a payload from a filter: often one that matches, else one that nearly does."""
    return _near(draw, written)


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _chance(draw: Draw, one_in: int) -> bool:
    return bool(draw(st.integers(1, one_in)) == one_in)


def _near(draw: Draw, clause: Any) -> Any:
    if not clause or _chance(draw, 12):
        return draw(json_values())
    if is_array(clause):
        parts = [_near(draw, item) for item in clause if is_object(item)]
        return _merged(parts) if parts else draw(st.sampled_from(clause))
    if next(iter(clause)).startswith("$"):
        return _merged([_near_operator(draw, name, argument) for name, argument in clause.items()])
    made = {key: _near(draw, inner) for key, inner in clause.items() if not _chance(draw, 12)}
    if _chance(draw, 4):
        made |= draw(st.dictionaries(st.sampled_from(KEYS), literals, max_size=2))
    return draw(st.permutations([made, draw(json_values())])) if _chance(draw, 5) else made


def _merged(parts: Sequence[Any]) -> Any:
    """Return one value that has the fields of all, as far as they are objects."""
    merged: dict[str, Any] = {}
    for part in parts:
        if not is_object(part):
            return part
        for key, value in part.items():
            merged[key] = _merged([merged[key], value]) if key in merged else value
    return merged


def _near_operator(draw: Draw, name: str, argument: Any) -> Any:
    match name:
        case "$and":
            return _merged([_near(draw, part) for part in argument])
        case "$or":
            return _near(draw, draw(st.sampled_from(argument)))
        case "$any" | "$all":
            return [_near(draw, argument) for _ in range(draw(st.integers(0, 2)))]
        case "$not" if is_object(argument) or is_array(argument):
            return _near(draw, argument)
        case "$path":
            return _merged([_along(draw, path, inner) for path, inner in argument.items()])
        case "$size":
            return draw(st.lists(literals, max_size=4))
        case "$includes":
            return draw(st.permutations([argument, draw(literals)]))
        case _:
            return _near_leaf(draw, name, argument)


def _near_leaf(draw: Draw, name: str, argument: Any) -> Any:
    match name:
        case "$gt" | "$gte" | "$lt" | "$lte":
            return argument + draw(st.sampled_from([-1, 0, 1]))
        case "$between" | "$in" | "$nin":
            return draw(st.sampled_from(argument) | literals)
        case "$startsWith" | "$endsWith" | "$contains" | "$ignoreCaseEquals":
            return draw(st.sampled_from([argument, argument + "a", "a" + argument, argument.swapcase()]))
        case "$regex" | "$glob":
            return draw(st.sampled_from(TEXTS))
        case _:
            return draw(literals | st.just([]))


def _along(draw: Draw, path: str, clause: Any) -> Any:
    value = _near(draw, clause)
    for step in reversed(path.split(".") if "\\" not in path else [path.replace("\\", "")]):
        if step in {"0", "1"} and draw(st.booleans()):
            value = [*([None] * int(step)), value]
        else:
            value = {step: value}
    return value


# --- the model: rules read one by one, slowly -------------------------------------------------------------


def same(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return isinstance(one, str) and isinstance(other, str) and one == other


def holds(clause: Any, value: Any) -> bool:
    if is_array(clause):
        if clause and is_object(clause[0]):
            return all(holds(part, value) for part in clause)
        return not clause or any(same(literal, value) for literal in clause)
    if not clause:
        return True
    if next(iter(clause)).startswith("$"):
        return all(operator_holds(name, argument, value) for name, argument in clause.items())
    if is_array(value):
        return any(is_object(element) and holds(clause, element) for element in value)
    return is_object(value) and all(holds(part, value.get(key, NOTHING)) for key, part in clause.items())


def operator_holds(name: str, wanted: Any, value: Any) -> bool:
    text = value if isinstance(value, str) else None
    elements: Sequence[Any] | None = value if is_array(value) else None
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    match name:
        case "$and":
            return all(holds(part, value) for part in wanted)
        case "$or":
            return any(holds(part, value) for part in wanted)
        case "$not" | "$nin" | "$anythingBut":
            return not holds(wanted if is_array(wanted) or is_object(wanted) else [wanted], value)
        case "$in":
            return holds(wanted, value)
        case "$any":
            return elements is not None and any(holds(wanted, element) for element in elements)
        case "$all":
            return elements is not None and all(holds(wanted, element) for element in elements)
        case "$includes":
            return elements is not None and any(same(wanted, element) for element in elements)
        case "$size":
            return elements is not None and holds(wanted if is_object(wanted) else [wanted], len(elements))
        case "$path":
            return all(holds(part, value_at(path, value)) for path, part in wanted.items())
        case "$exists":
            return (value is not NOTHING) is wanted
        case "$isNull":
            return (value is None) is wanted
        case "$between":
            return number is not None and wanted[0] <= number <= wanted[1]
        case "$gt" | "$gte" | "$lt" | "$lte":
            return number is not None and in_order(name, number, wanted)
        case _:
            return text is not None and text_holds(name, wanted, text)


def in_order(name: str, number: float, wanted: float) -> bool:
    if number == wanted:
        return name in {"$gte", "$lte"}
    return number > wanted if name in {"$gt", "$gte"} else number < wanted


def text_holds(name: str, wanted: str, text: str) -> bool:
    match name:
        case "$startsWith":
            return text[: len(wanted)] == wanted
        case "$endsWith":
            return text[-len(wanted) :] == wanted
        case "$contains":
            return any(text[start : start + len(wanted)] == wanted for start in range(len(text)))
        case "$ignoreCaseEquals":
            return caseless(text) == caseless(wanted)
        case "$regex":
            return re.search(wanted, text) is not None
        case "$glob":
            return glob_holds(wanted, text)
        case _:
            raise AssertionError(f"the model does not know {name}")


def caseless(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def glob_holds(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(glob_holds(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and glob_holds(pattern[1:], text[1:])


def value_at(path: str, value: Any) -> Any:
    for step in (part.replace("\0", ".") for part in path.replace(r"\.", "\0").split(".")):
        if is_object(value):
            value = value.get(step, NOTHING)
        elif is_array(value) and step in {"0", "1"}:
            value = value[int(step)] if int(step) < len(value) else NOTHING
        else:
            return NOTHING
    return value
