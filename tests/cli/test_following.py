"""`trigflow dev --follow`: events without a public URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commandline import Cli, Served, until
from trigflow_github.testing import FakeGitHub


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


def test_what_a_provider_could_not_deliver_runs_here_and_no_webhook_is_left_behind(
    cli: Cli, app_file: Path, github: FakeGitHub, serve: Callable[..., Served], folder: Path
) -> None:
    running = serve("dev", "app.py", "--follow", "--every", "1s", "--no-reload")
    log = (folder / "served.txt").read_text

    until(lambda: bool(github.hooks("acme/web")), log)
    (hook,) = github.hooks("acme/web")
    assert ".trigflow.invalid/e/" in hook.url
    (attempt,) = github.emit("acme/web", "issues", github.payload("acme/web", "issues", "opened"))
    assert not attempt.ok
    until(lambda: [run["state"] for run in cli("runs", "list", "--json").json] == ["succeeded"], log)

    running.process.terminate()
    running.process.wait(20)
    assert github.hooks("acme/web") == []
    assert len(cli("runs", "list", "--json").json) == 1


def test_following_needs_no_public_url_and_is_not_done_too_often(cli: Cli, app_file: Path) -> None:
    assert "--tunnel" in cli("dev", "--follow", "--tunnel").err
    assert "less than a second" in cli("dev", "--follow", "--every", "0s").err
