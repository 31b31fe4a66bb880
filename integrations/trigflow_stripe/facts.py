"""What of a resource is worth a column: what it is, whose, in which state, how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_SHOWN = ("id", "customer", "status")
_AMOUNTS = ("amount", "amount_total", "amount_due", "unit_amount")


def facts(resource: Any) -> Mapping[str, str]:
    """Return the facts of a typed or a plain resource by label; amounts are in the smallest unit."""
    fields = cast("Mapping[str, Any]", resource) if isinstance(resource, Mapping) else _fields(resource)
    found = {name: fields[name] for name in _SHOWN if isinstance(fields.get(name), str)}
    amount = next((fields[name] for name in _AMOUNTS if isinstance(fields.get(name), int)), None)
    if amount is None:
        return found
    return found | {"amount": f"{amount} {fields.get('currency') or ''}".rstrip()}


def _fields(resource: object) -> Mapping[str, Any]:
    names = (*_SHOWN, *_AMOUNTS, "currency")
    return {name: getattr(resource, name) for name in names if hasattr(resource, name)}
