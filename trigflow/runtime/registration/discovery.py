"""Accounts that our apps at providers may act for: found at the start, now and then, and when one shows up.

an app whose webhook is one for all accounts ─> integration.accounts ─> a connection each ─> wants, rows
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import anyio

from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.ports import Clock
from trigflow.runtime.registration.rows import Rows
from trigflow.runtime.sealing.discreet import knowing, problem_of
from trigflow.sources.integration import Integration

logger: logging.Logger = logging.getLogger("trigflow.registrations")
EVERY = timedelta(minutes=15)
LEAST = timedelta(seconds=30)  # between two times that a provider is asked, however many strangers show up
SOON = timedelta(seconds=2)  # and however often it tells itself that the accounts are others now


class Discovery:
    """Keeps the accounts of the apps of one open app."""

    def __init__(
        self,
        wants: Sequence[r.Want],
        sources: Mapping[str, AnySource],
        integrations: Mapping[str, Integration],
        connections: Connections,
        rows: Rows,
        clock: Clock,
        *,
        signal: Callable[[], object],
    ) -> None:
        """Ask for those integrations whose jobs want a shared webhook. signal: new rows are due."""
        shared = {
            want.connection
            for want in wants
            for source in [sources[want.source]]
            if source.is_shared(source.load_params(want.params))
        }
        self._apps = [one for one in integrations.values() if one.connection_ref in shared]
        self._connections, self._rows, self._clock, self._signal = connections, rows, clock, signal
        self._stranger, self._told = anyio.Event(), anyio.Event()

    def stranger(self) -> None:
        """Hear that a delivery came for an account that is not known."""
        self._stranger.set()

    def told(self) -> None:
        """Hear that a provider told that our app was installed, suspended or removed somewhere."""
        self._told.set()
        self._stranger.set()

    async def keep_up(self) -> None:
        """Ask until cancelled."""
        while True:
            was_told = self._told.is_set()
            self._stranger, self._told = anyio.Event(), anyio.Event()
            for app in self._apps:
                asked = await attempt_async(lambda app=app: self._connections.accounts(app))  # type: ignore[misc]
                if isinstance(asked, Raised):
                    told = problem_of(asked.error, knowing(self._connections.secrets()))
                    logger.warning("the accounts of %s could not be listed: %s", app.id, told)
            if self._apps:
                await self._rows.ensure()
                self._signal()
            asked_at = self._clock.now()
            # A provider's list may lag behind what it told: it is read once more.
            until = LEAST if was_told else EVERY
            await self._clock.wait(self._stranger, until=asked_at + until.total_seconds())
            await self._clock.wait(self._told, until=asked_at + LEAST.total_seconds())
            await self._clock.wait(anyio.Event(), until=asked_at + SOON.total_seconds())
