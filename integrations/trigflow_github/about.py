"""What of an event is worth a column: where it happened, who did it, and what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_NAMES = ("title", "name", "login", "summary", "ref", "id")


def about(subject: str = "") -> Callable[[Any], Mapping[str, str]]:
    """Return what reads the facts of an event's payload by label; subject: the field that it is about."""

    def properties(said: Any) -> Mapping[str, str]:
        found = {
            "repository": _text(said, "repository", "full_name"),
            "organization": _text(said, "organization", "login"),
            "by": _text(said, "sender", "login"),
            "action": str(getattr(said, "action", "")),
        }
        if subject:
            found[subject.replace("_", " ")] = _name(getattr(said, subject))
        return {label: text for label, text in found.items() if text}

    return properties


def _text(said: Any, key: str, field: str) -> str:
    return str(getattr(getattr(said, key, None), field, ""))


def _name(thing: Any) -> str:
    """Write a thing as people know it: "#3 A title", a name, or a number."""
    number = getattr(thing, "number", None)
    names = (getattr(thing, field, None) for field in _NAMES)
    name = next((str(one) for one in names if one is not None), "")
    return " ".join([*([f"#{number}"] if number is not None else []), *([name] if name else [])])
