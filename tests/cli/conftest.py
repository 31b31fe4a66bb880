"""A folder with an app in it, and the command line."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.commandline import APP, Cli, Result, Served, served
from trigflow.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TRIGFLOW_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    """Forget the modules of a folder, as the end of a process does."""
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line in this process and in an empty folder."""

    def call(*arguments: object) -> Result:
        forget(folder)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def app_file(folder: Path) -> Path:
    """An app with the job `triage`, which wants opened issues of acme/web."""
    path = folder / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., Served]]:
    """Serve apps in processes of their own until the test ends."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(served(folder, [str(a) for a in arguments]))
