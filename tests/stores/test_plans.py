"""What the SQLite store asks of its file: nothing walks or sorts a table that grows, at any size of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stores.test_pruning import PrunedStores
from tests.stores.test_registry import Registries
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import Connection, connect
from trigflow.stores.sqlite.schema import prepare

GROWING = {
    "deliveries", "d", "events", "dedupe", "runs", "finishes", "attempts", "tasks", "logs", "queue",
    "registrations",
}  # fmt: skip
# The first page of a list: an index in its own order, up to LIMIT.
FIRST_PAGE = (
    "ON endpoints.id = d.endpoint_id   ORDER BY d.id DESC LIMIT ?",
    "ON queue.run_id = runs.id   ORDER BY runs.id DESC LIMIT ?",
)
OF_ONE_RUN = "FROM tasks WHERE run_id = ? ORDER BY started_at"  # sorts the tasks of one run
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
    return found is not None and found[1] in GROWING


class Unchecked(PrunedStores):
    """Without `db check`, which reads everything."""

    def look_through(self, path: Path) -> None:
        pass


def test_no_statement_walks_or_sorts_what_grows(seen: Seen) -> None:
    for machine in (Unchecked, Registries):
        run_state_machine_as_test(machine, settings=A_MOMENT)
    empty = connect(Path(":memory:"))
    prepare(empty, store_id="abc")
    asked = {
        sql: plan(empty, sql, values)
        for sql, values in dict(seen).items()
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")) and "sqlite_schema" not in sql
    }
    assert len(asked) > 70
    walking = {sql for sql, steps in asked.items() if any(map(walks, steps))}
    assert {sql for sql in walking if not sql.endswith(FIRST_PAGE)} == set()
    sorting = {sql for sql, steps in asked.items() if any("TEMP B-TREE" in step for step in steps)}
    assert {sql for sql in sorting if OF_ONE_RUN not in sql and "FROM wants" not in sql} == set()


# --- how much SQLite does for one operation, counted in its own instructions

Operation = Callable[[SqliteStore], Awaitable[object]]
FEW, MANY = 60, 3_000
NOW = 1_000_000


async def filled(path: Path, count: int) -> None:
    """Make a store with as many deliveries, events, runs that wait or have ended, and dedupe keys."""
    async with SqliteStore(path, store_id=lambda: "abc") as store, anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(store.accept, delivery(number))
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
