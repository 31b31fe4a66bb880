"""Endpoints, keys and subscriptions: from rows to values, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import msgspec

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.sqlite.connection import Connection, Row, Value

_COLUMNS = (
    "id, endpoint_id, source, key, connection, params, data, registered, coverage, state, cause, account, "
    "metadata, lease_until, failures, next_at, created_at, updated_at, leased_at, asked, last_at, seen, "
    "usual_gap"
)
_INSERT = f"INSERT INTO subscriptions({_COLUMNS}) VALUES({', '.join('?' * 23)})"
_KEYS = (
    "SELECT serial, sealed, valid_until, created_at, used_at, data FROM keys WHERE endpoint_id = ? "
    "ORDER BY serial DESC"
)
# The conditions are those of the indexes, word for word: else SQLite does not use them.
ANY_ENDPOINT = "SELECT id, token, source, state, facts, shared_key, removed_at FROM endpoints"
ENDPOINT = f"{ANY_ENDPOINT} WHERE state <> 'removed'"
_SHARED = f"{ENDPOINT} AND shared_key IS NOT NULL AND source = ? AND shared_key = ?"
SELECT = f"SELECT {_COLUMNS} FROM subscriptions"  # noqa: S608 - our own names
SUBSCRIPTION = f"{SELECT} WHERE state <> 'removed'"
IDENTIFIED = f"{SUBSCRIPTION} AND source = ? AND key = ? AND connection = ?"
# The words asked for with another one, ?3, that may be there or be empty.
ALSO_ASKED = (
    "CASE WHEN instr(' ' || asked || ' ', ' ' || ?3 || ' ') THEN asked ELSE trim(asked || ' ' || ?3) END"
)
_LOOK_SOON = (
    "UPDATE subscriptions SET next_at = min(next_at, 0) - 1 "
    "WHERE state <> 'removed' AND source = ? AND key = ? AND connection = ?"
)


def row_of(connection: Connection, sql: str, *values: Value) -> Row | None:
    """Return a statement's first row."""
    rows = connection.execute(sql, values).fetchall()
    return rows[0] if rows else None


def endpoint(connection: Connection, row: Row, subscriptions: Iterable[r.Subscription] = ()) -> r.Endpoint:
    """Make an endpoint of its row and its keys."""
    id_, token, source, state, facts, shared_key, removed_at = row
    keys = tuple(_key(key) for key in connection.execute(_KEYS, (id_,)))
    return r.Endpoint(
        id_, token, source, state, facts.encode(), keys, tuple(subscriptions), shared_key, removed_at
    )


def _key(row: Row) -> r.StoredKey:
    serial, sealed, valid_until, created_at, used_at, data = row
    return r.StoredKey(serial, sealed, valid_until, created_at, used_at, encoded(data))


def with_endpoints(connection: Connection, rows: Iterable[Row]) -> list[r.Endpoint]:
    """Return the endpoint of each subscription, with that one alone; a shared one is read once."""
    known: dict[str, r.Endpoint | None] = {}
    found: list[r.Endpoint] = []
    for row in rows:
        one = subscription(row)
        if one.endpoint_id not in known:
            there = row_of(connection, f"{ENDPOINT} AND id = ?", one.endpoint_id)
            known[one.endpoint_id] = endpoint(connection, there) if there else None
        behind = known[one.endpoint_id]
        if behind is not None:
            found.append(attrs.evolve(behind, subscriptions=(one,)))
    return found


def subscription(row: Row) -> r.Subscription:
    """Make a subscription of its row."""
    (id_, endpoint_id, source, key, connection, params, data, registered, coverage, state, cause, account,
     metadata, *more) = row  # fmt: skip
    return r.Subscription(
        id_, endpoint_id, source, key, connection, params.encode(), encoded(data), tuple_of(registered),
        coverage, state, cause, account, encoded(metadata), *more,
    )  # fmt: skip


def _row(s: r.Subscription) -> tuple[Value, ...]:
    return (
        s.id, s.endpoint_id, s.source, s.key, s.connection, s.params.decode(), text(s.data),
        text_of(s.registered), s.coverage, s.state, s.cause, s.account, text(s.metadata), s.lease_until,
        s.failures, s.next_at, s.created_at, s.updated_at, s.leased_at, s.asked, s.last_at, s.seen,
        s.usual_gap,
    )  # fmt: skip


def insert_pair(connection: Connection, behind: r.Endpoint, one: r.Subscription) -> None:
    """Keep a subscription with its endpoint, unless one of its identity is kept."""
    if row_of(connection, IDENTIFIED, *one.identity):
        return
    shared = behind.shared_key and row_of(connection, _SHARED, behind.source, behind.shared_key)
    if not shared:
        _insert_endpoint(connection, behind, one.created_at)
    endpoint_id = shared[0] if shared else behind.id
    connection.execute(_INSERT, _row(attrs.evolve(one, endpoint_id=endpoint_id)))


def _insert_endpoint(connection: Connection, e: r.Endpoint, at: int) -> None:
    connection.execute(
        "INSERT INTO endpoints VALUES(?,?,?,?,?,?,NULL,?) ON CONFLICT(id) DO NOTHING",
        (e.id, e.token, e.source, e.state, e.facts.decode(), at, e.shared_key),
    )
    if connection.changes() == 0:
        return
    for key in e.keys:
        row = (e.id, key.serial, key.sealed, key.valid_until, key.created_at, key.used_at, text(key.data))
        connection.execute("INSERT INTO keys VALUES(?,?,?,?,?,?,?)", row)


def look_soon(connection: Connection, identity: Identity) -> None:
    """Have a subscription looked at at once."""
    connection.execute(_LOOK_SOON, identity)


def encoded(value: str | None) -> bytes | None:
    """Return the bytes of a text."""
    return None if value is None else value.encode()


def text(value: bytes | None) -> str | None:
    """Return the text of bytes."""
    return None if value is None else value.decode()


def text_of(names: Sequence[str]) -> str:
    """Return names as one text."""
    return msgspec.json.encode(list(names)).decode()


def tuple_of(names: str) -> tuple[str, ...]:
    """Return the names in a text."""
    return tuple(msgspec.json.decode(names, type=list[str]))
