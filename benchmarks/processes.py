"""Processes of a contender: started on one core, looked at together, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import psutil

LONGEST_START = 60.0  # seconds
LONGEST_STOP = 20.0


class DidNotStart(Exception):
    """A process that a contender needs did not come up; the text holds the end of its output."""


@attrs.frozen
class Started:
    """A process with what it wrote."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def check(self) -> None:
        """Raise DidNotStart if it has ended."""
        if self.process.poll() is not None:
            tail = self.output.read_text(errors="replace")[-2_000:]
            raise DidNotStart(f"{self.name} ended with {self.process.returncode}: {tail}")

    def stop(self) -> None:
        """End it with SIGTERM, or with SIGKILL where that takes too long."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=LONGEST_STOP)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start(
    name: str,
    command: Sequence[str],
    *,
    core: int,
    folder: Path,
    env: Mapping[str, str],
    user: str | None = None,
) -> Started:
    """Start a command on one core; its output goes to a file in `folder`.

    It is told to end when this process does, in whichever way that may be.
    """
    output = folder / f"{name}.log"
    with output.open("ab") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command],
            env={**os.environ, **env},
            cwd=Path(__file__).parents[1],
            stdout=file,
            stderr=subprocess.STDOUT,
            user=user,
        )
    return Started(name, process, output)


def end_when_told() -> None:
    """Let SIGTERM end this program as Ctrl-C does: with everything stopped that it started."""

    def leave(*_: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(is_true: Callable[[], bool], started: Sequence[Started], what: str) -> None:
    """Return once it is true; DidNotStart if a process ends first or it takes too long."""
    deadline = time.monotonic() + LONGEST_START
    while not is_true():
        for one in started:
            one.check()
        if time.monotonic() > deadline:
            raise DidNotStart(f"{what} took more than {LONGEST_START:.0f} s")
        time.sleep(0.05)


def _family(started: Sequence[Started]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for one in started:
        try:
            parent = psutil.Process(one.process.pid)
            found |= {process.pid: process for process in (parent, *parent.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def cpu_seconds(started: Sequence[Started]) -> float:
    """Return the CPU time of all processes and their children, the ended ones included."""
    total = 0.0
    for process in _family(started):
        try:
            # children_*: of children that have ended and were waited for.
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


@attrs.frozen
class Memory:
    """In bytes. rss counts what processes share once for each of them, pss once in all."""

    rss: int
    pss: int


def memory(started: Sequence[Started]) -> Memory:
    """Return the memory of all processes and their children."""
    rss = pss = 0
    for process in _family(started):
        try:
            found = process.memory_full_info()
        except psutil.NoSuchProcess:
            continue
        rss, pss = rss + found.rss, pss + found.pss
    return Memory(rss, pss)
