"""A process that stands still past its claim, and one that is asked to stop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest

from tests.crash.processes import (
    Process,
    await_answers,
    await_rest,
    free_port,
    loading,
    serving,
    until,
)
from tests.crash.verdict import Effect, Kept, answers_in, effects_in, kept_in, problems, repeated

SLOW = {"CRASH_KINDS": "slow", "CRASH_PAUSE": "0.02"}


def kept(folder: Path) -> Kept:
    return anyio.run(lambda: kept_in(folder / "s.db", details=True))


def effects_of(folder: Path, key: str, *, lives: frozenset[str] | None = None) -> list[Effect]:
    return [
        one for one in effects_in(folder) if one.key == key and (lives is None or one.life in lives)
    ]  # fmt: skip


def await_effects(folder: Path, key: str, times: int, *, lives: frozenset[str] | None = None) -> None:
    """Return once a task has done its work so often, in any process or in these."""
    until(
        lambda: len(effects_of(folder, key, lives=lives)) >= times,
        lambda: f"{key} was done {len(effects_of(folder, key, lives=lives))} times; {times} are wanted",
    )


def lives_of(folder: Path) -> frozenset[str]:
    return frozenset(one.life for one in effects_in(folder))


def freeze(process: Process) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def start_slow_runs(folder: Path, port: int, times: int, *, seed: int = 0) -> None:
    """Send until so many runs have done their first task, and are at rest before their second."""
    with loading(folder, port, seed, env=SLOW) as stop:
        await_effects(folder, "one", times)
        stop()


@pytest.mark.parametrize("wakes", ["while the other works", "when the other is done"])
def test_what_a_frozen_process_held_is_done_by_another_and_it_changes_nothing_when_it_wakes(
    tmp_path: Path, wakes: str
) -> None:
    env = {"CRASH_CLAIM": "1", "CRASH_HOLD": "3"}
    ports = free_port(), free_port()
    with serving(tmp_path, ports[0], env=env) as frozen:
        await_answers(ports[0], frozen, tmp_path)
        start_slow_runs(tmp_path, ports[0], 10)
        mine = lives_of(tmp_path)
        freeze(frozen)
        held = {one.run for one in effects_of(tmp_path, "one")}
        held -= {one.run for one in effects_of(tmp_path, "two")}
        assert held
        with serving(tmp_path, ports[1], "asyncio", env=env) as other:
            await_answers(ports[1], other, tmp_path)
            until(lambda: lives_of(tmp_path) > mine, lambda: "the other took nothing over")
            theirs = lives_of(tmp_path) - mine
            await_effects(tmp_path, "begin", len(held), lives=theirs)
            if wakes == "when the other is done":
                await_rest(ports[1])
            frozen.send_signal(signal.SIGCONT)
            await_rest(ports[1])
            # It goes on where it stood, or finds that it has lost its claims; then it works as any other.
            # These runs take as long as what it held, so that whatever it had in mind is over when they end.
            await_answers(ports[0], frozen, tmp_path)
            start_slow_runs(tmp_path, ports[0], 5 + len(effects_of(tmp_path, "one")), seed=1)
            await_rest(ports[0])
            for process in (other, frozen):
                process.terminate()
                process.wait(30)
    there = kept(tmp_path)
    # What was done last is not what counts here: the frozen process may have done it, too late.
    found = problems(answers_in(tmp_path), effects_in(tmp_path), there)
    assert [one for one in found if "not what it did last" not in one] == []
    said = {one.said for one in effects_of(tmp_path, "two", lives=theirs)}
    for run in held:
        kept_result = next(task.result for task in there.details[run].tasks if task.key == "/two")
        assert json.loads(kept_result or b"null") in said


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_process_that_is_asked_to_stop_ends_its_runs_and_leaves_the_rest(tmp_path: Path, loop: str) -> None:
    port = free_port()
    with loading(tmp_path, port, env={**SLOW, "CRASH_KINDS": "slow chain comment flaky"}) as stop:
        with serving(tmp_path, port, loop, env={"CRASH_HOLD": "1"}) as process:
            await_answers(port, process, tmp_path)
            await_effects(tmp_path, "two", 10)
            process.terminate()
            code = process.wait(25)  # DRAIN is 10 s, and uvicorn waits for requests
            assert code in (0, -signal.SIGTERM)  # uvicorn lets the signal end it, after all is done
            log = (tmp_path / "served.log").read_text()
            assert "Cancelled" not in log
            assert "never awaited" not in log
        with serving(tmp_path, port, loop) as process:
            await_answers(port, process, tmp_path)
            stop()
            await_rest(port)
            process.terminate()
            process.wait(30)
    # What ran was let end: nothing was done twice.
    assert repeated(effects_in(tmp_path)) == 0
    assert problems(answers_in(tmp_path), effects_in(tmp_path), kept(tmp_path)) == []


def test_a_run_that_takes_longer_than_a_stop_may_last_is_taken_up_again(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, env={"CRASH_HOLD": "600", "CRASH_DRAIN": "0.5"}) as process:
        await_answers(port, process, tmp_path)
        start_slow_runs(tmp_path, port, 5)
        process.terminate()
        process.wait(25)
    begun = len(effects_of(tmp_path, "one"))
    with serving(tmp_path, port, env={"CRASH_HOLD": "0.1"}) as process:
        await_answers(port, process, tmp_path)
        await_rest(port)
        process.terminate()
        process.wait(30)
    assert len(effects_of(tmp_path, "one")) == begun  # its first task was kept
    assert problems(answers_in(tmp_path), effects_in(tmp_path), kept(tmp_path)) == []
