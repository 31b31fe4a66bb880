"""What a payload class of an integration is: a frozen attrs class whose repr shows only what is there.

Comparison and repr are shared, not generated for each class: with some sixty classes
generating them took half of the time that it takes to import the integration.
"""

from typing import Any, ClassVar, TypeVar, dataclass_transform

import attrs

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
def payload(cls: type[T]) -> type[T]:
    """Make a frozen, slotted attrs class with keyword-only fields."""
    return attrs.frozen(kw_only=True, eq=False, repr=False)(cls)


class Payload:
    """The base of payload classes: equal where type and fields are equal."""

    __slots__ = ()
    __attrs_attrs__: ClassVar[tuple[Any, ...]] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and type(other) is type(self) and _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash((type(self), _values(self)))

    def __repr__(self) -> str:
        there = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in self.__attrs_attrs__
            if field.repr and getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(there)})"


def _values(value: Payload) -> tuple[object, ...]:
    return tuple(getattr(value, field.name) for field in value.__attrs_attrs__)
