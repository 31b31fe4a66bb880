"""Requests held against GitHub's own description of its API.

Refused as GitHub words it where a checked schema fails: "Invalid request." and one
sentence a fault. Certain from recordings: "is not a permitted key", "wasn't
supplied", "is not an array"; the wording of the rest, and of faults that are deeper
than a top-level field, follows the same pattern unproven.

Stricter than GitHub on purpose: a field that the description does not name is always
refused. GitHub does so for some operations and ignores it for others, which would
hide a misspelled field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

import attrs

from trigflow.testing.fake_server import Refused, Reply
from trigflow_github.testing.answers import Json

Schema = Mapping[str, Any]


@attrs.frozen
class Operation:
    """An operation as it is described; docs: the link that its errors carry."""

    pattern: re.Pattern[str]
    method: str
    docs: str
    query: Mapping[str, Schema]
    body: Schema | None


def described(method: str, path: str) -> Operation | None:
    """Find the operation of a request; None where the description has none."""
    found = (one for one in _operations() if one.method == method and one.pattern.fullmatch(path))
    return next(found, None)


def check(operation: Operation, query: Mapping[str, str], body: Json) -> None:
    """Refuse with a 422 what does not fit the description.

    Of the query only enumerations are checked: GitHub takes defaults for odd numbers.
    """
    faults = [
        fault
        for name, schema in operation.query.items()
        if "enum" in schema and name in query
        for fault in faults_of(query[name], schema, f"properties/{name}")
    ]
    if operation.body is not None:
        faults += faults_of(body, operation.body, "")
    if faults:
        message = "Invalid request.\n\n" + "\n".join(faults)
        told = {"message": message, "documentation_url": operation.docs, "status": "422"}
        raise Refused(Reply(422, told))


def faults_of(value: object, schema: Schema, at: str) -> Iterator[str]:
    """Yield what is wrong with a value, a sentence each; at: where it stands, "" for the body itself."""
    if value is None and schema.get("nullable"):
        return
    choices: list[Schema] = schema.get("oneOf") or schema.get("anyOf") or []
    if choices:
        if all(any(faults_of(value, choice, at)) for choice in choices):
            yield f'{_where(at)}no subschema in "oneOf" matched {_shown(value)}.'
        return
    fits = _TYPES.get(schema.get("type", ""))
    if fits is not None and not fits(value):
        yield f"{_where(at)}{_shown(value)} is not {_ARTICLES[schema['type']]}."
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{_where(at)}{_shown(value)} is not a member of {_shown(schema['enum'])}."
    elif isinstance(value, dict):
        yield from _object_faults(cast("Json", value), schema, at)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from faults_of(item, schema.get("items", {}), f"{at}/items")


def _object_faults(value: Json, schema: Schema, at: str) -> Iterator[str]:
    known: Mapping[str, Schema] = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        yield f"{_where(at)}{names} {'wasn' if len(missing) == 1 else 'weren'}'t supplied."
    strange = [name for name in value if name not in known] if known else []
    if strange:
        names = ", ".join(f'"{name}"' for name in strange)
        wrong = "is not a permitted key" if len(strange) == 1 else "are not permitted keys"
        yield f"{_where(at)}{names} {wrong}."
    for name, item in value.items():
        if name in known:
            yield from faults_of(item, known[name], f"{at}/properties/{name}".lstrip("/"))


def _where(at: str) -> str:
    return f"For '{at}', " if at else ""


def _shown(value: object) -> str:
    return "nil" if value is None else json.dumps(value, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
}
_ARTICLES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
}


@cache
def _operations() -> tuple[Operation, ...]:
    text = (files("trigflow_github.testing") / "description.json").read_text()
    return tuple(
        Operation(_pattern(path), method, told["docs"], told.get("query", {}), told.get("body"))
        for (method, path), told in ((key.split(" "), told) for key, told in json.loads(text).items())
    )


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{\w+}", "[^/]+", path))
