"""The one place where exceptions of user and provider code are caught.

Nothing else may catch `Exception`: an error of ours rises and is seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from trigflow.core.runs import Failure

T = TypeVar("T")


class Returned(msgspec.Struct, Generic[T], frozen=True):
    """What the code returned."""

    value: T


class Raised(msgspec.Struct, frozen=True):
    """What the code raised."""

    error: Exception

    @property
    def failure(self) -> Failure:
        """Describe it for people."""
        return Failure.of(self.error)


def attempt(call: Callable[[], T]) -> Returned[T] | Raised:
    """Call foreign code; cancellation and exits rise, exceptions are returned."""
    try:
        return Returned(call())
    except Exception as error:  # noqa: BLE001 - the boundary
        return Raised(error)


async def attempt_async(call: Callable[[], Awaitable[T]]) -> Returned[T] | Raised:
    """Await foreign code; cancellation and exits rise, exceptions are returned."""
    try:
        return Returned(await call())
    except Exception as error:  # noqa: BLE001 - the boundary
        return Raised(error)
