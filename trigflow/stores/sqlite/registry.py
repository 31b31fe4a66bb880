"""Endpoints, subscriptions, their keys, and what processes want."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, Value
from trigflow.stores.sqlite.database import Database

_COLUMNS = (
    "id, endpoint_id, source, key, connection, params, data, registered, coverage, state, cause, account, "
    "metadata, lease_until, failures, next_at, created_at, updated_at"
)
_INSERT = f"INSERT INTO subscriptions({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_UPDATE = (
    "UPDATE subscriptions SET params = ?, data = ?, registered = ?, coverage = ?, state = ?, cause = ?, "
    "account = ?, lease_until = ?, failures = ?, next_at = ?, updated_at = ? WHERE id = ?"
)
_ENDPOINT = "SELECT id, token, source, state, facts FROM endpoints"
_WANT = "INSERT OR REPLACE INTO wants VALUES(?,?,?,?,?,?,?)"


class RegistryRows(Database):
    """Where endpoints, subscriptions and wants are kept."""

    async def endpoint(self, token: str) -> r.Endpoint | None:
        """Find an endpoint by the random part of its URL."""
        found = await self.read(
            lambda connection: _endpoints(connection, "WHERE token = ? AND state <> 'removed'", (token,))
        )
        return found[0] if found else None

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed."""
        return await self.read(
            lambda connection: _endpoints(connection, "WHERE state <> 'removed' ORDER BY id", ())
        )

    async def create_subscription(self, endpoint: r.Endpoint, subscription: r.Subscription) -> r.Subscription:
        """Keep a subscription with its endpoint, unless one of the same identity exists."""

        def work(connection: Connection) -> r.Subscription:
            kept = _subscriptions(
                connection,
                "WHERE source = ? AND key = ? AND connection = ? AND state <> 'removed'",
                subscription.identity,
            )
            if kept:
                return kept[0]
            _insert_endpoint(connection, endpoint, subscription.created_at)
            connection.execute(_INSERT, _row(subscription))
            return subscription

        return await self.write(work)

    async def save_subscription(
        self, subscription: r.Subscription, *, sealed_key: bytes | None = None
    ) -> None:
        """Replace a subscription's row; with a key, make that the endpoint's current one."""

        def work(connection: Connection) -> None:
            s = subscription
            row = (
                s.params.decode(), _text(s.data), _names(s.registered), s.coverage, s.state, s.cause,
                s.account, s.lease_until, s.failures, s.next_at, s.updated_at, s.id,
            )  # fmt: skip
            connection.execute(_UPDATE, row)
            if sealed_key is not None:
                connection.execute("DELETE FROM keys WHERE endpoint_id = ?", (s.endpoint_id,))
                connection.execute(
                    "INSERT INTO keys VALUES(?,1,?,?,NULL)", (s.endpoint_id, sealed_key, s.updated_at)
                )
            if s.state == "active":
                connection.execute("UPDATE endpoints SET state = 'active' WHERE id = ?", (s.endpoint_id,))

        await self.write(work)

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake, once and only while pending."""

        def work(connection: Connection) -> bool:
            connection.execute(
                "INSERT INTO keys SELECT ?1, 1, ?2, ?3, NULL "
                "WHERE EXISTS(SELECT 1 FROM endpoints WHERE id = ?1 AND state = 'pending') "
                "AND NOT EXISTS(SELECT 1 FROM keys WHERE endpoint_id = ?1)",
                (endpoint_id, sealed, at),
            )
            return connection.changes() == 1

        return await self.write(work)

    async def set_lease(self, endpoint_id: str, *, until: int) -> None:
        """Keep how long a provider keeps an endpoint's subscriptions."""
        sql = "UPDATE subscriptions SET lease_until = ? WHERE endpoint_id = ?"
        await self.write(lambda connection: connection.execute(sql, (until, endpoint_id)).fetchall())

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed, and its endpoint if it was the last."""

        def work(connection: Connection) -> None:
            connection.execute(
                "UPDATE subscriptions SET state = 'removed', updated_at = ? WHERE id = ?",
                (at, subscription_id),
            )
            connection.execute(
                "UPDATE endpoints SET state = 'removed', removed_at = ?1 WHERE id = "
                "(SELECT endpoint_id FROM subscriptions WHERE id = ?2) "
                "AND NOT EXISTS (SELECT 1 FROM subscriptions "
                "WHERE endpoint_id = endpoints.id AND state <> 'removed')",
                (at, subscription_id),
            )

        await self.write(work)

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register."""

        def work(connection: Connection) -> bool:
            connection.execute(
                "UPDATE subscriptions SET claimed_by = ?, claimed_until = ? WHERE id = ? "
                "AND (claimed_by IS NULL OR claimed_by = ? OR claimed_until < ?)",
                (owner, until, subscription_id, owner, now),
            )
            return connection.changes() == 1

        return await self.write(work)

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        sql = "UPDATE subscriptions SET claimed_by = NULL WHERE id = ? AND claimed_by = ?"
        await self.write(lambda connection: connection.execute(sql, (subscription_id, owner)).fetchall())

    async def put_wants(self, owner: str, wants: Sequence[r.Want], *, at: int) -> None:
        """Replace what one process wants."""

        def work(connection: Connection) -> None:
            connection.execute("DELETE FROM wants WHERE owner = ?", (owner,))
            for want in wants:
                row = (owner, *want.identity, want.params.decode(), _names(want.events), at)
                connection.execute(_WANT, row)

        await self.write(work)

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        sql = (
            "SELECT source, key, connection, params, events FROM wants WHERE at >= ? "
            "ORDER BY source, key, connection, at, owner"
        )
        rows = await self.read(lambda connection: connection.execute(sql, (since,)).fetchall())
        return [
            r.Want(source, key, connection, params.encode(), _tuple(events))
            for source, key, connection, params, events in rows
        ]

    async def log_registration(self, attempt: r.RegistrationAttempt) -> None:
        """Keep an attempt at registering."""
        a = attempt
        row = (a.id, a.subscription_id, a.action, a.reason, a.outcome, a.error, a.at, a.took_ms)
        sql = "INSERT INTO registrations VALUES(?,?,?,?,?,?,?,?)"
        await self.write(lambda connection: connection.execute(sql, row).fetchall())

    async def registrations(self, subscription_id: str) -> Sequence[r.RegistrationAttempt]:
        """Return a subscription's attempts, newest first."""
        sql = "SELECT * FROM registrations WHERE subscription_id = ? ORDER BY id DESC LIMIT 100"
        rows = await self.read(lambda connection: connection.execute(sql, (subscription_id,)).fetchall())
        return [r.RegistrationAttempt(*row) for row in rows]


def _endpoints(connection: Connection, where: str, values: tuple[str, ...]) -> list[r.Endpoint]:
    found: list[r.Endpoint] = []
    for id_, token, source, state, facts in connection.execute(f"{_ENDPOINT} {where}", values).fetchall():
        keys = connection.execute(
            "SELECT serial, sealed, valid_until FROM keys WHERE endpoint_id = ? ORDER BY serial DESC", (id_,)
        )
        kept = tuple(r.StoredKey(*row) for row in keys)
        subscriptions = _subscriptions(connection, "WHERE endpoint_id = ? AND state <> 'removed'", (id_,))
        found.append(r.Endpoint(id_, token, source, state, facts.encode(), kept, tuple(subscriptions)))
    return found


def _insert_endpoint(connection: Connection, endpoint: r.Endpoint, at: int) -> None:
    e = endpoint
    connection.execute(
        "INSERT OR IGNORE INTO endpoints VALUES(?,?,?,?,?,?,NULL)",
        (e.id, e.token, e.source, e.state, e.facts.decode(), at),
    )
    for key in e.keys:
        connection.execute(
            "INSERT OR IGNORE INTO keys VALUES(?,?,?,?,?)",
            (e.id, key.serial, key.sealed, at, key.valid_until),
        )


def _subscriptions(connection: Connection, where: str, values: tuple[str, ...]) -> list[r.Subscription]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM subscriptions {where} ORDER BY id", values)  # noqa: S608
    return [_subscription(row) for row in rows]


def _subscription(row: Row) -> r.Subscription:
    (id_, endpoint_id, source, key, connection, params, data, registered, coverage, state, cause, account,
     metadata, *times) = row  # fmt: skip
    return r.Subscription(
        id_, endpoint_id, source, key, connection, params.encode(), _encoded(data), _tuple(registered),
        coverage, state, cause, account, _encoded(metadata), *times,
    )  # fmt: skip


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _row(s: r.Subscription) -> tuple[Value, ...]:
    return (
        s.id, s.endpoint_id, s.source, s.key, s.connection, s.params.decode(), _text(s.data),
        _names(s.registered), s.coverage, s.state, s.cause, s.account, _text(s.metadata), s.lease_until,
        s.failures, s.next_at, s.created_at, s.updated_at,
    )  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _names(names: Sequence[str]) -> str:
    return msgspec.json.encode(list(names)).decode()


def _tuple(text: str) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text, type=list[str]))
