"""`trigflow dev --follow`: events without a public URL, pulled from providers' own logs.

webhook under a host that resolves nowhere ─> the provider fails to deliver, and logs it
      every few seconds: its log ─ recover ─> handled like a delivery

Whether a provider accepts such a host, and how soon its log tells of a failed delivery, is the
provider's affair and is not confirmed for any: --follow-url takes another one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import anyio

from trigflow.app import App
from trigflow.cli.recovering import subscriptions_of
from trigflow.cli.screen import say, styled, warn
from trigflow.core.errors import SetupError
from trigflow.opened import random_name
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.sealing.discreet import problem_of

HOST = "trigflow.invalid"  # RFC 2606: resolves nowhere, ever
EVERY = timedelta(seconds=5)
LEAST = timedelta(seconds=1)
OVERLAP = timedelta(seconds=30)  # read again each time: clocks differ, and logs are written late
CHECK = 60.0  # seconds between two looks at what providers have


def unreachable_url() -> str:
    """Make a URL that no provider can reach, another one each time."""
    return f"https://{random_name(10)}.{HOST}"


def checked_every(every: timedelta) -> timedelta:
    """Return how often logs are read; SetupError where that is too often."""
    if every < LEAST:
        raise SetupError("--every is less than a second; providers limit how often they may be asked")
    return every


class Follower:
    """Registers an app's webhooks and reads their providers' logs."""

    def __init__(self, app: App, every: timedelta) -> None:
        """Read every so often."""
        self._app, self._every = app, every.total_seconds()
        self._begun = self._now() - OVERLAP
        self._told: set[str] = set()

    async def follow(self) -> None:
        """Follow until cancelled."""
        checked_at = None
        while True:
            now = anyio.current_time()
            if checked_at is None or now - checked_at >= CHECK:
                checked_at = now
                await self._register()
            since, self._begun = self._begun, self._now() - OVERLAP
            read = await attempt_async(partial(self.read, since))
            if isinstance(read, Raised):
                self._tell(f"logs could not be read: {problem_of(read.error)}")
            if isinstance(read, Raised) or not read.value:
                self._begun = since
            await anyio.sleep(self._every)

    async def _register(self) -> None:
        applied = await attempt_async(self._app.apply)
        if isinstance(applied, Raised):
            self._tell(f"webhooks are not registered: {problem_of(applied.error)}")
            return
        for one in applied.value:
            if one.error:
                self._tell(f"{one.step.identity[0]} {one.step.identity[1]} is not registered: {one.error}")

    async def read(self, since: datetime) -> bool:
        """Read all logs since a moment once; tell whether all were read whole."""
        recoverer, whole = self._app.opened.upkeep.recoverer, True
        async for endpoint, s in subscriptions_of(self._app):
            name = f"{s.source} {s.key}"
            if not recoverer.can(s):
                self._tell(
                    f"{name} is not followed: its provider has no log that trigflow can read; use --tunnel"
                )
                continue
            row = await recoverer.recover(endpoint, s, since, keep=False)
            if row.recovered:
                say("followed   ", styled(name, "bold"), f"  {row.recovered} taken from its log")
            if row.error:
                whole = False
                self._tell(f"{name}: its log could not be read: {row.error}")
        return whole

    def _tell(self, text: str) -> None:
        """Warn, once for one text."""
        if text not in self._told:
            self._told.add(text)
            warn(text)

    def _now(self) -> datetime:
        return datetime.now(UTC)
