"""Checking a store's file, copying it while it is in use, and going back to a copy."""

from __future__ import annotations

import random
import stat
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow.core.errors import SetupError, StoreError, StoreUnavailable, StoreUnusable
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.care import Problem, backup, check, restore
from trigflow.stores.sqlite.connection import connect

NOW = "20260131-120000"


def store_at(path: Path) -> SqliteStore:
    return SqliteStore(path, store_id=lambda: "abc")


def delivery(number: int, *, runs: Sequence[r.NewRun] = ()) -> r.NewDelivery:
    name = f"{number:06d}"
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, tuple(runs))
    body = random.Random(number).randbytes(500)
    return r.NewDelivery(
        f"dlv_{name}", "ep", "sub", 1, "accepted", "", 200, "POST", b"[]", body, events=(event,)
    )


def queued(number: int) -> r.NewRun:
    name = f"run_{number:06d}"
    return r.NewRun(name, "job", 5, (r.Enqueue(name, 5, 0, None),))


async def _fill(path: Path, numbers: Sequence[int]) -> None:
    async with store_at(path) as store:
        for number in numbers:
            await store.accept(delivery(number, runs=[queued(number)]))


def fill(path: Path, numbers: Sequence[int]) -> None:
    anyio.run(_fill, path, numbers)


def names(path: Path) -> list[str]:
    async def read() -> list[str]:
        async with store_at(path) as store:
            return sorted(row.id for row in await store.deliveries(limit=100_000))

    return anyio.run(read)


def called(numbers: Sequence[int]) -> list[str]:
    return [f"dlv_{number:06d}" for number in numbers]


def change(path: Path, sql: str) -> None:
    connection = connect(path)
    connection.execute(sql)
    connection.close()


def kinds(problems: Sequence[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


def damage(path: Path, *, share: float = 0.5) -> None:
    """Overwrite pages in the middle with noise."""
    content = bytearray(path.read_bytes())
    start = int(len(content) * share) // 4096 * 4096
    content[start : start + 4096] = random.Random(1).randbytes(4096)
    path.write_bytes(content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with thirty deliveries, each with a run in the queue."""
    path = tmp_path / "s.db"
    fill(path, range(30))
    return path


# --- check


@pytest.mark.parametrize("full", [False, True])
def test_a_sound_store_has_no_problems_and_is_not_changed(path: Path, full: bool) -> None:
    before = path.read_bytes()
    assert check(path, full=full).problems == ()
    assert path.read_bytes() == before


def test_a_store_is_checked_while_it_is_written(path: Path) -> None:
    async def main() -> None:
        async with store_at(path) as store, anyio.create_task_group() as group:

            async def write() -> None:
                for number in range(100, 400):
                    await store.accept(delivery(number, runs=[queued(number)]))

            group.start_soon(write)
            for _ in range(10):
                checked = await anyio.to_thread.run_sync(lambda: check(path, full=True))
                assert checked.problems == ()

    anyio.run(main)
    assert len(names(path)) == 330


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("DELETE FROM queue WHERE run_id = 'run_000003'", "lost-run"),
        ("INSERT INTO finishes(run_id, state, ended_at, attempts) VALUES('run_000003', 'failed', 1, 1)",
         "finished-in-queue"),
        ("DELETE FROM events WHERE id = 'evt_000003'", "run-without-event"),
        ("UPDATE deliveries SET body = NULL WHERE id = 'dlv_000003'", "run-without-payload"),
        ("INSERT INTO finishes(run_id, state, ended_at, attempts) VALUES('nobody', 'failed', 1, 1)",
         "finish-without-run"),
        ("DELETE FROM dedupe WHERE event_id = '000003'", "event-without-dedupe"),
        ("DROP INDEX runs_event", "shape"),
        ("ALTER TABLE runs DROP COLUMN replay_of", "shape"),
    ],
)  # fmt: skip
def test_what_is_wrong_between_rows_is_named_with_what_to_do(path: Path, sql: str, kind: str) -> None:
    change(path, sql)
    problems = check(path).problems
    assert kind in kinds(problems)
    assert all(problem.what and problem.remedy for problem in problems)
    found = next(problem for problem in problems if problem.kind == kind)
    assert kind in ("shape", "finish-without-run") or "000003" in found.what


def test_a_body_that_cannot_be_unpacked_is_found_by_a_full_check(path: Path) -> None:
    change(path, "UPDATE deliveries SET body = x'ffffffff00' WHERE id = 'dlv_000007'")
    assert check(path).problems == ()
    (problem,) = check(path, full=True).problems
    assert (problem.kind, "dlv_000007" in problem.what) == ("body", True)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6, 0.8])
def test_a_damaged_page_is_found(path: Path, share: float) -> None:
    damage(path, share=share)
    assert set(kinds(check(path, full=True).problems)) == {"damaged"}


def test_an_older_store_is_named_as_such(path: Path) -> None:
    change(path, "PRAGMA user_version = 0")
    assert kinds(check(path).problems) == ["older"]


def test_what_is_no_store_is_refused_and_left_as_it_is(tmp_path: Path, path: Path) -> None:
    letter, theirs, empty = tmp_path / "letter", tmp_path / "theirs.db", tmp_path / "empty"
    letter.write_text("a letter to grandmother, " * 100)
    change(theirs, "CREATE TABLE theirs(x)")
    empty.touch()
    change(path, "PRAGMA user_version = 1000")
    for one in (letter, theirs, empty, path):
        before = one.read_bytes()
        for use in (lambda one=one: check(one), lambda one=one: backup(one, tmp_path / "b.db"),
                    lambda one=one: restore(one, tmp_path / "new.db", now=NOW)):  # fmt: skip
            with pytest.raises(StoreUnusable):
                use()
        assert one.read_bytes() == before
    assert not (tmp_path / "b.db").exists()
    assert not (tmp_path / "new.db").exists()


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.db"
    for use in (lambda: check(nowhere), lambda: backup(nowhere, tmp_path / "b.db"),
                lambda: restore(nowhere, tmp_path / "new.db", now=NOW)):  # fmt: skip
        with pytest.raises(SetupError, match="there is no file"):
            use()
    assert not nowhere.exists()


# --- backup


def test_a_backup_holds_what_the_store_held_and_is_one_file_for_its_owner(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    copied = backup(path, folder / "b.db")
    assert [file.name for file in folder.iterdir()] == ["b.db"]
    assert stat.S_IMODE(copied.path.stat().st_mode) == 0o600
    assert (copied.store_id, copied.size) == ("abc", copied.path.stat().st_size)
    assert check(copied.path, full=True).problems == ()
    assert names(copied.path) == called(range(30))


def test_a_backup_of_a_busy_store_is_one_moment_of_it(path: Path, tmp_path: Path) -> None:
    copies: list[tuple[Path, int, int]] = []
    numbers: list[int] = []

    async def main() -> None:
        async with store_at(path) as store, anyio.create_task_group() as group:
            over = anyio.Event()

            async def write() -> None:
                while not over.is_set():
                    await store.accept(delivery(1000 + len(numbers), runs=[queued(1000 + len(numbers))]))
                    numbers.append(1000 + len(numbers))

            group.start_soon(write)
            for n in range(5):
                before, to = len(numbers), tmp_path / f"b{n}.db"
                await anyio.to_thread.run_sync(lambda to=to: backup(path, to))
                copies.append((to, before, len(numbers)))
            over.set()

    anyio.run(main)
    assert copies[-1][1] > copies[0][1]  # it was written meanwhile
    for to, before, after in copies:
        assert check(to, full=True).problems == ()
        kept = names(to)[30:]
        # What was acknowledged before it began is in it; nothing is in it without what came before.
        assert kept == called(numbers[: len(kept)])
        assert before <= len(kept) <= after + 1


def test_a_backup_replaces_nothing_unless_told_to(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    to.write_text("precious")
    with pytest.raises(SetupError, match="--force"):
        backup(path, to)
    assert to.read_text() == "precious"
    backup(path, to, force=True)
    assert names(to) == called(range(30))
    with pytest.raises(SetupError, match="the store itself"):
        backup(path, path, force=True)


def test_a_damaged_store_is_not_copied_and_an_older_backup_stays(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "backups" / "b.db"
    to.parent.mkdir()
    backup(path, to)
    before = to.read_bytes()
    damage(path)
    with pytest.raises(StoreUnusable):
        backup(path, to, force=True)
    assert to.read_bytes() == before
    assert [file.name for file in to.parent.iterdir()] == ["b.db"]


def test_a_backup_into_a_folder_that_is_not_there_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="can't be written"):
        backup(path, tmp_path / "nowhere" / "b.db")


# --- restore


def test_a_restored_store_is_as_it_was_and_the_old_one_stays_beside_it(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)
    fill(path, range(30, 40))
    path.chmod(0o640)
    restored = restore(to, path, now=NOW)
    assert (restored.path, restored.store_id) == (path, "abc")
    assert names(path) == called(range(30))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # the service that uses it can still
    kept = tmp_path / f"s.db.before-{NOW}"
    assert restored.kept == kept
    assert names(kept) == called(range(40))
    assert names(to) == called(range(30))  # the backup is a backup still


def test_a_wal_that_a_killed_process_left_goes_with_the_old_file(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)
    # As a kill leaves it: the files of an open store, copied.
    killed = tmp_path / "killed"
    killed.mkdir()

    async def die() -> None:
        async with store_at(path) as store:
            for number in range(30, 50):
                await store.accept(delivery(number))
            for end in ("", "-wal"):
                (killed / f"s.db{end}").write_bytes(Path(f"{path}{end}").read_bytes())

    anyio.run(die)
    assert (killed / "s.db-wal").stat().st_size
    restored = restore(to, killed / "s.db", now=NOW)
    assert restored.kept is not None
    assert names(killed / "s.db") == called(range(30))
    assert names(restored.kept) == called(range(50))


def test_a_store_that_is_open_is_not_replaced(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)

    async def main() -> None:
        async with store_at(path) as store:
            with pytest.raises(StoreUnavailable, match="stop it"):
                restore(to, path, now=NOW)
            await store.accept(delivery(99))

    anyio.run(main)
    assert names(path) == called([*range(30), 99])
    restore(to, path, now=NOW)
    assert names(path) == called(range(30))


def test_a_store_is_restored_where_there_is_none(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)
    restored = restore(to, tmp_path / "new.db", now=NOW)
    assert restored.kept is None
    assert names(tmp_path / "new.db") == called(range(30))


def test_a_damaged_store_is_replaced_and_kept(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)
    damage(path, share=0)
    broken = path.read_bytes()
    restored = restore(to, path, now=NOW)
    assert names(path) == called(range(30))
    assert restored.kept is not None
    assert restored.kept.read_bytes() == broken


def test_a_damaged_backup_is_refused_and_the_store_stays(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"
    backup(path, to)
    damage(to)
    files = {file.name for file in tmp_path.iterdir()}
    with pytest.raises(StoreUnusable):
        restore(to, path, now=NOW)
    assert names(path) == called(range(30))
    # A reader alone can't take away what SQLite makes beside a file.
    assert {file.name for file in tmp_path.iterdir()} <= {*files, "b.db-wal", "b.db-shm"}


def test_the_store_is_not_its_own_backup(path: Path) -> None:
    with pytest.raises(SetupError, match="the store itself"):
        restore(path, path, now=NOW)


def test_runs_that_were_queued_at_the_time_of_the_backup_are_queued_again(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "b.db"

    async def main() -> list[str]:
        async with store_at(path) as store:
            await store.beat("dead", now=1)
            assert len(await store.take("dead", now=10, limit=100, alive_since=0)) == 30
            backup(path, to)
        restore(to, path, now=NOW)
        async with store_at(path) as store:
            return [c.run_id for c in await store.take("new", now=10, limit=100, alive_since=0)]

    assert len(anyio.run(main)) == 30


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 30), st.integers(1, 40))
def test_of_any_damage_a_copy_is_either_whole_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    path, to, chance = folder / "s.db", folder / "b.db", random.Random(seed)
    fill(path, range(8))
    content = bytearray(path.read_bytes())
    for _ in range(flips):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    try:
        backup(path, to)
    except StoreError:
        assert not to.exists()
    else:
        assert [problem for problem in check(to).problems if problem.kind == "damaged"] == []
    assert {file.name for file in folder.iterdir()} <= {
        "s.db", "s.db-wal", "s.db-shm", "s.db.lock", "b.db",
    }  # fmt: skip
