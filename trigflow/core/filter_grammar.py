"""From a filter as written to one clause; what can't be read is a SetupError.

    clause   a list or a mapping; what stands under a key
    []       always holds
    [literal, ...]       one of them
    [operators, ...]     all of them
    {key: clause, ...}   the fields of an object (all), or of one object in an array
    {$operator: ...}     operators on the value itself (all)

Keys and operators never share a mapping: on an array the one is about an element,
the other about the array.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from trigflow.core.filter_clauses import (
    ALWAYS,
    Clause,
    all_elements,
    any_element,
    at_path,
    either,
    every,
    fields,
    length,
    negation,
)
from trigflow.core.filter_operators import OPERATORS, Build, is_literal, one_of
from trigflow.core.filter_values import Path, Place, is_array, is_number, shown

STEP = re.compile(r"((?:[^.\\]|\\[.\\])+)(?:\.(?!\Z)|\Z)")  # one key of a path, and the dot after it


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Tell whether this is written as an object; in Python any mapping may be."""
    return isinstance(value, Mapping)


def read_filter(place: Place, written: object) -> Clause:
    """Read a mapping: of keys, or of operators."""
    if not is_mapping(written):
        raise place.error("a mapping", shown(written), 'write {"key": [value, ...]}')
    keys = _keys(place, written)
    operators = [key for key in keys if key.startswith("$")]
    if not keys:
        return ALWAYS
    if not operators:
        return fields({key: read_clause(place.under(key), written[key]) for key in keys}, written)
    if len(operators) < len(keys):
        raise place.error(
            "keys or operators in a mapping, not both",
            shown(written),
            'write {"$and": [{keys}, {operators}]}; a key that starts with "$" is read by "$path"',
        )
    return every([_operator(place.under(name), name)(place.under(name), written[name]) for name in operators])


def _keys(place: Place, written: Mapping[object, object]) -> list[str]:
    keys = [key for key in written if isinstance(key, str)]
    if len(keys) < len(written):
        odd = next(key for key in written if not isinstance(key, str))
        raise place.error("text as keys", shown(odd), "JSON has no other keys")
    return keys


def _operator(place: Place, name: str) -> Build:
    known = OPERATORS.get(name) or _COMBINING.get(name)
    if known is None:
        import difflib  # noqa: PLC0415 - 1 ms, for a mistake alone

        names = [*OPERATORS, *_COMBINING]
        near = difflib.get_close_matches(name, names, 1)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
        raise place.error("an operator", shown(name), remedy)
    return known


def read_clause(place: Place, written: object) -> Clause:
    """Read what stands under a key: a list of values, a list of operators, or a mapping."""
    if is_mapping(written):
        return read_filter(place, written)
    if not is_array(written):
        remedy = f"write [{shown(written)}]" if is_literal(written) else "see docs/filters.md"
        raise place.error("a list of values or a mapping", shown(written), remedy)
    if not written:
        return ALWAYS
    if not any(is_mapping(item) for item in written):
        return one_of(place, written)
    return every([_matcher_object(place.under(index), item) for index, item in enumerate(written)])


def _matcher_object(place: Place, written: object) -> Clause:
    if is_mapping(written) and written and all(str(key).startswith("$") for key in written):
        return read_filter(place, written)
    remedy = 'a list holds values or operators, not both; write {"$or": [...]} or a mapping without the list'
    raise place.error('operators such as {"$gt": 1}', shown(written), remedy)


def _not(place: Place, written: object) -> Clause:
    if is_literal(written):
        written = [written]
    if (is_mapping(written) or is_array(written)) and not written:
        raise place.error("something to negate", shown(written), "nothing ever matches this; remove it")
    return negation(read_clause(place, written), written)


def _and(place: Place, written: object) -> Clause:
    return every(_filters(place, written))


def _or(place: Place, written: object) -> Clause:
    return either(_filters(place, written), written)


def _filters(place: Place, written: object) -> Sequence[Clause]:
    if not is_array(written) or not written:
        raise place.error("a list of filters, at least one", shown(written), "write [{...}, {...}]")
    return [read_filter(place.under(index), item) for index, item in enumerate(written)]


def _any(place: Place, written: object) -> Clause:
    return any_element(read_clause(place, written), written)


def _all(place: Place, written: object) -> Clause:
    return all_elements(read_clause(place, written))


def _size(place: Place, written: object) -> Clause:
    if is_mapping(written):
        return length(_matcher_object(place, written))
    if is_number(written) and written >= 0 and written == written // 1:
        return length(one_of(place, [written]))
    raise place.error("a whole number or operators", shown(written), 'write 2 or {"$gte": 2}')


def _path(place: Place, written: object) -> Clause:
    if not is_mapping(written) or not written:
        raise place.error("a mapping of paths", shown(written), 'write {"a.b.0.c": [value, ...]}')
    read = [
        at_path(_steps(place, key), read_clause(place.under(key), written[key]))
        for key in _keys(place, written)
    ]
    return every(read)


def _steps(place: Place, written: str) -> Path:
    found = list(STEP.finditer(written))
    if not found or sum(len(step[0]) for step in found) < len(written):
        raise place.error(
            "keys with dots between them",
            shown(written),
            r"write \. for a dot in a key and \\ for a backslash",
        )
    return tuple(re.sub(r"\\(.)", r"\1", step[1]) for step in found)


_COMBINING: Mapping[str, Build] = {
    "$not": _not,
    "$and": _and,
    "$or": _or,
    "$any": _any,
    "$all": _all,
    "$size": _size,
    "$path": _path,
}
