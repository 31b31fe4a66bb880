"""What the SQLite store asks of its file: nothing walks or sorts a table that grows, at any size of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stores.test_pruning import PrunedStores
from tests.stores.test_subscribers import Subscribed
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import Connection, connect
from trigflow.stores.sqlite.schema import prepare

GROWING = {
    "deliveries", "d", "events", "dedupe", "runs", "finishes", "attempts", "tasks", "logs", "queue",
    "strangers", "registrations", "recoveries", "audit", "endpoints", "keys", "subscriptions", "subscribers",
}  # fmt: skip
# The first page of a list: an index in its own order, up to LIMIT.
FIRST_PAGE = (
    "ON endpoints.id = d.endpoint_id   ORDER BY d.id DESC LIMIT ?",
    "ON queue.run_id = runs.id   ORDER BY runs.id DESC LIMIT ?",
    "FROM audit ORDER BY rowid DESC LIMIT ?",
    "FROM deliveries d  ORDER BY d.id DESC LIMIT ?) WHERE endpoint_id = ? LIMIT ?",
    "until > ?1 AND until <= ?1 + 86460000) ORDER BY next_at LIMIT 1",  # an index, to the first
)
# For tests and small stores, as it says.
EVERYTHING = (
    "FROM subscriptions WHERE state <> 'removed' ORDER BY id",
    "FROM endpoints WHERE state <> 'removed' ORDER BY id",
    "UPDATE subscriptions SET claimed_by = NULL WHERE claimed_by IS NOT NULL",  # once, alone, at opening
)
HELD = "SCAN queue USING COVERING INDEX queue_held"  # those that are held, and no others
SORTED = (
    "?2) ORDER BY next_at, id",
    "?2) ORDER BY lease_until, id",
    "FROM tasks WHERE run_id = ? ORDER BY started_at",
    "FROM wants",
    "FROM expectations",
    "FROM alerts",
)  # few each time
A_MOMENT = settings(max_examples=25, stateful_step_count=40, deadline=None, phases=[Phase.generate])
Seen = dict[str, Any]


@pytest.fixture
def seen() -> Generator[Seen]:
    """Every statement that is executed, with the values it was last given."""
    found: Seen = {}

    def trace(cursor: object, sql: str, values: Any) -> bool:
        found[sql] = values
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.set_exec_trace(trace)  # pyright: ignore[reportUnknownMemberType]

    apsw.connection_hooks.append(hook)
    yield found
    apsw.connection_hooks.remove(hook)


def plan(connection: Connection, sql: str, values: Any) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


def walks(step: str) -> bool:
    found = re.match(r"SCAN (\w+)", step)
    return found is not None and found[1] in GROWING and step != HELD


class Unchecked(PrunedStores):
    """Without `db check`, which reads everything."""

    def look_through(self, path: Path) -> None:
        pass


def test_no_statement_walks_or_sorts_what_grows(seen: Seen) -> None:
    for machine in (Unchecked, Subscribed):
        run_state_machine_as_test(machine, settings=A_MOMENT)
    empty = connect(Path(":memory:"))
    prepare(empty, store_id="abc")
    asked = {
        sql: plan(empty, sql, values)
        for sql, values in dict(seen).items()
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")) and "sqlite_schema" not in sql
    }
    assert len(asked) > 110
    walking = {sql for sql, steps in asked.items() if any(map(walks, steps))}
    assert {sql for sql in walking if not sql.endswith((*FIRST_PAGE, *EVERYTHING))} == set()
    sorting = {sql for sql, steps in asked.items() if any("TEMP B-TREE" in step for step in steps)}
    assert {sql for sql in sorting if not any(few in sql for few in SORTED)} == set()


# --- how much SQLite does for one operation, counted in its own instructions

Operation = Callable[[SqliteStore], Awaitable[object]]
FEW, MANY = 60, 3_000
NOW = 1_000_000


async def filled(path: Path, count: int) -> None:
    """Make a store with as many deliveries, events, runs that wait or have ended, and dedupe keys."""
    async with SqliteStore(path, store_id=lambda: "abc") as store, anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(store.accept, delivery(number))
        group.start_soon(store.create_subscriptions, [pair(number) for number in range(count)])
        for number in range(count):
            group.start_soon(partial(store.subscribe, *subscriber(number), most=0))
            group.start_soon(store.put_connection, connection_of(number))
            group.start_soon(
                store.log_recovery, r.Recovery(f"rec_{number:06d}", f"s{number}", 0, 1, 2, 3, 4, "", 5)
            )
        group.start_soon(store.note_activity, [])
    connection = connect(path)
    connection.execute(
        "INSERT INTO finishes SELECT id, 'succeeded', NULL, NULL, 1, 1 FROM runs WHERE id < 'run_b'"
    )
    connection.execute("DELETE FROM queue WHERE run_id < 'run_b'")
    connection.close()


def delivery(number: int, *, again: str = "") -> r.NewDelivery:
    """Make a delivery with a run that will have ended, and one that is due long since."""
    name = f"{number:06d}"
    runs = tuple(
        r.NewRun(f"run_{kind}{name}", job, 0, (r.Enqueue(f"run_{kind}{name}", number, number % 3, None),))
        for kind, job in (("a", "rare" if number == 7 else "often"), ("b", "often"))
    )
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, runs)
    outcome: r.DeliveryOutcome = "failed" if number == 7 else "accepted"
    return r.NewDelivery(
        f"dlv_{name}{again}", "ep", "sub", number, outcome, "", 200, "POST", b"[]", b"{}", events=(event,)
    )


def pair(number: int, *, shared_key: str | None = None) -> tuple[r.Endpoint, r.Subscription]:
    name = f"{number:06d}"
    endpoint = r.Endpoint(
        f"ep_{name}", f"t{name}", "source", "active", b"{}", (r.StoredKey(1, b"k"),), shared_key=shared_key
    )
    one = r.Subscription(
        f"sub_{name}", endpoint.id, "source", name, f"c{name}", b"{}", next_at=NOW + number, state="active"
    )
    return endpoint, one


def subscriber(number: int) -> tuple[r.Subscriber, r.Endpoint, r.Subscription]:
    name = f"{number:06d}"
    new = r.Subscriber("repos", name, "source", f"dynamic{name}", f"c{name}", b"{}", ("push",))
    endpoint, one = pair(number)
    one = attrs.evolve(one, id=f"sub_d{name}", endpoint_id=f"ep_d{name}", key=f"dynamic{name}")
    return new, attrs.evolve(endpoint, id=f"ep_d{name}", token=f"td{name}"), one


def connection_of(number: int) -> r.Connection:
    return r.Connection(f"source/{number:06d}", "source", "key", b"sealed", refresh_at=NOW + number)


def fresh(store: SqliteStore) -> Awaitable[object]:
    return store.accept(delivery(999_999))


OPERATIONS: dict[str, Operation] = {
    "accept": fresh,
    "a redelivery": lambda store: store.accept(delivery(8, again="again")),
    "next due": lambda store: store.next_due(),
    "take": lambda store: store.take("me", now=NOW, limit=10, alive_since=0),
    "leave": lambda store: store.leave("nobody"),
    "load": lambda store: store.load("run_a000009"),
    "cancel": lambda store: store.cancel("run_b000009", (r.Dequeue("run_b000009"),), at=1),
    "newest deliveries": lambda store: store.deliveries(limit=10),
    "deliveries, deep": lambda store: store.deliveries(limit=10, before="dlv_000020"),
    "deliveries, rare": lambda store: store.deliveries(limit=10, outcome="failed"),
    "newest runs": lambda store: store.runs(limit=10),
    "runs, deep": lambda store: store.runs(limit=10, before="run_a000020"),
    "runs of a job": lambda store: store.runs(limit=10, job="often"),
    "runs of a rare job": lambda store: store.runs(limit=10, job="rare"),
    "runs of an event": lambda store: store.runs(limit=10, event="evt_000007"),
    "a run": lambda store: store.run("run_a000007"),
    "what may go": lambda store: store.find_old("bodies", before=20, after="", limit=10),
    "what is due": lambda store: store.due(now=NOW + 10, limit=10),
    "next look": lambda store: store.next_look(now=NOW),
    "connections in use": lambda store: store.refs_in_use(after="c", limit=10),
    "hush": lambda store: store.hush(r.QuietPeriod("c", NOW + 1, "why"), now=NOW),
    "quiet": lambda store: store.quiet("c", now=NOW),
    "quiet lately": lambda store: store.quiet_lately(now=NOW),
    "a page": lambda store: store.page(after="sub_000007", limit=10),
    "called by key": lambda store: store.page(limit=10, which=r.Which(called="000007")),
    "called by id": lambda store: store.page(limit=10, which=r.Which(called="sub_000007")),
    "of a connection": lambda store: store.page(limit=10, which=r.Which(connection="c000007")),
    "starting so": lambda store: store.starting("000007", limit=10),
    "subscribers called": lambda store: store.subscribers_called("000007", limit=10),
    "sources": lambda store: store.sources(),
    "look soon": lambda store: store.look_soon([("source", "000007", "c000007")]),
    "a subscription": lambda store: store.endpoints_for([("source", "000007", "c000007")]),
    "wanted": lambda store: store.wanted([("source", "dynamic000007", "c000007")], since=0),
    "subscribe": lambda store: store.subscribe(*subscriber(999_999), most=1),
    "unsubscribe": lambda store: store.unsubscribe("repos", "000007"),
    "subscribers": lambda store: store.subscribers("repos", after="000007", limit=10),
    "subscribers of": lambda store: store.subscribers_of([("source", "dynamic000007", "c000007")]),
    "connections due": lambda store: store.connections_due(now=NOW + 10, limit=10),
    "connected": lambda store: store.connected("c000007"),
    "activity": lambda store: store.note_activity(
        [r.Activity("sub_000007", 1, 2, 3, 4, "ep_000007", frozenset({1}))]
    ),
    "create, shared": lambda store: store.create_subscriptions([pair(999_998, shared_key="app")]),
    "create": lambda store: store.create_subscriptions([pair(999_999)]),
    "remove": lambda store: store.remove_subscription("sub_000007", at=NOW),
    "removed that may go": lambda store: store.find_old("removed", before=NOW, after="", limit=10),
    "recoveries": lambda store: store.recoveries("s7"),
    "held runs": lambda store: store.release_held("sub"),
    "deliveries of a time": lambda store: store.received("sub", since=0, until=1),
    "dedupe keys that may go": lambda store: store.find_old("dedupe", before=0, after="", limit=10),
}


async def instructions(path: Path, operation: Operation) -> int:
    """Count the instructions of SQLite's virtual machine that an operation takes, in tens."""
    done = 0

    def one() -> bool:
        nonlocal done
        done += 1
        return False

    def hook(connection: apsw.Connection) -> None:
        connection.set_progress_handler(one, 10)

    apsw.connection_hooks.append(hook)
    try:
        async with SqliteStore(path, store_id=lambda: "abc") as store:
            done = 0
            await operation(store)
            return done
    finally:
        apsw.connection_hooks.remove(hook)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small store and a large one."""
    folder = tmp_path_factory.mktemp("stores")
    few, many = folder / "few.db", folder / "many.db"
    anyio.run(filled, few, FEW)
    anyio.run(filled, many, MANY)
    return few, many


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_as_many_instructions_in_a_large_store(
    stores: tuple[Path, Path], name: str
) -> None:
    few, many = (anyio.run(instructions, path, OPERATIONS[name]) for path in stores)
    assert many <= few * 1.2 + 5


@pytest.mark.anyio
async def test_what_is_looked_at_regularly_is_found_by_the_index_made_for_it(
    seen: Seen, tmp_path: Path
) -> None:
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        for operation in OPERATIONS.values():
            await operation(store)
    empty = connect(Path(":memory:"))
    prepare(empty, store_id="abc")
    used = {
        "WHERE state <> 'removed' AND next_at <= ?1": "COVERING INDEX subscriptions_due (next_at<?)",
        "SELECT next_at FROM subscriptions": "COVERING INDEX subscriptions_due",
        "FROM subscriptions WHERE state <> 'removed' AND id > ?": "PRIMARY KEY (id>?)",
        "FROM connections WHERE refresh_at IS NOT NULL": "INDEX connections_refresh",
        "FROM subscribers WHERE connection = ? LIMIT 1 OFFSET": "COVERING INDEX subscribers_connection",
        "FROM subscribers WHERE source = ? AND source_key = ?": "INDEX subscribers_identity",
        "count(*) FROM subscriptions WHERE state <> 'removed'": "INDEX subscriptions_connection",
        "SELECT min(source) FROM endpoints WHERE source > one": "COVERING INDEX endpoints_source",
        "AND shared_key IS NOT NULL AND source = ?": "INDEX endpoints_shared (source=? AND shared_key=?)",
    }
    for words, index in used.items():
        asked = [sql for sql in seen if words in sql]
        assert asked, words
        for sql in asked:
            assert any(index in step for step in plan(empty, sql, seen[sql])), sql
