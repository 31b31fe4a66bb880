"""How Stripe wants requests written: forms whose names have brackets.

    {"url": "u", "enabled_events": ["a", "b"], "metadata": {"k": "v"}, "disabled": False}
    url=u & enabled_events[0]=a & enabled_events[1]=b & metadata[k]=v & disabled=false

None is left out; an empty text unsets a field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast
from urllib.parse import quote_plus


def encoded(values: Mapping[str, object]) -> str:
    """Write values as a form or query string; TypeError for what has no form."""
    pairs = (pair for name, value in values.items() for pair in _pairs(name, value))
    return "&".join(f"{quote_plus(name, safe='[]')}={quote_plus(value)}" for name, value in pairs)


def _pairs(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            yield from _pairs(f"{name}[{key}]", inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        for at, inner in enumerate(cast("Sequence[object]", value)):
            yield from _pairs(f"{name}[{at}]", inner)
    else:
        yield name, _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{name} has a time without a zone; give an aware datetime")
        return str(int(value.timestamp()))
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError(f"{name} is of type {type(value).__name__}, which a form can't hold")
