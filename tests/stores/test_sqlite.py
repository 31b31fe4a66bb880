"""The SQLite file: group commit, a full disk, other programs' files, several processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import anyio
import apsw
import pytest

from trigflow.core.errors import StoreUnavailable, StoreUnusable
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import Connection
from trigflow.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS

pytestmark = pytest.mark.anyio


def store_at(path: Path) -> SqliteStore:
    return SqliteStore(path, store_id=lambda: "abc")


def delivery(number: int, body: bytes = b"{}") -> r.NewDelivery:
    name = f"{number:06d}"
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, ())
    return r.NewDelivery(
        f"dlv_{name}", "ep", "sub", 1, "accepted", "", 200, "POST", b"[]", body, events=(event,)
    )


async def names(store: SqliteStore) -> set[str]:
    return {row.id for row in await store.deliveries(limit=100_000)}


class Gate:
    """Holds the writer inside one COMMIT until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.commits = 0

    def __call__(self) -> bool:
        self.commits += 1
        self.reached.set()
        assert self.opened.wait(10)
        return False


def writing(store: SqliteStore) -> apsw.Connection:
    """Return the connection that writes."""
    writer = store._writer  # pyright: ignore[reportPrivateUsage]
    assert writer is not None
    connection = writer._connection  # pyright: ignore[reportPrivateUsage]
    assert isinstance(connection, apsw.Connection)
    return connection


def change(connection: Connection) -> None:
    """Change something, so that there is something to commit."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES('changed', hex(randomblob(8)))")


async def gated(store: SqliteStore, group: anyio.abc.TaskGroup) -> Gate:
    """Return once the writer stands in a COMMIT: what is asked now waits for the next transaction."""
    gate = Gate()
    writing(store).set_commit_hook(gate)
    group.start_soon(store.write, change)
    await anyio.to_thread.run_sync(gate.reached.wait)
    return gate


async def test_callers_that_wait_share_a_transaction(tmp_path: Path) -> None:
    async with store_at(tmp_path / "s.db") as store:
        transactions: list[int] = []

        def work(connection: Connection) -> None:
            connection.execute("INSERT INTO meta VALUES(?, '')", (str(len(transactions)),))
            transactions.append(threading.get_ident())

        async with anyio.create_task_group() as group:
            gate = await gated(store, group)
            for _ in range(50):
                group.start_soon(store.write, work)
            await anyio.wait_all_tasks_blocked()
            gate.opened.set()
        assert len(transactions) == 50
        assert gate.commits == 2  # the gate's own, and one for all who waited


async def test_one_failing_statement_fails_its_caller_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    outcomes: dict[int, object] = {}

    async def accept(store: SqliteStore, number: int) -> None:
        try:
            outcomes[number] = await store.accept(delivery(number))
        except apsw.ConstraintError:
            outcomes[number] = "refused"

    async with store_at(path) as store:
        await store.accept(delivery(7))
        clash = r.NewDelivery("dlv_000007", "ep", "sub", 1, "accepted", "", 200, "POST", b"[]", b"")

        async def accept_clash() -> None:
            with pytest.raises(apsw.ConstraintError):
                await store.accept(clash)

        async with anyio.create_task_group() as group:
            gate = await gated(store, group)
            for number in range(5):
                group.start_soon(accept, store, number)
            group.start_soon(accept_clash)
            for number in range(10, 15):
                group.start_soon(accept, store, number)
            await anyio.wait_all_tasks_blocked()
            gate.opened.set()
    accepted = {number for number, outcome in outcomes.items() if outcome == r.Accepted("accepted")}
    assert accepted == {*range(5), *range(10, 15)}
    async with store_at(path) as store:
        assert await names(store) == {f"dlv_{number:06d}" for number in (*accepted, 7)}


async def test_nobody_is_told_of_success_before_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    told: list[str] = []
    async with store_at(path) as store, anyio.create_task_group() as group:

        async def accept() -> None:
            await store.accept(delivery(1))
            told.append("accepted")

        gate = Gate()
        writing(store).set_commit_hook(gate)
        group.start_soon(accept)
        await anyio.to_thread.run_sync(gate.reached.wait)
        await anyio.wait_all_tasks_blocked()
        # The statement has run, its transaction is still open.
        assert told == []
        assert await names(store) == set()
        gate.opened.set()
    assert told == ["accepted"]


async def test_a_full_disk_refuses_whoever_does_not_fit_and_acknowledges_nobody_falsely(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.db"
    kept: set[str] = set()
    refused: set[str] = set()

    def incompressible(number: int) -> bytes:
        import random

        return random.Random(number).randbytes(3_000)

    async with store_at(path) as store:
        pages = await store.write(lambda connection: connection.pragma("page_count"))
        await store.write(
            lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 40}").fetchall()
        )

        async def accept(number: int) -> None:
            new = delivery(number, incompressible(number))
            try:
                await store.accept(new)
                kept.add(new.id)
            except StoreUnavailable as error:
                refused.add(str(error))

        for batch in range(4):
            async with anyio.create_task_group() as group:
                for number in range(batch * 20, batch * 20 + 20):
                    group.start_soon(accept, number)
        assert await names(store) == kept
    assert kept
    assert refused == {"the store is full; free disk space"}
    async with store_at(path) as store:
        assert await names(store) == kept
        await store.accept(delivery(999))  # there is room again


async def test_what_waits_when_the_store_closes_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = store_at(path)
    await store.__aenter__()
    async with anyio.create_task_group() as group:
        gate = await gated(store, group)
        for number in range(20):
            group.start_soon(store.accept, delivery(number))
        store.note(delivery(20))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(store.__aexit__, None, None, None)
        await anyio.wait_all_tasks_blocked()
        gate.opened.set()
    async with store_at(path) as again:
        assert len(await names(again)) == 21


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = store_at(tmp_path / "s.db")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.accept(delivery(1))
    async with store:
        assert store.store_id == "abc"
    for ask in (lambda: store.accept(delivery(1)), lambda: store.runs(limit=1)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await ask()
    with pytest.raises(StoreUnavailable, match="not open"):
        _ = store.store_id
    store.note(delivery(1))  # nobody waits for it


async def test_work_that_is_stopped_fails_its_caller_alone_and_the_writer_goes_on(tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    def stop(_: Connection) -> None:
        raise Stopped

    kept: list[str] = []
    async with store_at(tmp_path / "s.db") as store:

        async def ask(number: int) -> None:
            kept.append((await store.accept(delivery(number))).outcome)

        async def ask_to_stop() -> None:
            with pytest.raises(Stopped):
                await store.write(stop)

        async with anyio.create_task_group() as group:
            gate = await gated(store, group)
            group.start_soon(ask, 1)
            group.start_soon(ask_to_stop)
            group.start_soon(ask, 2)
            await anyio.wait_all_tasks_blocked()
            gate.opened.set()
        await ask(3)
    assert kept == ["accepted"] * 3


async def test_hundreds_that_fail_together_are_all_told_and_the_writer_goes_on(tmp_path: Path) -> None:
    refused: list[int] = []
    async with store_at(tmp_path / "s.db") as store:

        async def fail(number: int) -> None:
            with pytest.raises(StoreUnusable, match="not as they were made"):
                await store.write(lambda connection: connection.execute("INSERT INTO nowhere VALUES(1)"))
            refused.append(number)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for number in range(500):
                    group.start_soon(fail, number)
        assert len(refused) == 500
        await store.accept(delivery(1))


async def test_a_note_that_cannot_be_kept_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with store_at(tmp_path / "s.db") as store:
        await store.accept(delivery(1))
        store.note(delivery(1))  # the same id twice
        await store.beat("a", now=1)
    assert "nobody waits for" in caplog.text


async def test_a_locked_store_is_unavailable_at_once_for_the_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigflow.stores.sqlite.writer.BUSY_MS", 50)
    path = tmp_path / "s.db"
    async with store_at(path) as store:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        refused: list[int] = []

        async def accept(number: int) -> None:
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.accept(delivery(number))
            refused.append(number)

        with anyio.fail_after(5):  # one wait for the lock, not 200
            async with anyio.create_task_group() as group:
                for number in range(200):
                    group.start_soon(accept, number)
        other.execute("ROLLBACK")
        other.close()
        await store.accept(delivery(1))
    assert len(refused) == 200


# --- the file


async def opening(path: Path) -> None:
    async with store_at(path):
        pass


async def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="another program"):
        await opening(path)
    assert path.read_bytes() == before
    assert not Path(f"{path}-wal").exists()


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await opening(path)
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", len(MIGRATIONS) + 1)
    connection.close()
    with pytest.raises(StoreUnusable, match="update trigflow"):
        await opening(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("a letter to grandmother, " * 100)
    with pytest.raises(StoreUnusable, match="not a SQLite database"):
        await opening(path)


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await opening(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged"):
        await opening(path)


async def test_damage_met_later_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with store_at(path) as store:
        await store.accept(delivery(1))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged"):
        async with store_at(path) as store:
            await store.accept(delivery(2))


async def test_folders_are_made_and_a_path_that_cannot_be_is_told(tmp_path: Path) -> None:
    await opening(tmp_path / "a" / "b" / "s.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="file"):
        await opening(tmp_path / "file" / "s.db")
    with pytest.raises(StoreUnavailable, match=r"is a folder; name a file in it: .*trigflow\.db"):
        await opening(tmp_path / "a")


async def test_the_store_keeps_the_id_that_it_was_minted_with(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await opening(path)
    async with SqliteStore(path, store_id=lambda: "other") as store:
        assert store.store_id == "abc"
    connection = apsw.Connection(str(path))
    assert connection.pragma("application_id") == APPLICATION_ID
    connection.close()


async def test_several_stores_on_one_file_see_each_others_work(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with anyio.create_task_group() as group:
        for _ in range(5):  # all of them making the same new file
            group.start_soon(opening, path)
    async with store_at(path) as one, store_at(path) as two:
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon((one, two)[number % 2].accept, delivery(number))
        assert await names(one) == await names(two)
        assert len(await names(one)) == 40


async def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "SQLITE_VERSION_NUMBER", 3_050_000)
    with pytest.raises(StoreUnusable, match="apsw"):
        await opening(tmp_path / "s.db")


# --- who is alive

KILLED = """
import asyncio, os, signal, sys
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore

async def main():
    async with SqliteStore(sys.argv[1], store_id=lambda: "abc") as store:
        run = r.NewRun("run_1", "job", 0, (r.Enqueue("run_1", 0, 0, "killed"),))
        event = r.NewEvent("evt_1", "1", "push", None, None, None, (run,))
        await store.beat("killed", now=1_000)
        row = ("dlv_1", "ep", "sub", 1, "accepted", "", 200, "POST", b"[]", b"{}")
        await store.accept(r.NewDelivery(*row, events=(event,)))
        print("ready", flush=True)
        sys.stdin.readline()

asyncio.run(main())
"""


@pytest.fixture
def other_process(tmp_path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "s.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def test_runs_of_a_killed_process_are_free_at_once_unless_others_live(
    tmp_path: Path, other_process: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "s.db"
    with other_process:
        assert other_process.stdout is not None
        assert other_process.stdout.readline().strip() == b"ready"
        async with store_at(path) as beside:  # the other one lives: its beat counts
            assert await beside.take("me", now=2_000, limit=9, alive_since=0) == []
        other_process.kill()
    async with store_at(path) as after:
        assert await after.take("me", now=2_000, limit=9, alive_since=0) == [
            r.Claim("run_1", 1, 1, orphan=True)
        ]
        async with store_at(path):  # and a later one does not forget who is alive
            await after.beat("me", now=2_000)
        async with store_at(path) as later:
            assert await later.take("you", now=2_000, limit=9, alive_since=0) == []
