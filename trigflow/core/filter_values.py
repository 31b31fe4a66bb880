"""What a filter looks at and what it says about it: JSON values, places, mismatches.

JSON as a decoder gives it: dict, list (a tuple counts as one), str, int, float,
bool, None. A key that is not there is MISSING, which is not null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Final, TypeAlias, TypeGuard, cast

import msgspec

from trigflow.core.errors import SetupError

DEEPEST = 40  # levels of a filter; each costs about two Python frames while matching
LONGEST_TEXT = 80  # characters of a value shown in a message
LONGEST_CLAUSE = 240  # characters of a clause shown in a message
SHOWN_ITEMS = 6
SHOWN_LEVELS = 4
WIDEST = 24  # keys of one object that are decoded singly; each key of a text is looked for among them
SHOWN_BITS = 256  # int() and str() refuse more than 4300 digits, and nobody reads 100

Path = tuple[str, ...]

# What a clause looks at: of an object these keys, and of their values again so much. None: the whole value.
Reads: TypeAlias = "Mapping[str, Reads] | None"


class Missing(Enum):
    """The value of a key that is not there."""

    MISSING = "nothing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether this is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[Sequence[object]]:
    """Tell whether this is a JSON array."""
    return isinstance(value, (list, tuple))


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether this is a JSON number; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: object, *, limit: int = LONGEST_TEXT) -> str:
    """Return a value as JSON on one line, shortened to `limit` characters.

    Takes any value, however deep or long, and answers text that any log can hold.
    """
    text = _text(value, limit, SHOWN_LEVELS)
    # A lone surrogate is legal in JSON's escapes but can't be written as UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _text(value: object, limit: int, levels: int) -> str:
    match value:
        case str():
            return json.dumps(value[:limit], ensure_ascii=False)
        case int() if value.bit_length() > SHOWN_BITS:
            return f"an integer of {value.bit_length()} bits"
        case None | bool() | int() | float():
            return json.dumps(value)
        case Missing():
            return str(value.value)
        case Mapping() | list() | tuple():
            return _collection(cast("Mapping[str, object] | Sequence[object]", value), limit, levels)
        case _:
            return f"a {type(value).__name__}"


def _collection(value: Mapping[str, object] | Sequence[object], limit: int, levels: int) -> str:
    left, right = "{}" if isinstance(value, Mapping) else "[]"
    if not value:
        return left + right
    if not levels:
        return f"{left}…{right}"
    if isinstance(value, Mapping):
        first = islice(value.items(), SHOWN_ITEMS)
        parts = [f"{_text(key, limit, 0)}: {_text(item, limit, levels - 1)}" for key, item in first]
    else:
        parts = [_text(item, limit, levels - 1) for item in value[:SHOWN_ITEMS]]
    if len(value) > SHOWN_ITEMS:
        parts.append("…")
    return left + ", ".join(parts) + right


def read_together(first: Reads, second: Reads) -> Reads:
    """Return what two clauses on one value look at; from WIDEST keys on, the whole value."""
    if first is None or second is None:
        return None
    shared = {key: read_together(first[key], second[key]) for key in first.keys() & second.keys()}
    together = {**first, **second, **shared}
    return together if len(together) <= WIDEST else None


def dotted(path: Path) -> str:
    r"""Return a path as `$path` reads it: dots between keys, `\.` for a dot in a key."""
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)


class Mismatch(msgspec.Struct, frozen=True):
    """The clause of a filter that a payload does not meet.

    path: where in the payload, such as `issue.user.type`; "" is the payload itself.
    expected: the clause in words.
    saw: the value there, or MISSING.
    """

    path: str
    expected: str
    saw: object

    def __str__(self) -> str:
        return f"{self.path or 'payload'}: expected {self.expected}, saw {shown(self.saw)}"


class Equality(msgspec.Struct, frozen=True):
    """A condition that every match meets: at `path` stands one of `values`.

    An array on the way stands for each of its objects; an array at the end is no match.
    Values are compared as Python does it (True == 1): wider than the filter, never narrower.
    """

    path: Path
    values: frozenset[object]


class Place(msgspec.Struct, frozen=True):
    """A place in a filter, to be named in errors.

    where: what the filter belongs to, such as "job triage, filter".
    path: the keys and operators on the way, as written.
    """

    where: str
    path: Path = ()

    def under(self, key: object) -> Place:
        """Return the place one level further in; SetupError where that is too deep."""
        if len(self.path) >= DEEPEST:
            raise self.error(f"at most {DEEPEST} levels", "more", "make the filter flatter")
        return msgspec.structs.replace(self, path=(*self.path, str(key)))

    def error(self, expected: str, got: str, remedy: str) -> SetupError:
        """Make the error for what is written here; `got` is shown as it is."""
        at = f"{self.where}, at {dotted(self.path)}" if self.path else self.where
        return SetupError(f"{at}: expected {expected}, got {got}; {remedy}")
