"""A process that is killed inside a provider's call: nobody waits for its claim to run out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from tests.crash.processes import DEADLINE, Process, free_port, until
from trigflow.runtime.registration.claims import CLAIM

APP = Path(__file__).with_name("claiming.py")


@contextmanager
def running(folder: Path, how: str) -> Generator[Process, None, None]:
    command = [sys.executable, str(APP), str(folder), str(free_port()), how]
    with (folder / "served.log").open("ab") as log:
        process = Popen(command, stdout=log, stderr=log, env=dict(os.environ))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(DEADLINE)


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def await_call(folder: Path, what: str, process: Process) -> None:
    assert CLAIM.total_seconds() > DEADLINE, "else a claim that ran out would not be told from one that ended"
    until(lambda: what in calls(folder) or process.poll() is not None, (folder / "served.log").read_text)
    assert process.poll() is None, (folder / "served.log").read_text()


def test_a_process_that_starts_after_a_kill_registers_at_once(tmp_path: Path) -> None:
    with running(tmp_path, "stuck") as killed:
        await_call(tmp_path, "stuck begin a", killed)
        killed.kill()
        killed.wait(DEADLINE)
        with running(tmp_path, "works") as other:
            await_call(tmp_path, "works made a", other)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a death is not told from slowness")
def test_a_process_that_was_there_goes_on_where_another_was_killed(tmp_path: Path) -> None:
    with running(tmp_path, "stuck") as killed:
        await_call(tmp_path, "stuck begin a", killed)
        with running(tmp_path, "works") as other:
            await_call(tmp_path, "works made b", other)
            assert "works begin a" not in calls(tmp_path), "a live one's claim was broken"
            killed.kill()
            await_call(tmp_path, "works made a", other)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a death is not told from slowness")
def test_a_frozen_process_keeps_its_claim(tmp_path: Path) -> None:
    with running(tmp_path, "stuck") as frozen:
        await_call(tmp_path, "stuck begin a", frozen)
        frozen.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, frozen.pid, os.WSTOPPED)
        with running(tmp_path, "works") as other:
            await_call(tmp_path, "works made b", other)
            assert "works begin a" not in calls(tmp_path)
            frozen.kill()
            await_call(tmp_path, "works made a", other)
