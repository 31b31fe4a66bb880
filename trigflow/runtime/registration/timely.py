"""Calls of a provider that end before the claim on the subscription does, or did not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import msgspec

from trigflow.core.errors import ApiError
from trigflow.runtime.connections.quiet import Quiets
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
    """A provider that is made when it is pinged, through one connection."""

    def __init__(self, make: Callable[[], Awaitable[Provider]], quiets: Quiets, connection: str) -> None:
        self._make, self._quiets, self._connection = make, quiets, connection

    async def quiet_until(self) -> int | None:
        """Tell until when (unix ms) the provider must not be asked; None where it may be."""
        period = await self._quiets.of(self._connection)
        return None if period is None else period.until

    async def ping(self) -> bool:
        """Ask for a sign of life; False where the provider offers none."""
        try:
            return await in_time(self._ping)
        except ApiError as error:
            await self._quiets.begin_if_asked(self._connection, error)
            raise

    async def _ping(self) -> bool:
        return await (await self._make()).ping()
