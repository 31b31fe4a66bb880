"""How subscriptions do, who was told, and who did what."""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.core.alerts import blamed_subject
from trigflow.core.ids import COUNTER_BITS
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, overwriting
from trigflow.stores.sqlite.database import Database

MOST_COUNTED = 100_000  # deliveries of a time that are looked at, the newest
ASIDE = 60_000  # milliseconds that a delivery's name may be away from the time that it came at
# Two statements: one that assigns the state writes every partial index anew.
_ACTIVITY = (
    "UPDATE subscriptions SET seen = seen + ?1, last_at = max(coalesce(last_at, ?3), ?3), "
    "usual_gap = max(?4, ?2 - coalesce(last_at, ?2), usual_gap * 9 / 10) WHERE id = ?5"
)
_SPOKE = (
    "UPDATE subscriptions SET state = 'active', cause = '' WHERE id = ? "
    "AND (state = 'silent' OR state = 'disabled' AND updated_at < ?)"
)
_IS_BLAMED = "SELECT 1 FROM alerts WHERE subject = ? LIMIT 1"
_CLEAR_UNBLAMED = (
    "DELETE FROM alerts WHERE subject = ?1 AND NOT EXISTS (SELECT 1 FROM subscriptions s "
    "WHERE s.state <> 'removed' AND s.connection = ?2 AND substr(s.cause, 1, length(alerts.subject) + "
    "length(alerts.cause) + 4) = alerts.subject || ': ' || alerts.cause || '; ')"
)
_LISTENED = "SELECT name, CAST(value AS INTEGER) FROM meta WHERE name IN ('listened since', 'listened until')"
_USED = "UPDATE keys SET used_at = ? WHERE endpoint_id = ? AND serial = ? AND used_at IS NULL"
_RECEIVED = (
    "SELECT count(*) FROM (SELECT subscription_id AS whose, received_at AS at, outcome FROM deliveries "
    "WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?) WHERE whose = ? AND at >= ? AND at < ? "
    "AND outcome IN ('accepted', 'duplicate', 'ignored')"
)


class HealthRows(Database):
    """Where it is kept how subscriptions do, and who was told."""

    async def note_activity(self, activities: Sequence[r.Activity]) -> None:
        """Add to subscriptions' activity, and to keys that they were used."""

        def work(connection: Connection) -> None:
            for a in activities:
                row = (a.count, a.first_at, a.last_at, a.gap, a.subscription_id)
                connection.execute(_ACTIVITY, row)
                connection.execute(_SPOKE, (a.subscription_id, a.last_at))
            with overwriting(connection):
                for a in activities:
                    for serial in a.key_serials:
                        connection.execute(_USED, (a.first_at, a.endpoint_id, serial))

        await self.write(work)

    async def eldest(self, *, alive_since: int) -> int | None:
        """Tell when the eldest of the processes began that were alive since then."""
        sql = "SELECT min(started_at) FROM instances WHERE beat_at >= ?"
        ((at,),) = await self.read(lambda connection: connection.execute(sql, (alive_since,)).fetchall())
        return None if at is None else int(at)

    async def last_beat(self) -> int | None:
        """Tell when any process was last alive."""
        sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'last beat'"
        rows = await self.read(lambda connection: connection.execute(sql).fetchall())
        return int(rows[0][0]) if rows else None

    async def listened(self) -> r.Listened | None:
        """Tell since when and until when somebody took deliveries."""
        rows = await self.read(lambda connection: connection.execute(_LISTENED).fetchall())
        found: dict[str, int] = dict(rows)
        if "listened until" not in found:
            return None
        return r.Listened(found["listened since"], found["listened until"])

    async def begin_listening(self, *, at: int) -> None:
        """Say that somebody takes deliveries from now on, and that nobody did before."""

        def work(connection: Connection) -> None:
            for name in ("listened since", "listened until"):
                connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (name, str(at)))

        await self.write(work)

    async def log_recovery(self, recovery: r.Recovery) -> None:
        """Keep a stretch of coverage."""
        v = recovery
        row = (
            v.id, v.subscription_id, v.since, v.until, v.received, v.recovered, v.lost, v.error, v.at,
        )  # fmt: skip
        sql = "INSERT INTO recoveries VALUES(?,?,?,?,?,?,?,?,?)"
        await self.write(lambda connection: connection.execute(sql, row).fetchall())

    async def recoveries(self, subscription_id: str) -> Sequence[r.Recovery]:
        """Return a subscription's stretches, newest first."""
        sql = "SELECT * FROM recoveries WHERE subscription_id = ? ORDER BY id DESC LIMIT 100"
        rows = await self.read(lambda connection: connection.execute(sql, (subscription_id,)).fetchall())
        return [r.Recovery(*row) for row in rows]

    async def received(self, subscription_id: str, *, since: int, until: int) -> int:
        """Count the verified deliveries from `since` until before `until`, of the newest MOST_COUNTED."""
        values = (_named(since - ASIDE), _named(until + ASIDE), MOST_COUNTED, subscription_id, since, until)
        ((count,),) = await self.read(lambda connection: connection.execute(_RECEIVED, values).fetchall())
        return int(count)

    async def raise_alert(self, alert: r.AlertRow) -> bool:
        """Keep an alert; False where one of the same subject and cause is open."""
        row = (alert.subject, alert.cause, alert.since, alert.told_at)

        def work(connection: Connection) -> bool:
            connection.execute("INSERT OR IGNORE INTO alerts VALUES(?,?,?,?)", row)
            return connection.changes() == 1

        return await self.write(work)

    async def alert_told(self, subject: str, cause: str, *, at: int) -> None:
        """Keep that an alert was told."""
        sql = "UPDATE alerts SET told_at = ? WHERE subject = ? AND cause = ?"
        await self.write(lambda connection: connection.execute(sql, (at, subject, cause)).fetchall())

    async def clear_alerts(self, subject: str, *, but: str = "") -> int:
        """Close a subject's open alerts, but for that of one cause."""

        def work(connection: Connection) -> int:
            sql = "DELETE FROM alerts WHERE subject = ?1 AND (?2 = '' OR cause <> ?2)"
            connection.execute(sql, (subject, but))
            return connection.changes()

        return await self.write(work)

    async def clear_unblamed(self, connection: str) -> int:
        """Close what is open of a connection's credentials and no subscription blames any more."""
        row = (blamed_subject(connection), connection)
        if not await self.read(lambda c: c.execute(_IS_BLAMED, row[:1]).fetchall()):
            return 0

        def work(writing: Connection) -> int:
            writing.execute(_CLEAR_UNBLAMED, row)
            return writing.changes()

        return await self.write(work)

    async def alerts(self) -> Sequence[r.AlertRow]:
        """Return the open ones, the oldest first."""
        sql = "SELECT subject, cause, since, told_at FROM alerts ORDER BY since, subject, cause"
        rows = await self.read(lambda connection: connection.execute(sql).fetchall())
        return [r.AlertRow(*row) for row in rows]

    async def log_audit(self, entry: r.AuditEntry) -> None:
        """Keep what somebody did."""
        row = (entry.at, entry.who, entry.what, entry.subject, entry.detail)
        sql = "INSERT INTO audit VALUES(?,?,?,?,?)"
        await self.write(lambda connection: connection.execute(sql, row).fetchall())

    async def audit(self, *, limit: int) -> Sequence[r.AuditEntry]:
        """Return what was done, newest first."""
        sql = "SELECT at, who, what, subject, detail FROM audit ORDER BY rowid DESC LIMIT ?"
        rows = await self.read(lambda connection: connection.execute(sql, (limit,)).fetchall())
        return [r.AuditEntry(*row) for row in rows]


def _named(at: int) -> str:
    """Return what the names of deliveries from a moment on (unix milliseconds) are not less than."""
    return f"dlv_{max(0, at) << COUNTER_BITS:016x}"
