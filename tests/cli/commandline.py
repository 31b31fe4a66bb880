"""The command line called in this process, and apps that another process serves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

DEADLINE = 20.0  # seconds
APP = """
from typing import Any

from trigflow import IO, App, trigger
from trigflow_github import github


def classify(title: str) -> list[str]:
    return [title.split()[0].lower()]


@trigger(github.issues(repo="acme/web", actions=["opened"]), id="triage")
async def triage(payload: dict[str, Any], io: IO) -> list[str]:
    io.log("seen", number=payload["issue"]["number"])
    return await io.task("classify", classify, payload["issue"]["title"])


app = App(jobs=[triage])
"""


@attrs.frozen
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as values."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@attrs.frozen
class Served:
    """An app that another process serves."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def served(folder: Path, arguments: list[str]) -> Generator[Served, None, None]:
    """Run a command that serves, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "trigflow", *arguments, "--port", str(port)]
    with (
        (folder / "served.txt").open("w+") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}", process, folder / "served.txt")
            yield Served(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _wait(url: str, process: subprocess.Popen[str], log: Path) -> None:
    until(lambda: _answers(url) or process.poll() is not None, log.read_text)
    assert process.poll() is None, log.read_text()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=DEADLINE):
            return True
    except (urllib.error.URLError, OSError):
        return False


def until(done: Callable[[], bool], told: Callable[[], str]) -> None:
    """Return as soon as something is so."""
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)
