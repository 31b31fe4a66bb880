"""What JSON may look like: from schemas of OpenAPI 3.1 and from examples, merged.

A merged shape is no stricter than any of its parts: a key is required where all of them
have it, and may be null where one of them says so.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import attrs

Kind = Literal["null", "bool", "int", "float", "str", "datetime", "array", "object"]
_NAMED: Mapping[str, Kind] = {
    "null": "null", "boolean": "bool", "integer": "int", "number": "float", "string": "str",
    "array": "array", "object": "object",
}  # fmt: skip
_SCALARS: Mapping[Any, frozenset[Kind]] = {
    type(None): frozenset({"null"}),
    bool: frozenset({"bool"}),
    int: frozenset({"int"}),
    float: frozenset({"int", "float"}),
    str: frozenset({"str", "datetime"}),
    datetime: frozenset({"datetime"}),
}
_OBJECTS: Sequence[frozenset[Kind]] = (frozenset({"object"}), frozenset({"object", "null"}))
_ARRAYS: Sequence[frozenset[Kind]] = (frozenset({"array"}), frozenset({"array", "null"}))


@attrs.frozen
class Shape:
    """The kinds of value that may stand somewhere; of objects their keys, of arrays their items."""

    kinds: frozenset[Kind] = frozenset()
    keys: Mapping[str, Shape] = attrs.field(factory=dict[str, "Shape"])
    required: frozenset[str] = frozenset()
    items: Shape | None = None

    @property
    def is_object(self) -> bool:
        """Tell whether it is an object, or null."""
        return self.kinds in _OBJECTS

    @property
    def is_array(self) -> bool:
        """Tell whether it is an array, or null."""
        return self.kinds in _ARRAYS

    @property
    def may_be_null(self) -> bool:
        """Tell whether null may stand there."""
        return "null" in self.kinds

    def always(self, key: str) -> bool:
        """Tell whether an object has a key in any case, with a value that is not null."""
        return key in self.required and not self.keys[key].may_be_null


def merged(one: Shape, other: Shape) -> Shape:
    """Return the shape of what has either shape."""
    keys = {name: _merged(one.keys.get(name), other.keys.get(name)) for name in {**one.keys, **other.keys}}
    objects = [shape for shape in (one, other) if "object" in shape.kinds]
    in_all = [name for name in keys if all(name in shape.required for shape in objects)]
    kinds = one.kinds | other.kinds
    # An array of nothing tells nothing of its items.
    items = _merged(one.items, other.items) if one.items or other.items else None
    return Shape(_without_times(kinds), keys, frozenset(in_all if objects else ()), items)


def _merged(one: Shape | None, other: Shape | None) -> Shape:
    return merged(one, other) if one and other else one or other or Shape()


def _without_times(kinds: frozenset[Kind]) -> frozenset[Kind]:
    return kinds - {"datetime"} if {"str", "datetime"} <= kinds else kinds


def of_schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Shape:
    """Return the shape that a schema describes; `schemas`: those that it refers to, by name."""
    if "$ref" in schema:
        return of_schema(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    either: list[Any] = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    parts = [of_schema(one, schemas) for one in either]
    parts += [_all_of(schema, schemas)] if "allOf" in schema or not either else []
    found = reduce(merged, parts)
    may_be_null = schema.get("nullable") or "null" in schema.get("type", ())
    return attrs.evolve(found, kinds=found.kinds | {"null"}) if may_be_null else found


def _all_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Shape:
    """Put the parts of a schema together: what one of them requires is required."""
    own = _own(schema, schemas)
    parts = [own, *(of_schema(one, schemas) for one in schema.get("allOf", ()))]
    keys = {name: shape for part in parts for name, shape in part.keys.items()}
    required = frozenset(name for part in parts for name in part.required if name in keys)
    kinds = own.kinds or frozenset[Kind]().union(*(part.kinds for part in parts))
    return Shape(kinds, keys, required, next((part.items for part in parts if part.items), None))


def _own(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Shape:
    said = schema.get("type", "object" if "properties" in schema else ())
    kinds: set[Kind] = {_NAMED[name] for name in ([said] if isinstance(said, str) else said)}
    if schema.get("format") == "date-time":
        kinds = {"datetime" if kind == "str" else kind for kind in kinds}
    if None in schema.get("enum", ()):
        kinds.add("null")
    keys = {name: _named(name, of_schema(one, schemas)) for name, one in schema.get("properties", {}).items()}
    items = of_schema(schema["items"], schemas) if schema.get("items") else None
    return Shape(frozenset(kinds), keys, frozenset(schema.get("required", ())) & keys.keys(), items)


def _named(key: str, shape: Shape) -> Shape:
    """Mend what the schemas say loosely of some keys: times as any text, ids and lines as any number."""
    loose: Kind = "null"
    strict: Kind = "null"
    if key.endswith("_at"):
        loose, strict = "str", "datetime"
    elif key == "id" or key.endswith(("_id", "_line", "_column")):
        loose, strict = "float", "int"
    return attrs.evolve(shape, kinds=frozenset(strict if kind == loose else kind for kind in shape.kinds))


def of_value(value: Any) -> Shape:
    """Return the shape of one JSON value."""
    if isinstance(value, dict):
        said = cast("dict[str, Any]", value)
        return Shape(frozenset({"object"}), {k: of_value(v) for k, v in said.items()}, frozenset(said))
    if isinstance(value, list):
        items = [of_value(item) for item in _items(value)]
        return Shape(frozenset({"array"}), items=reduce(merged, items) if items else None)
    return Shape(frozenset({_scalar(value)}))


def _items(value: Any) -> list[Any]:
    items: list[Any] = value
    return items


def _scalar(value: object) -> Kind:
    if isinstance(value, str):
        return "datetime" if _is_time(value) else "str"
    if isinstance(value, bool):
        return "bool"
    return "null" if value is None else "int" if isinstance(value, int) else "float"


def _is_time(text: str) -> bool:
    try:
        return "T" in text and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def fits(shape: Shape, hint: Any) -> bool:
    """Tell whether all that has a shape can be structured into a type; keys without a field don't count."""
    return all(any(_takes(one, kind, shape) for one in _union(hint)) for kind in shape.kinds)


def _union(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _takes(hint: Any, kind: Kind, shape: Shape) -> bool:
    if hint is Any:
        return True
    if hint in _SCALARS:
        return kind in _SCALARS[hint]
    if kind == "array":
        return get_origin(hint) is tuple and (shape.items is None or fits(shape.items, get_args(hint)[0]))
    if kind != "object":
        return False
    if get_origin(hint) is dict:
        return all(fits(one, get_args(hint)[1]) for one in shape.keys.values())
    return attrs.has(hint) and _fits_class(shape, hint)


def _fits_class(shape: Shape, cls: Any) -> bool:
    hints = get_type_hints(cls)
    return all(
        (field.default is not attrs.NOTHING or field.name in shape.required)
        and (field.name not in shape.keys or fits(shape.keys[field.name], hints[field.name]))
        for field in attrs.fields(cls)
    )
