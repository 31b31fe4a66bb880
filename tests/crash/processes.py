"""Starting the served app and its senders as processes of their own, and waiting for them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, TypeAlias

HERE = Path(__file__).parent
DEADLINE = 60.0  # seconds; for whatever must happen, on a machine that is busy
Process: TypeAlias = "Popen[bytes]"


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def until(done: Callable[[], bool], told: Callable[[], str], *, deadline: float = DEADLINE) -> None:
    """Return as soon as something is so; AssertionError with what `told` says where it never is."""
    end = time.monotonic() + deadline
    while not done():
        if time.monotonic() > end:
            raise AssertionError(told())
        time.sleep(0.005)


@contextmanager
def serving(
    folder: Path, port: int, loop: str = "uvloop", env: Mapping[str, str] | None = None
) -> Generator[Process, None, None]:
    """Serve the app, and end it if nobody else has."""
    command = [sys.executable, str(HERE / "served.py"), str(folder), str(port), loop]
    with (folder / "served.log").open("ab") as log:
        process = Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(DEADLINE)


@contextmanager
def loading(
    folder: Path, port: int, seed: int = 0, env: Mapping[str, str] | None = None
) -> Generator[Callable[[], None], None, None]:
    """Send until told to stop, by a call of what is given."""
    command = [sys.executable, str(HERE / "load.py"), str(folder), str(port), str(seed)]
    with (folder / "load.log").open("ab") as log:
        process = Popen(command, stdin=PIPE, stdout=log, stderr=log, env={**os.environ, **(env or {})})

    def stop() -> None:
        assert process.stdin is not None
        process.stdin.close()
        code = process.wait(DEADLINE)
        assert code == 0, (folder / "load.log").read_text()

    try:
        yield stop
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(DEADLINE)
        if process.stdin is not None:
            process.stdin.close()


def asked(port: int, path: str) -> Any:
    """Return the JSON that a process answers; None where it does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=DEADLINE) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def await_answers(port: int, process: Process, folder: Path) -> None:
    """Return once an app answers."""
    until(
        lambda: process.poll() is not None or asked(port, "/healthz") is not None,
        (folder / "served.log").read_text,
    )
    assert process.poll() is None, (folder / "served.log").read_text()


def await_rest(port: int) -> None:
    """Return once every run has ended."""
    until(lambda: asked(port, "/left") == [], lambda: f"these never end: {asked(port, '/left')}")
