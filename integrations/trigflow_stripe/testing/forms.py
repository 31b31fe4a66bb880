"""Stripe's forms, read: `a[b]=1&c[]=2&c[]=3&d[0]=4` is `{"a": {"b": "1"}, "c": ["2", "3"], "d": ["4"]}`."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import parse_qsl

from trigflow_stripe.testing.answers import Json, refused

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decoded(text: str) -> Json:
    """Read a form or query string; Refused with 400 for one whose brackets do not match."""
    root: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found = _NAME.fullmatch(name)
        if found is None:
            raise refused(400, f"Invalid parameter name: {name}", param=name)
        _put(root, [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])], value)
    return cast("Json", _with_lists(root))


def _put(node: Json, path: list[str], value: str) -> None:
    for step in path[:-1]:
        inner = node.setdefault(_name(node, step), {})
        if not isinstance(inner, dict):
            raise refused(400, f"Invalid parameter: {path[0]}", param=path[0])
        node = cast("Json", inner)
    node[_name(node, path[-1])] = value


def _name(node: Json, step: str) -> str:
    """Return where a step leads; `[]` is the next place of a list."""
    return step or str(len(node))


def _with_lists(node: object) -> object:
    """Turn mappings whose keys are 0, 1, 2, … into lists."""
    if not isinstance(node, dict):
        return node
    inner = {name: _with_lists(value) for name, value in cast("Json", node).items()}
    places = [str(at) for at in range(len(inner))]
    return [inner[place] for place in places] if inner and set(inner) == set(places) else inner
