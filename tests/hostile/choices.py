"""Bytes as decisions: what a fuzzer mutates becomes what a sender does.

When the bytes run out every decision is the first one, so that short inputs are simple ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Reads decisions from bytes, in order."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, given: bytes) -> None:
        self._bytes, self._at = given, 0

    def number(self, most: int) -> int:
        """Return 0 to `most`, both included."""
        size = 1 if most < 256 else 2 if most < 65536 else 4
        return int.from_bytes(self.take(size), "little") % (most + 1)

    def chance(self, one_in: int) -> bool:
        """Be true once in so many; false when the bytes have run out."""
        return self.number(one_in - 1) == one_in - 1

    def pick(self, these: Sequence[T]) -> T:
        return these[self.number(len(these) - 1)]

    def take(self, most: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        found = self._bytes[self._at : self._at + most]
        self._at += most
        return found

    def some(self, most: int) -> bytes:
        """Return up to `most` bytes."""
        return self.take(self.number(most))

    @property
    def empty(self) -> bool:
        return self._at >= len(self._bytes)
