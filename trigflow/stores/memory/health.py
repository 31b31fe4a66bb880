"""How subscriptions do, who was told, and who did what; and everything sealed, sealed anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import msgspec

from trigflow.core.alerts import blamed_subject
from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables

VERIFIED: tuple[r.DeliveryOutcome, ...] = ("accepted", "duplicate", "ignored")


class HealthTables(Tables):
    """Where it is kept how subscriptions do, and who was told."""

    async def note_activity(self, activities: Sequence[r.Activity]) -> None:
        """Add to subscriptions' activity, and to keys that they were used."""
        for a in activities:
            kept = self._subscriptions.get(a.subscription_id)
            if kept is not None:
                self._subscriptions[kept.id] = _after(kept, a)
            endpoint = self._endpoints.get(a.endpoint_id)
            if endpoint is not None:
                keys = (
                    attrs.evolve(key, used_at=a.first_at)
                    if key.serial in a.key_serials and key.used_at is None
                    else key
                    for key in endpoint.keys
                )
                self._endpoints[endpoint.id] = attrs.evolve(endpoint, keys=tuple(keys))

    async def eldest(self, *, alive_since: int) -> int | None:
        """Tell when the eldest of the processes began that were alive since then."""
        alive = (owner for owner, beat in self._beats.items() if beat >= alive_since)
        return min((self._started[owner] for owner in alive), default=None)

    async def last_beat(self) -> int | None:
        """Tell when any process was last alive."""
        return self._last_beat

    async def listened(self) -> r.Listened | None:
        """Tell since when and until when somebody took deliveries."""
        return self._listened

    async def begin_listening(self, *, at: int) -> None:
        """Say that somebody takes deliveries from now on, and that nobody did before."""
        self._listened = r.Listened(at, at)

    async def log_recovery(self, recovery: r.Recovery) -> None:
        """Keep a stretch of coverage."""
        self._recoveries.append(recovery)

    async def recoveries(self, subscription_id: str) -> Sequence[r.Recovery]:
        """Return a subscription's stretches, newest first."""
        return [one for one in reversed(self._recoveries) if one.subscription_id == subscription_id][:100]

    async def received(self, subscription_id: str, *, since: int, until: int) -> int:
        """Count the verified deliveries from `since` until before `until`."""
        return sum(
            d.subscription_id == subscription_id and since <= d.received_at < until and d.outcome in VERIFIED
            for d in self._deliveries.values()
        )

    async def raise_alert(self, alert: r.AlertRow) -> bool:
        """Keep an alert; False where one of the same subject and cause is open."""
        name = (alert.subject, alert.cause)
        return self._alerts.setdefault(name, alert) is alert

    async def alert_told(self, subject: str, cause: str, *, at: int) -> None:
        """Keep that an alert was told."""
        alert = self._alerts.get((subject, cause))
        if alert is not None:
            self._alerts[subject, cause] = msgspec.structs.replace(alert, told_at=at)

    async def clear_alerts(self, subject: str, *, but: str = "") -> int:
        """Close a subject's open alerts, but for that of one cause."""
        closed = [one for one in self._alerts if one[0] == subject and (not but or one[1] != but)]
        for name in closed:
            del self._alerts[name]
        return len(closed)

    async def clear_unblamed(self, connection: str) -> int:
        """Close what is open of a connection's credentials and no subscription blames any more."""
        subject = blamed_subject(connection)
        blamed = [self._subscriptions[id_].cause for id_ in self._live
                  if self._subscriptions[id_].connection == connection]  # fmt: skip
        closed = [
            (of, cause)
            for of, cause in self._alerts
            if of == subject and not any(one.startswith(f"{of}: {cause}; ") for one in blamed)
        ]
        for name in closed:
            del self._alerts[name]
        return len(closed)

    async def alerts(self) -> Sequence[r.AlertRow]:
        """Return the open ones, the oldest first."""
        return sorted(self._alerts.values(), key=lambda one: (one.since, one.subject, one.cause))

    async def log_audit(self, entry: r.AuditEntry) -> None:
        """Keep what somebody did."""
        self._audit[max(self._audit, default=0) + 1] = entry

    async def audit(self, *, limit: int) -> Sequence[r.AuditEntry]:
        """Return what was done, newest first."""
        return [self._audit[number] for number in sorted(self._audit, reverse=True)[:limit]]

    async def reseal(self, seal: Callable[[bytes], bytes], *, after: str, limit: int) -> str | None:
        """Replace all sealed values at once: there are few."""
        endpoints = {
            id_: attrs.evolve(one, keys=tuple(attrs.evolve(key, sealed=seal(key.sealed)) for key in one.keys))
            for id_, one in self._endpoints.items()
        }
        connections = {
            ref: attrs.evolve(one, sealed=seal(one.sealed)) for ref, one in self._connections.items()
        }
        deliveries = {
            id_: msgspec.structs.replace(one, body=seal(one.body))
            for id_, one in self._deliveries.items()
            if one.sealed and one.body and id_ not in self._bodiless
        }
        events = {
            id_: attrs.evolve(one, payload=seal(one.payload))
            for id_, one in self._events.items()
            if one.sealed and one.payload
        }
        self._endpoints |= endpoints
        self._connections |= connections
        self._deliveries |= deliveries
        self._events |= events
        return None


def _after(kept: r.Subscription, a: r.Activity) -> r.Subscription:
    """Return a subscription with what was noted of it."""
    quiet = 0 if kept.last_at is None else a.first_at - kept.last_at
    spoke = attrs.evolve(
        kept,
        seen=kept.seen + a.count,
        usual_gap=max(a.gap, quiet, kept.usual_gap * 9 // 10),
        last_at=a.last_at if kept.last_at is None else max(kept.last_at, a.last_at),
    )
    speaks = kept.state == "silent" or (kept.state == "disabled" and kept.updated_at < a.last_at)
    return attrs.evolve(spoke, state="active", cause="") if speaks else spoke
