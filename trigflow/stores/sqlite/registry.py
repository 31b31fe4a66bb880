"""Endpoints, subscriptions, their keys, and what processes want."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

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
_ENDPOINT = "SELECT id, token, source, state, facts FROM endpoints WHERE state <> 'removed'"
_KEYS = "SELECT serial, sealed, valid_until FROM keys WHERE endpoint_id = ? ORDER BY serial DESC"
_SELECT = f"SELECT {_COLUMNS} FROM subscriptions"  # noqa: S608 - our own names
_SUBSCRIPTION = f"{_SELECT} WHERE state <> 'removed'"
# The conditions are those of the indexes, word for word: else SQLite does not use them.
_FIRST = f"{_SUBSCRIPTION} AND endpoint_id = ? ORDER BY id LIMIT 1"
_TAKES = f"{_SELECT} WHERE state NOT IN ('disabled', 'removed')"
_FIRST_RECEIVING = f"{_TAKES} AND endpoint_id = ? ORDER BY id LIMIT 1"
_ADDRESSED = f"{_TAKES} AND endpoint_id = ? AND account = ? ORDER BY id"
_IDENTIFIED = f"{_SUBSCRIPTION} AND source = ? AND key = ? AND connection = ?"
_WANT = "INSERT OR REPLACE INTO wants VALUES(?,?,?,?,?,?,?)"


class RegistryRows(Database):
    """Where endpoints, subscriptions and wants are kept."""

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        """Find endpoints by the random parts of their URLs."""

        def work(connection: Connection) -> Mapping[str, r.Endpoint]:
            rows = ((token, _row_of(connection, f"{_ENDPOINT} AND token = ?", token)) for token in tokens)
            return {
                token: _endpoint(connection, row, _first(connection, row[0])) for token, row in rows if row
            }

        return await self.read(work)

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        """Find the subscriptions that take deliveries, by endpoint id and account."""

        def work(connection: Connection) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
            rows = ((one, connection.execute(_ADDRESSED, one).fetchall()) for one in addresses)
            return {one: [_subscription(row) for row in found] for one, found in rows if found}

        return await self.read(work)

    async def endpoints_for(
        self, identities: Collection[tuple[str, str, str]]
    ) -> Mapping[tuple[str, str, str], r.Endpoint]:
        """Find subscriptions by what they are for."""

        def work(connection: Connection) -> Mapping[tuple[str, str, str], r.Endpoint]:
            found: dict[tuple[str, str, str], r.Endpoint] = {}
            for identity in identities:
                row = _row_of(connection, _IDENTIFIED, *identity)
                endpoint = row and _row_of(connection, f"{_ENDPOINT} AND id = ?", row[1])
                if row and endpoint:
                    found[identity] = _endpoint(connection, endpoint, [_subscription(row)])
            return found

        return await self.read(work)

    async def subscription(self, subscription_id: str) -> r.Subscription | None:
        """Return a subscription that is not removed."""
        sql = f"{_SUBSCRIPTION} AND id = ?"
        row = await self.read(lambda connection: _row_of(connection, sql, subscription_id))
        return _subscription(row) if row else None

    async def token_of(self, endpoint_id: str) -> str | None:
        """Return the random part of an endpoint's URL."""
        sql = f"{_ENDPOINT} AND id = ?"
        row = await self.read(lambda connection: _row_of(connection, sql, endpoint_id))
        return row[1] if row else None

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed, with all of their subscriptions."""

        def work(connection: Connection) -> Sequence[r.Endpoint]:
            behind: defaultdict[str, list[r.Subscription]] = defaultdict(list)
            for row in connection.execute(f"{_SUBSCRIPTION} ORDER BY id"):
                behind[row[1]].append(_subscription(row))
            rows = connection.execute(f"{_ENDPOINT} ORDER BY id").fetchall()
            return [_endpoint(connection, row, behind[row[0]]) for row in rows]

        return await self.read(work)

    async def create_subscription(self, endpoint: r.Endpoint, subscription: r.Subscription) -> r.Subscription:
        """Keep a subscription with its endpoint, unless one of the same identity exists."""

        def work(connection: Connection) -> r.Subscription:
            kept = _row_of(connection, _IDENTIFIED, *subscription.identity)
            if kept:
                return _subscription(kept)
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
        sql = "UPDATE subscriptions SET lease_until = ? WHERE endpoint_id = ? AND state <> 'removed'"
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


def _row_of(connection: Connection, sql: str, *values: str) -> Row | None:
    rows = connection.execute(sql, values).fetchall()
    return rows[0] if rows else None


def _endpoint(connection: Connection, row: Row, subscriptions: Iterable[r.Subscription]) -> r.Endpoint:
    id_, token, source, state, facts = row
    keys = tuple(r.StoredKey(*key) for key in connection.execute(_KEYS, (id_,)))
    return r.Endpoint(id_, token, source, state, facts.encode(), keys, tuple(subscriptions))


def _first(connection: Connection, endpoint_id: str) -> list[r.Subscription]:
    """Return an endpoint's first subscription, and the first that takes deliveries if that is another."""
    row = _row_of(connection, _FIRST, endpoint_id)
    if row is None:
        return []
    first = _subscription(row)
    if first.state not in r.TAKES_NOTHING:
        return [first]
    receiving = _row_of(connection, _FIRST_RECEIVING, endpoint_id)
    return [first] if receiving is None else [first, _subscription(receiving)]


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
