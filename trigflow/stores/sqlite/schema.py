"""The tables, and how an older file becomes a newer one.

Rows are written once where it matters: a run's state is not updated but follows
from a finish row and its place in the queue. `queue` belongs to the embedded
engine; everything else is the same on every database.
"""

from __future__ import annotations

from trigflow.core.errors import StoreUnusable
from trigflow.stores.sqlite.connection import Connection

APPLICATION_ID = 0x74726967  # "trig"

# One entry a version; an entry is never changed after a release, only followed by another.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE instances(
        id TEXT PRIMARY KEY, started_at INTEGER NOT NULL, beat_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE connections(
        ref TEXT PRIMARY KEY, integration TEXT NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL,
        account TEXT, label TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL, missing TEXT NOT NULL,
        expires_at INTEGER, refresh_at INTEGER, checked_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        claimed_by TEXT, claimed_until INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX connections_refresh ON connections(refresh_at) WHERE refresh_at IS NOT NULL;
    CREATE TABLE endpoints(
        id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, source TEXT NOT NULL, state TEXT NOT NULL,
        facts TEXT NOT NULL, created_at INTEGER NOT NULL, removed_at INTEGER, shared_key TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX endpoints_shared ON endpoints(source, shared_key)
        WHERE shared_key IS NOT NULL AND state <> 'removed';
    CREATE INDEX endpoints_source ON endpoints(source);
    CREATE INDEX endpoints_removed ON endpoints(removed_at) WHERE state = 'removed';
    CREATE TABLE keys(
        endpoint_id TEXT NOT NULL, serial INTEGER NOT NULL, sealed BLOB NOT NULL, valid_until INTEGER,
        created_at INTEGER NOT NULL, used_at INTEGER, data TEXT,
        PRIMARY KEY(endpoint_id, serial)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE subscriptions(
        id TEXT PRIMARY KEY, endpoint_id TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL,
        connection TEXT NOT NULL, params TEXT NOT NULL, data TEXT, registered TEXT NOT NULL,
        coverage TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL, account TEXT, metadata TEXT,
        lease_until INTEGER, failures INTEGER NOT NULL, next_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        leased_at INTEGER, asked TEXT NOT NULL, last_at INTEGER, seen INTEGER NOT NULL,
        usual_gap INTEGER NOT NULL,
        claimed_by TEXT, claimed_until INTEGER, claimed_in INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX subscriptions_identity ON subscriptions(source, key, connection)
        WHERE state <> 'removed';
    CREATE INDEX subscriptions_endpoint ON subscriptions(endpoint_id) WHERE state <> 'removed';
    CREATE INDEX subscriptions_account ON subscriptions(endpoint_id, account)
        WHERE account IS NOT NULL AND state <> 'removed';
    CREATE INDEX subscriptions_due ON subscriptions(next_at, id, connection, state) WHERE state <> 'removed';
    CREATE INDEX subscriptions_ending ON subscriptions(lease_until, id, next_at, connection, state)
        WHERE lease_until IS NOT NULL AND state <> 'removed';
    CREATE INDEX subscriptions_connection ON subscriptions(connection) WHERE state <> 'removed';
    CREATE INDEX subscriptions_removed ON subscriptions(updated_at) WHERE state = 'removed';
    CREATE TABLE quiets(
        connection TEXT PRIMARY KEY, until INTEGER NOT NULL, cause TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE wants(
        owner TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL, connection TEXT NOT NULL,
        params TEXT NOT NULL, events TEXT NOT NULL, expect_every INTEGER, at INTEGER NOT NULL,
        PRIMARY KEY(owner, source, key, connection)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX wants_identity ON wants(source, key, connection);
    CREATE TABLE expectations(
        owner TEXT NOT NULL, dynamic TEXT NOT NULL, expect_every INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY(owner, dynamic)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE subscribers(
        dynamic TEXT NOT NULL, key TEXT NOT NULL, source TEXT NOT NULL, source_key TEXT NOT NULL,
        connection TEXT NOT NULL, params TEXT NOT NULL, events TEXT NOT NULL, metadata TEXT NOT NULL,
        created_at INTEGER NOT NULL, filter TEXT, expect_every INTEGER, PRIMARY KEY(dynamic, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX subscribers_identity ON subscribers(source, source_key, connection);
    CREATE INDEX subscribers_connection ON subscribers(connection);
    CREATE TABLE recoveries(
        id TEXT PRIMARY KEY, subscription_id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,
        received INTEGER NOT NULL, recovered INTEGER NOT NULL, lost INTEGER NOT NULL, error TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX recoveries_subscription ON recoveries(subscription_id, id);
    CREATE TABLE alerts(
        subject TEXT NOT NULL, cause TEXT NOT NULL, since INTEGER NOT NULL, told_at INTEGER,
        PRIMARY KEY(subject, cause)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE registrations(
        id TEXT PRIMARY KEY, subscription_id TEXT NOT NULL, action TEXT NOT NULL, reason TEXT NOT NULL,
        outcome TEXT NOT NULL, error TEXT NOT NULL, at INTEGER NOT NULL, took_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX registrations_subscription ON registrations(subscription_id, id);
    CREATE TABLE deliveries(
        id TEXT NOT NULL UNIQUE, endpoint_id TEXT NOT NULL, subscription_id TEXT,
        received_at INTEGER NOT NULL, outcome TEXT NOT NULL, cause TEXT NOT NULL, status INTEGER NOT NULL,
        method TEXT NOT NULL, headers TEXT NOT NULL, body BLOB, trace TEXT, sealed INTEGER NOT NULL,
        key_serial INTEGER
    ) STRICT;
    CREATE INDEX deliveries_outcome ON deliveries(outcome, id);
    CREATE INDEX deliveries_body ON deliveries(received_at) WHERE body IS NOT NULL;
    CREATE TABLE strangers(
        endpoint_id TEXT NOT NULL, account TEXT NOT NULL, delivery_id TEXT NOT NULL,
        received_at INTEGER NOT NULL, PRIMARY KEY(endpoint_id, account, delivery_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX strangers_received ON strangers(received_at);
    CREATE TABLE dedupe(
        subscription_id TEXT NOT NULL, event_id TEXT NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY(subscription_id, event_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE events(
        id TEXT PRIMARY KEY, subscription_id TEXT NOT NULL, event_id TEXT NOT NULL, name TEXT NOT NULL,
        at INTEGER, delivery_id TEXT NOT NULL, payload BLOB, context TEXT, sealed INTEGER NOT NULL,
        subscriber TEXT, dedupe_id TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_delivery ON events(delivery_id);
    CREATE TABLE fetches(
        subscription_id TEXT NOT NULL, scope TEXT NOT NULL, delivery_id TEXT NOT NULL,
        asked_at INTEGER NOT NULL, PRIMARY KEY(subscription_id, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE cursors(
        subscription_id TEXT NOT NULL, scope TEXT NOT NULL, cursor TEXT NOT NULL,
        updated_at INTEGER NOT NULL, PRIMARY KEY(subscription_id, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE runs(
        id TEXT PRIMARY KEY, job TEXT NOT NULL, event TEXT NOT NULL, version TEXT NOT NULL,
        created_at INTEGER NOT NULL, replay_of TEXT, gate TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX runs_event ON runs(event);
    CREATE INDEX runs_job ON runs(job);
    CREATE TABLE finishes(
        run_id TEXT PRIMARY KEY, state TEXT NOT NULL, result BLOB, error TEXT,
        ended_at INTEGER NOT NULL, attempts INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE attempts(
        run_id TEXT NOT NULL, number INTEGER NOT NULL, started_at INTEGER NOT NULL,
        ended_at INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY(run_id, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tasks(
        run_id TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL,
        result BLOB, error TEXT, started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL, retry_at INTEGER,
        PRIMARY KEY(run_id, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE logs(
        run_id TEXT NOT NULL, at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL, fields TEXT
    ) STRICT;
    CREATE INDEX logs_run ON logs(run_id);
    CREATE TABLE queue(
        run_id TEXT PRIMARY KEY, due_at INTEGER NOT NULL, priority INTEGER NOT NULL, owner TEXT,
        fence INTEGER NOT NULL, starts INTEGER NOT NULL, attempts INTEGER NOT NULL,
        waits INTEGER NOT NULL, held INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX queue_due ON queue(priority, due_at) WHERE owner IS NULL AND held = 0;
    CREATE INDEX queue_held ON queue(run_id) WHERE held = 1;
    CREATE INDEX queue_owned ON queue(owner) WHERE owner IS NOT NULL;
    CREATE TABLE audit(
        at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT
    ) STRICT;
    """,
)


def check(connection: Connection) -> None:
    """Return if the file is new or ours and no newer than this release; StoreUnusable if not."""
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if tables and connection.pragma("application_id") != APPLICATION_ID:
        raise StoreUnusable("the file is a SQLite database of another program; choose another path")
    version: int = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"the store has version {version}, this release knows {len(MIGRATIONS)}; update trigflow"
        )


def prepare(connection: Connection, *, store_id: str) -> str:
    """Bring a database to the newest version; return the id minted with it.

    store_id: kept if the database is new.
    Raises StoreUnusable for a file that is not ours or is newer than this release.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        check(connection)  # again: another process may have been here in between
        version: int = connection.pragma("user_version")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            connection.execute(script)
            connection.pragma("user_version", number)
        connection.pragma("application_id", APPLICATION_ID)
        connection.execute("INSERT OR IGNORE INTO meta VALUES('store_id', ?)", (store_id,))
        ((kept,),) = connection.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchall()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return str(kept)
