"""People who are asked: they answer, press Ctrl+D or press Ctrl+C, and the command ends as it should."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commandline import DEADLINE
from trigflow_github.testing import FakeGitHub

# A terminal sends Ctrl+C to those that it controls.
AT_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C, CTRL_D = b"\x03", b"\x04"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        yield fake


def connect(folder: Path, github: FakeGitHub, typed: bytes) -> tuple[int, str]:
    """Type something where `trigflow connect` asks for the token; return exit code and output."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "GITHUB_API_URL": github.url}
    command = [sys.executable, "-c", AT_A_TERMINAL, "-m", "trigflow", "connect", "github"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        told = _read(ours, b"Token")
        os.write(ours, typed)
        code = process.wait(DEADLINE)
        told += _read(ours, None)
    os.close(ours)
    return code, told.decode()


def _read(terminal: int, until: bytes | None) -> bytes:
    told = b""
    while until is None or until not in told:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # Linux says so where the other side has closed
            return told
        if not more:
            return told
        told += more
    return told


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"let-me-in\n", 0, "connected"),
        (b"\n", 2, "must not be empty"),
        (CTRL_D, 2, "nothing was typed"),
        (CTRL_C, 130, ""),
    ],
    ids=["an answer", "nothing", "Ctrl+D", "Ctrl+C"],
)
def test_a_prompt_ends_as_the_person_wishes(
    app_file: Path, github: FakeGitHub, typed: bytes, code: int, said: str
) -> None:
    came, told = connect(app_file.parent, github, typed)
    assert came == code
    assert said in told
    assert "Traceback" not in told
    assert "let-me-in" not in told
