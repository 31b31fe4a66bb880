"""Webhooks of `trigflow dev`, beside a fake of GitHub that talks HTTP: real processes, real signals."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commandline import DEADLINE, Cli, until
from trigflow_github.testing import FakeGitHub

DAY = 86_400


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


@contextmanager
def dev(folder: Path, *arguments: str) -> Generator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """Run `trigflow dev` at a URL that the fake can reach."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "trigflow", "dev", "app.py", "--url", f"http://127.0.0.1:{port}"]
    log = folder / "dev.txt"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*command, "--port", port, *arguments], cwd=folder, stdout=out, stderr=out, text=True
        ) as process,
    ):
        try:
            yield process, log.read_text
        finally:
            process.kill()


def ends(url: str) -> float:
    """Return the unix second that a URL says its webhook's time is over, 0 where it says none."""
    found = re.search(r"/e/[a-z2-7]{8}/[a-z2-7]{32}(?:\.([0-9]+))?$", url)
    assert found is not None, url
    return float(found[1] or 0)


@pytest.mark.parametrize(
    ("how", "arguments"),
    [
        (signal.SIGINT, ["--no-reload"]),
        (signal.SIGTERM, ["--no-reload"]),
        (signal.SIGINT, []),
        (signal.SIGTERM, []),
    ],
)
def test_its_webhooks_have_a_time_to_live_and_are_removed_at_its_end(
    app_file: Path, github: FakeGitHub, how: signal.Signals, arguments: list[str]
) -> None:
    with dev(app_file.parent, *arguments) as (process, log):
        until(lambda: bool(github.hooks("acme/web")), log)
        (hook,) = github.hooks("acme/web")
        assert 2.9 * DAY < ends(hook.url) - time.time() < 3.1 * DAY
        github.settle()
        assert [attempt.status for attempt in github.attempts("acme/web")] == [200]  # its ping
        process.send_signal(how)
        process.wait(DEADLINE)
        assert github.hooks("acme/web") == [], log()
        assert "removed      github.webhook repo:acme/web" in log()
        assert "Traceback" not in log()


def test_its_webhooks_outlive_a_restart_after_a_change(app_file: Path, github: FakeGitHub) -> None:
    with dev(app_file.parent) as (_, log):
        until(lambda: bool(github.hooks("acme/web")), log)
        (before,) = github.hooks("acme/web")
        app_file.write_text(
            app_file.read_text()
            .replace("classify(title", "classify_it(title")
            .replace(", classify,", ", classify_it,")
        )
        until(lambda: log().count("endpoint   ") == 2, log)
        assert [hook.id for hook in github.hooks("acme/web")] == [before.id]


def test_one_that_is_nearly_out_of_time_is_removed_at_a_start_and_made_anew(
    cli: Cli, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGFLOW_WEBHOOK_TTL", "20h")
    cli("apply", "--url", "http://127.0.0.1:1")
    (old,) = github.hooks("acme/web")
    assert ends(old.url)
    monkeypatch.delenv("TRIGFLOW_WEBHOOK_TTL")
    with dev(app_file.parent) as (_, log):
        until(lambda: [h.id for h in github.hooks("acme/web")] not in ([], [old.id]), log)
        (new,) = github.hooks("acme/web")
        assert new.url.rpartition("/")[2] != old.url.rpartition("/")[2]
        assert ends(new.url) - time.time() > 2 * DAY


@pytest.mark.parametrize(("ttl", "stays"), [("0s", True), ("5d", False)])
def test_the_time_can_be_set_and_what_is_made_for_good_stays(
    app_file: Path, github: FakeGitHub, ttl: str, stays: bool
) -> None:
    with dev(app_file.parent, "--no-reload", "--webhook-ttl", ttl) as (process, log):
        until(lambda: bool(github.hooks("acme/web")), log)
        (hook,) = github.hooks("acme/web")
        assert (ends(hook.url) == 0) is stays
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE)
        assert bool(github.hooks("acme/web")) is stays, log()
