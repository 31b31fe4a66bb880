"""The demo does what it says, from the package alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import trigflow.cli
from tests.cli.commandline import Cli
from trigflow.cli import demo, demo_app
from trigflow_github.testing import FakeGitHub

EXAMPLE = Path(__file__).parents[2] / "examples" / "github_triage.py"


def test_the_demo_app_is_the_example_of_the_readme() -> None:
    assert Path(demo_app.__file__).read_bytes() == EXAMPLE.read_bytes()


def test_the_demo_shows_what_ran_and_what_did_not_and_why(cli: Cli, folder: Path) -> None:
    result = cli("demo")
    assert result.code == 0, result.out + result.err
    for told in (
        "a person opens an issue: accepted, triage succeeded",
        'the issue is edited: accepted, nothing ran (action: expected one of ["opened"], saw "edited")',
        'a bot opens an issue: accepted, nothing ran (issue.user.type: expected one of ["User"], saw "Bot")',
        "GitHub delivers the first one again: duplicate",
        "a stranger forges a delivery: rejected, nothing ran (bad-signature)",
        'label → ["bug","docs"]',
        "all that had to happen did",
    ):
        assert told in result.out
    assert result.err == ""
    assert list(folder.iterdir()) == []
    assert "GITHUB_TOKEN" not in os.environ


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[FakeGitHub], object]], None]:
    """Do something to the demo's GitHub as soon as it is there."""
    enter = FakeGitHub.__enter__

    def spoil(how: Callable[[FakeGitHub], object]) -> None:
        def entered(fake: FakeGitHub) -> FakeGitHub:
            enter(fake)
            how(fake)
            return fake

        monkeypatch.setattr(FakeGitHub, "__enter__", entered)

    return spoil


Spoil = Callable[[Callable[[FakeGitHub], object]], None]


def test_a_demo_in_which_something_else_happened_fails(cli: Cli, spoil: Spoil) -> None:
    def label(fake: FakeGitHub) -> None:
        answer = httpx.post(
            f"{fake.url}/repos/acme/web/issues/1/labels",
            headers={"authorization": f"Bearer {demo.TOKEN}"},
            json={"labels": ["stray"]},
        )
        assert answer.is_success

    spoil(label)
    result = cli("demo")
    assert result.code == 1
    assert "after 2 calls, not ['bug', 'docs'] after 1" in result.out


@pytest.mark.parametrize(
    ("path", "told"),
    [("/labels", "nothing came of it: a person opens an issue"), ("/hooks", "no webhook was registered")],
)
def test_a_demo_waits_for_nothing_without_end(
    cli: Cli, spoil: Spoil, monkeypatch: pytest.MonkeyPatch, path: str, told: str
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", 1.5)
    spoil(lambda fake: fake.fail("POST", path, 500, times=None))
    result = cli("demo")
    assert result.code == 1
    assert f"{told} within 1.5 s" in result.err


def test_a_demo_that_is_kept_can_be_looked_into_with_the_commands_that_it_prints(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trigflow", "demo", "--keep"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        commands: list[str] = []
        for line in process.stdout:
            if line.startswith("  trigflow "):
                commands.append(line.strip().removeprefix("trigflow "))
            if "Ctrl+C" in line:
                break
        assert len(commands) == 6
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "trigflow", *command.split()],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
        process.terminate()
        assert process.wait(20) == 0


def test_the_package_holds_all_that_init_and_demo_need() -> None:
    inside = Path(trigflow.cli.__file__).parent
    assert (inside / "demo_app.py").is_file()
    assert {path.name for path in (inside / "templates").iterdir()} == {
        "app.py.txt",
        "test_app.py.txt",
        "gitignore.txt",
    }
    assert re.search(r"^app = App\(", (inside / "templates" / "app.py.txt").read_text(), re.MULTILINE)
