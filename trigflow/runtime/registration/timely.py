"""Calls of a provider that end before the claim on the subscription does, or did not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import msgspec

from trigflow.runtime.registration.provider import Provider

SLOWEST = 90.0  # seconds that one step may take; less than a claim lasts
T = TypeVar("T")


class Unanswered(msgspec.Struct, frozen=True):
    """That a provider did not say what it has; `told` is the error as it may be shown.

    quiet: it was not even asked, because it wants to be left alone.
    """

    error: Exception
    told: str
    quiet: bool = False


async def in_time(call: Callable[[], Awaitable[T]]) -> T:
    """Await what calls a provider; TimeoutError in time for the claim on the subscription to hold."""
    with anyio.move_on_after(SLOWEST):
        return await call()
    raise TimeoutError(f"the provider did not answer within {SLOWEST:.0f} s")


class LatePing:
    """A provider that is made when it is pinged."""

    def __init__(self, make: Callable[[], Awaitable[Provider]]) -> None:
        self._make = make

    async def ping(self) -> bool:
        """Ask for a sign of life; False where the provider offers none."""
        return await in_time(self._ping)

    async def _ping(self) -> bool:
        return await (await self._make()).ping()
