"""What health asks of a store; others import this through `trigflow.runtime.ports`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trigflow.runtime import records as r


class Health(Protocol):
    """Where it is kept how subscriptions do, and who was told."""

    async def note_activity(self, activities: Sequence[r.Activity]) -> None:
        """Add to subscriptions' activity, and to keys that they were used.

        One that was silent is active again, and one that was disabled before something came.
        """
        ...

    async def eldest(self, *, alive_since: int) -> int | None:
        """Tell when the eldest of the processes began that were alive since then; None where none was."""
        ...

    async def last_beat(self) -> int | None:
        """Tell when any process was last alive."""
        ...

    async def listened(self) -> r.Listened | None:
        """Tell since when and until when somebody took deliveries; None where nobody ever did."""
        ...

    async def begin_listening(self, *, at: int) -> None:
        """Say that somebody takes deliveries from now on, and that nobody did before."""
        ...

    async def log_recovery(self, recovery: r.Recovery) -> None:
        """Keep a stretch of coverage."""
        ...

    async def recoveries(self, subscription_id: str) -> Sequence[r.Recovery]:
        """Return a subscription's stretches, newest first."""
        ...

    async def received(self, subscription_id: str, *, since: int, until: int) -> int:
        """Count the verified deliveries of a time."""
        ...

    async def raise_alert(self, alert: r.AlertRow) -> bool:
        """Keep an alert; False where one of the same subject and cause is open."""
        ...

    async def alert_told(self, subject: str, cause: str, *, at: int) -> None:
        """Keep that an alert was told."""
        ...

    async def clear_alerts(self, subject: str, *, but: str = "") -> int:
        """Close a subject's open alerts, but for that of one cause; return how many."""
        ...

    async def clear_unblamed(self, connection: str) -> int:
        """Close what is open of a connection's credentials and no subscription blames any more.

        Who is blamed stands at the start of a subscription's cause (trigflow.core.alerts.blaming).
        Return how many were closed.
        """
        ...

    async def alerts(self) -> Sequence[r.AlertRow]:
        """Return the open ones, the oldest first."""
        ...

    async def log_audit(self, entry: r.AuditEntry) -> None:
        """Keep what somebody did."""
        ...

    async def audit(self, *, limit: int) -> Sequence[r.AuditEntry]:
        """Return what was done, newest first."""
        ...

    async def reseal(self, seal: Callable[[bytes], bytes], *, after: str, limit: int) -> str | None:
        """Replace up to `limit` sealed values by what `seal` makes of them; return where to go on, if at all.

        Keys, connections, sealed bodies, payloads, results: whatever a key ring sealed.
        """
        ...
