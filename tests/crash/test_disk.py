"""A disk that is full or read-only, a lock, files that are taken away: 503 meanwhile, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from tests.crash.processes import asked, await_answers, await_rest, free_port, loading, serving, until
from tests.crash.verdict import answers_in, effects_in, kept_in, problems
from trigflow.core.errors import StoreUnavailable
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import connect

ROOM = 1_000_000  # pages
LOAD = {"CRASH_KINDS": "chain comment flaky broken", "CRASH_PAUSE": "0.01"}
LOCKING = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
connection.close()
"""


def statuses(folder: Path, *, after: int = 0) -> Counter[int | None]:
    """Count the answers, without the first ones."""
    return Counter(answer.status for answer in answers_in(folder)[after:])


def await_status(folder: Path, status: int, times: int) -> None:
    """Return once so many more answers were given."""
    seen = len(answers_in(folder))
    until(lambda: statuses(folder, after=seen)[status] >= times, lambda: f"{statuses(folder, after=seen)}")


def check_all_is_well(folder: Path, store: Path) -> None:
    kept = anyio.run(lambda: kept_in(store, details=True))
    assert problems(answers_in(folder), effects_in(folder), kept, repeats=True) == []


def through_trouble(
    folder: Path, trouble: Callable[[int], None], remedy: Callable[[int], None], env: dict[str, str]
) -> None:
    """Serve under load; let trouble come until it shows, then remedy it until it is over."""
    port = free_port()
    with serving(folder, port, env=env) as process, loading(folder, port, env=LOAD) as stop:
        await_answers(port, process, folder)
        await_status(folder, 200, 20)
        trouble(port)
        await_status(folder, 503, 20)
        seen = len(answers_in(folder))
        await_status(folder, 503, 5)
        # While there is trouble nobody is told of success, nor of anything else.
        assert set(statuses(folder, after=seen)) <= {503}
        remedy(port)
        await_status(folder, 200, 20)
        stop()
        await_rest(port)
        process.terminate()
        process.wait(30)


def test_a_full_store_asks_to_try_again_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    through_trouble(
        tmp_path, lambda port: asked(port, "/pages?1"), lambda port: asked(port, f"/pages?{ROOM}"), {}
    )
    check_all_is_well(tmp_path, tmp_path / "s.db")


# --- a file system of our own


BALLAST = 400 * 2**20  # bytes that are there to be thrown off


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600m", "trigflow-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_a_full_disk_asks_to_try_again_and_goes_on_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    filler, ballast = disk / "filler", disk / "ballast"
    ballast.write_bytes(bytes(BALLAST))

    def fill(_: int) -> None:
        # Where the load is quick it has filled the disk already.
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass

    def make_room(_: int) -> None:
        filler.unlink(missing_ok=True)
        ballast.unlink()

    through_trouble(tmp_path, fill, make_room, {"CRASH_STORE": str(disk / "s.db")})
    check_all_is_well(tmp_path, disk / "s.db")


@pytest.mark.parametrize("there", [True, False], ids=["a store is there", "none is there"])
def test_a_store_on_a_read_only_disk_is_unavailable_and_says_why(disk: Path, there: bool) -> None:
    async def opened() -> None:
        async with SqliteStore(disk / "s.db", store_id=lambda: "abc"):
            pass

    if there:
        anyio.run(opened)
    remount(disk, "ro")
    with pytest.raises(StoreUnavailable, match="permissions"):
        anyio.run(opened)
    remount(disk, "rw")
    anyio.run(opened)


def test_a_store_in_a_folder_that_is_a_file_is_unavailable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def opened() -> None:
        async with SqliteStore(tmp_path / "file" / "s.db", store_id=lambda: "abc"):
            pass

    with pytest.raises(StoreUnavailable, match="can't be opened"):
        anyio.run(opened)


# --- a lock


def test_a_store_that_another_process_locks_asks_to_try_again_and_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    lockers: list[subprocess.Popen[bytes]] = []

    def lock(_: int) -> None:
        locker = subprocess.Popen(
            [sys.executable, "-c", LOCKING, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        lockers.append(locker)
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"

    def unlock(_: int) -> None:
        lockers[0].communicate(timeout=30)

    through_trouble(tmp_path, lock, unlock, {})
    check_all_is_well(tmp_path, store)


def test_opening_a_locked_store_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigflow.stores.sqlite.connection.BUSY_MS", 50)
    path = tmp_path / "s.db"

    async def opened() -> None:
        async with SqliteStore(path, store_id=lambda: "abc"):
            pass

    anyio.run(opened)
    other = connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        anyio.run(opened)
    other.close()
    anyio.run(opened)


# --- files that are taken away


def move(one: Path, other: Path) -> None:
    one.rename(other)


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_file_that_is_taken_away_while_the_store_is_open_stops_acknowledgements(
    tmp_path: Path, end: str
) -> None:
    store, aside = tmp_path / f"s.db{end}", tmp_path / "aside"
    through_trouble(tmp_path, lambda _: move(store, aside), lambda _: move(aside, store), {})
    check_all_is_well(tmp_path, tmp_path / "s.db")


@pytest.mark.parametrize("end", ["-shm", ".lock"])
def test_a_file_that_is_deleted_after_a_kill_is_not_missed(tmp_path: Path, end: str) -> None:
    port = free_port()
    with loading(tmp_path, port, env=LOAD) as stop:
        with serving(tmp_path, port) as process:
            await_answers(port, process, tmp_path)
            await_status(tmp_path, 200, 50)
            process.kill()
            process.wait(30)
        (tmp_path / f"s.db{end}").unlink()
        with serving(tmp_path, port) as process:
            await_answers(port, process, tmp_path)
            stop()
            await_rest(port)
            process.terminate()
            process.wait(30)
    kept = anyio.run(lambda: kept_in(tmp_path / "s.db", details=True))
    assert problems(answers_in(tmp_path), effects_in(tmp_path), kept) == []
