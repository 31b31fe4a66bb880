"""Telling people what turned unhealthy or needs them: once for one cause, whoever finds it.

    raise_ ─ row is new ─> functions of the app, once ─> webhook, until it is taken ─> told
       └─ the same is open: nothing        └─ one that raises is logged       └─ refused: backoff

The row decides, so that two processes, or a restart, tell it once. Who wrote the row tells
it. What is still untold after HANDOVER (its process is gone, or the webhook refuses for
long) is told by any one process; a receiver knows a repeat by its `webhook-id`.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

import anyio
import attrs

from trigflow.core.alerts import GIVEN_UP, Alert, AlertSink, blamed_in, blamed_subject, stable_cause
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.ports import Clock, Health
from trigflow.runtime.sealing.discreet import log_failure

logger: logging.Logger = logging.getLogger("trigflow.alerts")
WAITS = (0.0, 5.0, 15.0, 60.0, 180.0)  # seconds before each try of the webhook
HANDOVER = 600_000  # milliseconds after which any process tells it
LOOK = 120.0  # seconds between two looks for what nobody told
MOST = 1_000  # alerts that wait in this process; the others wait in the store
SLOWEST = timedelta(seconds=30)  # that a function may take
MEND = "`trigflow doctor` names what is wrong with them; give others with `trigflow connect`"
ASK = "`trigflow doctor` says what is wrong and what to do"
NEEDS: dict[str, str] = {
    "silent": "look whether the provider still sends; `trigflow doctor` asks it",
    "failing": "`trigflow subscriptions show {id}` tells each try; `trigflow doctor` says what to do",
    "disabled": "find out why it was switched off, switch it on there, then `trigflow apply`",
    "expired": "`trigflow subscriptions renew {id}` prolongs it",
}


class Kept(Health, Protocol):
    """Where alerts are kept."""

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment."""
        ...


class Webhook(Protocol):
    """Where alerts are posted."""

    async def post(self, alert: Alert, id: str) -> None:  # noqa: A002 - the header's word
        """Post it; raises where it was not taken."""
        ...


class Alerts:
    """Raises, tells and clears alerts of one open app."""

    def __init__(
        self, store: Kept, clock: Clock, sinks: Sequence[AlertSink] = (), webhook: Webhook | None = None
    ) -> None:
        """Tell the functions and, where there is one, the webhook."""
        self._store, self._clock, self._sinks, self._webhook = store, clock, sinks, webhook
        self._mine: deque[Alert] = deque(maxlen=MOST)
        self._wake = anyio.Event()

    async def raise_(self, subject: str, cause: str, action: str, about: str = "") -> None:
        """Tell that something is wrong, unless the same is open; returns before anybody was told."""
        now = self._ms()
        known = stable_cause(cause)
        if not await self._store.raise_alert(r.AlertRow(subject, known, now)):
            return
        logger.warning("%s: %s; %s", about or subject, cause, action)
        self._mine.append(Alert(subject, known, action, _moment(now), about))
        self._wake.set()

    async def clear(self, subject: str, *, but: str = "") -> None:
        """Close what is open of a subject, but for one cause: the next time it is told again."""
        await self._store.clear_alerts(subject, but=stable_cause(but))

    async def follow(self, subscription: r.Subscription) -> None:
        """Raise or clear what a subscription's state says: called after each look at it.

        Where its connection's credentials are to blame, that is told once for all who share them.
        """
        s, subject = subscription, f"subscription {subscription.id}"
        blame = blamed_in(s.connection, s.cause)
        await self._store.clear_unblamed(s.connection)
        if blame or s.state not in NEEDS:
            await self.clear(subject)
        if blame and blame != GIVEN_UP:
            await self.raise_(blamed_subject(s.connection), blame, MEND)
        if blame or s.state not in NEEDS:
            return
        cause = f"{s.state}: {s.cause}" if s.cause else s.state
        await self.clear(subject, but=cause)
        await self.raise_(subject, cause, NEEDS[s.state].format(id=s.id), f"{s.source} {s.key}")

    async def forget(self, subscription: r.Subscription) -> None:
        """Close what is open of a subscription that was removed: nobody looks at it any more."""
        await self.clear(f"subscription {subscription.id}")
        await self.clear(f"recovery of {subscription.id}")
        await self._store.clear_unblamed(subscription.connection)

    # --- telling

    async def keep_telling(self) -> None:
        """Tell what was raised, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_telling_ours)
            while True:
                await self.tell_left()
                await self._wait(LOOK)

    async def _keep_telling_ours(self) -> None:
        async with anyio.create_task_group() as group:
            while True:
                self._wake = anyio.Event()
                while self._mine:
                    alert = self._mine.popleft()
                    await self._call_functions(alert)
                    # A webhook that refuses must not keep the functions from hearing of the next one.
                    group.start_soon(self._post_until_told, alert)
                await self._wake.wait()

    async def _post_until_told(self, alert: Alert) -> None:
        for wait in WAITS:
            await self._wait(wait)
            if await self._post(alert):
                await self._store.alert_told(alert.subject, alert.cause, at=self._ms())
                return

    async def tell_left(self) -> int:
        """Tell what its own process did not; return how many were told. One process does it at a time."""
        now = self._ms()
        left = [
            row for row in await self._store.alerts() if row.told_at is None and row.since < now - HANDOVER
        ]
        if not left or not await self._store.claim_chore("alerts", now=now, until=now + int(LOOK * 500)):
            return 0
        return sum([await self._tell_left(row) for row in left])

    async def _tell_left(self, row: r.AlertRow) -> bool:
        alert = Alert(row.subject, row.cause, ASK, _moment(row.since))
        if self._webhook is None:  # else it is the webhook that refused: the functions have heard it
            await self._call_functions(alert)
        if not await self._post(alert):
            return False
        await self._store.alert_told(row.subject, row.cause, at=self._ms())
        return True

    async def _call_functions(self, alert: Alert) -> None:
        for sink in self._sinks:
            called = await attempt_async(partial(_call, sink, alert))
            if isinstance(called, Raised):
                log_failure(logger, "a function of on_alert raised", error=called.error)

    async def _post(self, alert: Alert) -> bool:
        if self._webhook is None:
            return True
        webhook = self._webhook
        posted = await attempt_async(lambda: webhook.post(alert, name_of(alert)))
        if isinstance(posted, Raised):
            log_failure(logger, "an alert was not taken by alert_url", error=posted.error)
        return not isinstance(posted, Raised)

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await self._clock.wait(anyio.Event(), until=self._clock.now() + seconds)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def name_of(alert: Alert) -> str:
    """Return an alert's id, the same each time it is told: by it a receiver knows a repeat."""
    since = int(alert.at.timestamp() * 1000)
    told = f"{alert.subject}\n{alert.cause}\n{since}".encode()
    return f"alert_{hashlib.sha256(told).hexdigest()[:24]}"


async def _call(sink: AlertSink, alert: Alert) -> None:
    """Call a function of the app: a plain one in a thread, and neither for ever."""
    with anyio.fail_after(SLOWEST.total_seconds()):
        if inspect.iscoroutinefunction(sink):
            await sink(alert)
            return
        told = await anyio.to_thread.run_sync(sink, alert, abandon_on_cancel=True)
        if inspect.isawaitable(told):
            await told


def told(alert: Alert) -> dict[str, object]:
    """Return an alert as values for programs."""
    values = attrs.asdict(alert)
    return {**values, "at": alert.at.isoformat().replace("+00:00", "Z")}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
