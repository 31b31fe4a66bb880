"""Endpoints and subscriptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.registration.merging import merged
from trigflow.stores.sqlite.connection import Connection, Row, overwriting
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.keys import add_key, replace_keys
from trigflow.stores.sqlite.subscriptions import (
    ALSO_ASKED,
    ANY_ENDPOINT,
    ENDPOINT,
    IDENTIFIED,
    SUBSCRIPTION,
    endpoint,
    insert_pair,
    look_soon,
    row_of,
    subscription,
    text,
    text_of,
    with_endpoints,
)

RELEASED = 500  # held runs that are let go in one transaction
_UPDATE = (
    "UPDATE subscriptions SET params = ?, data = ?, registered = ?, coverage = ?, state = ?, cause = ?, "
    "account = ?, lease_until = ?, leased_at = ?, failures = ?, next_at = ?, asked = ?, updated_at = ? "
    "WHERE id = ?"
)
_ACTIVATE = "UPDATE endpoints SET state = 'active' WHERE id = ? AND state = 'pending'"
_OLD_WEBHOOK = (
    "UPDATE keys SET data = ?1 WHERE endpoint_id = ?2 "
    "AND serial = (SELECT max(serial) FROM keys WHERE endpoint_id = ?2 AND serial < ?3)"
)
# The conditions are those of the indexes, word for word: else SQLite does not use them.
_FIRST = f"{SUBSCRIPTION} AND endpoint_id = ? ORDER BY id LIMIT 1"
_ADDRESSED = f"{SUBSCRIPTION} AND endpoint_id = ? AND account = ? ORDER BY id"
# ?6: where a process was that is gone; its claim ends with it.
_CLAIM = (
    "UPDATE subscriptions SET claimed_by = ?1, claimed_until = ?2, claimed_in = ?3 WHERE id = ?4 "
    "AND (claimed_by IS NULL OR claimed_by = ?1 OR claimed_until < ?5 OR claimed_in = ?6 "
    "OR claimed_until > ?2 + (?2 - ?5))"  # for longer than any does: the clock was set back since
)
_CLAIMED_IN = "SELECT claimed_in FROM subscriptions WHERE id = ? AND claimed_in IS NOT NULL"
# One step of an index for each source, however many endpoints it has.
_SOURCES = (
    "WITH RECURSIVE sources(one) AS (SELECT min(source) FROM endpoints "
    "UNION ALL SELECT (SELECT min(source) FROM endpoints WHERE source > one) "
    "FROM sources WHERE one IS NOT NULL) SELECT one FROM sources WHERE one IS NOT NULL"
)
_HELD = (
    "SELECT queue.run_id FROM queue JOIN runs ON runs.id = queue.run_id "
    "JOIN events ON events.id = runs.event WHERE queue.held = 1 AND events.subscription_id = ?"
)
_REMOVE = "UPDATE subscriptions SET state = 'removed', updated_at = ? WHERE id = ? AND state <> 'removed'"
_BEGIN_ANEW = (
    "UPDATE subscriptions SET state = 'pending', cause = 'not registered yet', data = NULL, "
    "registered = '[]', lease_until = NULL, leased_at = NULL, failures = 0, asked = '', "
    "next_at = min(next_at, 0) - 1, updated_at = ? WHERE id = ? AND state <> 'removed' AND EXISTS "
    "(SELECT 1 FROM subscribers s WHERE s.source = subscriptions.source "
    "AND s.source_key = subscriptions.key AND s.connection = subscriptions.connection)"
)
_REMOVE_ENDPOINT = (
    "UPDATE endpoints SET state = 'removed', removed_at = ?1 WHERE state <> 'removed' "
    "AND id = (SELECT endpoint_id FROM subscriptions WHERE id = ?2) AND NOT EXISTS "
    "(SELECT 1 FROM subscriptions WHERE endpoint_id = endpoints.id AND state <> 'removed')"
)


class RegistryRows(Database):
    """Where endpoints and subscriptions are kept."""

    async def endpoints_at(self, tokens: Collection[str]) -> Mapping[str, r.Endpoint]:
        """Find endpoints by the random parts of their URLs, removed ones too."""

        def work(connection: Connection) -> Mapping[str, r.Endpoint]:
            rows = ((token, row_of(connection, f"{ANY_ENDPOINT} WHERE token = ?", token)) for token in tokens)
            return {
                token: endpoint(connection, row, _first(connection, row[0])) for token, row in rows if row
            }

        return await self.read(work)

    async def receiving(
        self, addresses: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
        """Find the subscriptions that take deliveries, by endpoint id and account."""

        def work(connection: Connection) -> Mapping[tuple[str, str], Sequence[r.Subscription]]:
            rows = ((one, connection.execute(_ADDRESSED, one).fetchall()) for one in addresses)
            return {one: [subscription(row) for row in found] for one, found in rows if found}

        return await self.read(work)

    async def endpoints_for(self, identities: Collection[Identity]) -> Mapping[Identity, r.Endpoint]:
        """Find subscriptions by what they are for."""

        def work(connection: Connection) -> Mapping[Identity, r.Endpoint]:
            rows = (row_of(connection, IDENTIFIED, *identity) for identity in identities)
            found = with_endpoints(connection, (row for row in rows if row))
            return {one.subscriptions[0].identity: one for one in found}

        return await self.read(work)

    async def subscription(self, subscription_id: str) -> r.Subscription | None:
        """Return a subscription that is not removed."""
        sql = f"{SUBSCRIPTION} AND id = ?"
        row = await self.read(lambda connection: row_of(connection, sql, subscription_id))
        return subscription(row) if row else None

    async def token_of(self, endpoint_id: str) -> str | None:
        """Return the random part of an endpoint's URL."""
        sql = f"{ENDPOINT} AND id = ?"
        row = await self.read(lambda connection: row_of(connection, sql, endpoint_id))
        return row[1] if row else None

    async def endpoints(self) -> Sequence[r.Endpoint]:
        """Return all endpoints that are not removed, with all of their subscriptions."""

        def work(connection: Connection) -> Sequence[r.Endpoint]:
            behind: defaultdict[str, list[r.Subscription]] = defaultdict(list)
            for row in connection.execute(f"{SUBSCRIPTION} ORDER BY id"):
                behind[row[1]].append(subscription(row))
            rows = connection.execute(f"{ENDPOINT} ORDER BY id").fetchall()
            return [endpoint(connection, row, behind[row[0]]) for row in rows]

        return await self.read(work)

    async def look_soon(self, identities: Collection[Identity]) -> None:
        """Have subscriptions looked at at once."""

        def work(connection: Connection) -> None:
            for identity in identities:
                look_soon(connection, identity)

        await self.write(work)

    async def sources(self) -> Collection[str]:
        """Return the ids of the sources that have an endpoint."""
        rows = await self.read(lambda connection: connection.execute(_SOURCES).fetchall())
        return [source for (source,) in rows]

    async def create_subscriptions(self, pairs: Sequence[tuple[r.Endpoint, r.Subscription]]) -> None:
        """Keep subscriptions with their endpoints, but none of an identity that is kept."""

        def work(connection: Connection) -> None:
            with overwriting(connection):
                for pair in pairs:
                    insert_pair(connection, *pair)

        await self.write(work)

    async def save_subscription(
        self,
        subscription: r.Subscription,
        *,
        was: r.Subscription | None = None,
        sealed_key: bytes | None = None,
    ) -> None:
        """Replace a subscription's row but for metadata and activity; with a key, make it the only one."""

        def work(connection: Connection) -> None:
            s = subscription
            if _save(connection, s, was) and sealed_key is not None:
                replace_keys(connection, s.endpoint_id, sealed_key, s.updated_at)

        await self.write(work)

    async def save_rotated(
        self,
        subscription: r.Subscription,
        sealed_key: bytes,
        *,
        was: r.Subscription | None = None,
        old_webhook: bytes | None,
        at: int,
    ) -> None:
        """Replace a row as `save_subscription` does and add a newer key, at once."""

        def work(connection: Connection) -> None:
            if not _save(connection, subscription, was):
                return
            serial = add_key(connection, subscription.endpoint_id, sealed_key, at)
            if old_webhook is not None:
                row = (old_webhook.decode(), subscription.endpoint_id, serial)
                with overwriting(connection):
                    connection.execute(_OLD_WEBHOOK, row)

        await self.write(work)

    async def ask(self, subscription_id: str, what: str) -> None:
        """Have something done for a subscription at once."""
        sql = (
            f"UPDATE subscriptions SET asked = {ALSO_ASKED}, next_at = min(next_at, 0) - 1 "  # noqa: S608 - our own
            "WHERE id = ?1 AND state <> 'removed'"
        )
        row = (subscription_id, None, what)
        await self.write(lambda connection: connection.execute(sql, row).fetchall())

    async def look_again(self, subscription_id: str, *, at: int, was: int) -> None:
        """Say when a subscription is looked at next, unless `next_at` is not what it was."""
        sql = "UPDATE subscriptions SET next_at = ? WHERE id = ? AND next_at = ? AND state <> 'removed'"
        await self.write(lambda connection: connection.execute(sql, (at, subscription_id, was)).fetchall())

    async def set_lease(self, endpoint_id: str, *, at: int, until: int) -> None:
        """Keep how long a provider keeps an endpoint's subscriptions."""
        sql = (
            "UPDATE subscriptions SET leased_at = ?, lease_until = ? "
            "WHERE endpoint_id = ? AND state <> 'removed'"
        )
        await self.write(lambda connection: connection.execute(sql, (at, until, endpoint_id)).fetchall())

    async def set_facts(self, endpoint_id: str, facts: bytes) -> None:
        """Keep what handshakes at an endpoint compare with."""
        row = (facts.decode(), endpoint_id)
        sql = "UPDATE endpoints SET facts = ? WHERE id = ?"
        await self.write(lambda connection: connection.execute(sql, row).fetchall())

    async def remove_subscription(self, subscription_id: str, *, at: int) -> None:
        """Mark a subscription removed unless somebody subscribed; its endpoint, too, if it was the last."""

        def work(connection: Connection) -> None:
            connection.execute(_BEGIN_ANEW, (at, subscription_id))
            if connection.changes():
                return
            connection.execute(_REMOVE, (at, subscription_id))
            connection.execute(_REMOVE_ENDPOINT, (at, subscription_id))

        await self.write(work)

    async def release_held(self, subscription_id: str) -> int:
        """Let the held runs of a subscription's events be taken, a few hundred at a time."""
        held = await self.read(lambda connection: connection.execute(_HELD, (subscription_id,)).fetchall())
        released = 0
        for start in range(0, len(held), RELEASED):
            released += await self.write(partial(_release, held[start : start + RELEASED]))
        return released

    async def claim_subscription(self, subscription_id: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to register."""
        claim = (owner, until, self._presence.place, subscription_id, now)

        def work(connection: Connection) -> bool:
            connection.execute(_CLAIM, (*claim, None))
            if connection.changes() == 1:
                return True
            held = row_of(connection, _CLAIMED_IN, subscription_id)
            if held is None or not self._presence.is_gone(held[0]):
                return False
            connection.execute(_CLAIM, (*claim, held[0]))
            return connection.changes() == 1

        return await self.write(work)

    async def release_subscription(self, subscription_id: str, owner: str) -> None:
        """Give the right back."""
        sql = "UPDATE subscriptions SET claimed_by = NULL WHERE id = ? AND claimed_by = ?"
        await self.write(lambda connection: connection.execute(sql, (subscription_id, owner)).fetchall())

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


def _first(connection: Connection, endpoint_id: str) -> list[r.Subscription]:
    """Return an endpoint's first subscription that is not removed."""
    row = row_of(connection, _FIRST, endpoint_id)
    return [] if row is None else [subscription(row)]


def _save(connection: Connection, s: r.Subscription, was: r.Subscription | None) -> bool:
    """Write a row unless it is removed; tell whether it was written."""
    there = row_of(connection, f"{SUBSCRIPTION} AND id = ?", s.id)
    if there is None:
        return False
    if was is not None:
        s = merged(subscription(there), was, s)
    row = (
        s.params.decode(), text(s.data), text_of(s.registered), s.coverage, s.state, s.cause,
        s.account, s.lease_until, s.leased_at, s.failures, s.next_at, s.asked, s.updated_at, s.id,
    )  # fmt: skip
    connection.execute(_UPDATE, row)
    if s.state == "active":
        connection.execute(_ACTIVATE, (s.endpoint_id,))
    return True


def _release(held: Sequence[Row], connection: Connection) -> int:
    released = 0
    for name in held:
        connection.execute("UPDATE queue SET held = 0 WHERE run_id = ? AND held = 1", name)
        released += connection.changes()
    return released
