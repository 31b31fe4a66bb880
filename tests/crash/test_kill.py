"""kill -9 at any instruction loses nothing that was acknowledged (invariant 1)."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest

from trigflow.runtime import views as v
from trigflow.stores.sqlite import SqliteStore

APP = Path(__file__).with_name("app.py")
TASKS = range(5)


def start(folder: Path, stop: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(APP), str(folder / "s.db"), str(folder / "effects"), stop],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_at(folder: Path, stop: str) -> None:
    with start(folder, stop) as process:
        assert process.stdout is not None
        assert "here\n" in iter(process.stdout.readline, "")
        process.kill()


def run_to_the_end(folder: Path) -> None:
    with start(folder, "never") as process:
        said, _ = process.communicate(timeout=15)  # far less than CLAIM_LASTS: nobody waits for the dead
    assert process.returncode == 0
    assert said.endswith("ended\n")


def run_in(folder: Path) -> v.RunDetail | None:
    async def read() -> v.RunDetail | None:
        async with SqliteStore(folder / "s.db", store_id=lambda: "x") as store:
            return await store.run("run_1")

    return anyio.run(read)


def effects_in(folder: Path) -> Counter[int]:
    return Counter(map(int, (folder / "effects").read_text().split()))


def check_ended_well(folder: Path) -> None:
    found = run_in(folder)
    assert found is not None
    assert (found.row.state, found.result) == ("succeeded", b"[0,10,20,30,40]")
    kept = [(task.key, task.state, task.result) for task in found.tasks]
    assert sorted(kept) == [(f"/t{n}", "succeeded", str(n * 10).encode()) for n in TASKS]


@pytest.mark.parametrize("at", ["before:0", "before:2", "effect:0", "effect:3", "effect:4"])
def test_a_killed_run_goes_on_after_its_last_kept_task(tmp_path: Path, at: str) -> None:
    kill_at(tmp_path, at)
    run_to_the_end(tmp_path)
    check_ended_well(tmp_path)
    # Only the effect between which and its record the process was killed may be there twice.
    moment, number = at.split(":")
    repeated = [int(number)] if moment == "effect" else []
    assert effects_in(tmp_path) == Counter([*TASKS, *repeated])


def test_a_run_that_is_killed_again_and_again_ends_all_the_same(tmp_path: Path) -> None:
    for at in ("effect:1", "before:3", "effect:4"):
        kill_at(tmp_path, at)
    run_to_the_end(tmp_path)
    check_ended_well(tmp_path)
    assert effects_in(tmp_path) == Counter([*TASKS, 1, 4])


@pytest.mark.parametrize("round_", range(5))
def test_killed_at_any_moment(tmp_path: Path, round_: int) -> None:
    with start(tmp_path, "never") as process:
        assert process.stdout is not None
        accepted = process.stdout.readline() == "accepted\n"
        time.sleep(random.random() * 0.03)  # the moment is what is tested
        process.kill()
    assert accepted
    assert run_in(tmp_path) is not None  # what was acknowledged is there
    run_to_the_end(tmp_path)
    check_ended_well(tmp_path)
    assert set(effects_in(tmp_path)) == set(TASKS)
    assert sum(effects_in(tmp_path).values()) <= len(TASKS) + 1
