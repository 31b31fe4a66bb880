"""Webhooks through the command line, beside a fake of GitHub that talks HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commandline import APP, Cli
from trigflow_github.testing import FakeGitHub

URL = ("--url", "https://hooks.example/in")


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


def actions(steps: list[dict[str, object]]) -> list[object]:
    return [step["action"] for step in steps]


def test_a_webhook_is_planned_made_and_then_left_alone(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    planned = cli("plan", *URL, "--exit-code")
    assert planned.code == 3
    assert "+ github.webhook repo:acme/web  no webhook yet" in planned.out
    assert "Plan: 1 to create." in planned.out
    assert github.writes == []

    assert actions(cli("apply", *URL, "--json").json) == ["create"]
    (hook,) = github.hooks("acme/web")
    assert hook.url.startswith("https://hooks.example/in/e/")
    assert sorted(hook.events) == ["issues"]

    before = len(github.writes)
    again = cli("apply", *URL)
    assert (again.code, again.out.strip()) == (0, "Nothing to do.")
    assert cli("plan", *URL, "--exit-code").code == 0
    assert len(github.writes) == before


def test_what_more_jobs_want_is_missing_until_it_is_applied(
    cli: Cli, folder: Path, github: FakeGitHub
) -> None:
    (folder / "one.py").write_text(APP)
    (folder / "two.py").write_text(
        APP.replace("actions=", "actions=").replace(
            "app = App(jobs=[triage])",
            "async def pushed(payload: dict[str, Any]) -> None: ...\n"
            'app = App(jobs=[triage, trigger(github.push(repo="acme/web"))(pushed)])',
        )
    )
    cli("apply", "one.py", *URL)
    (step,) = cli("plan", "two.py", *URL, "--json").json
    assert (step["action"], step["missing"], step["orphaned"]) == ("update", ["push"], [])
    assert cli("apply", "two.py", *URL).code == 0
    assert sorted(github.hooks("acme/web")[0].events) == ["issues", "push"]


def test_what_no_job_wants_any_more_is_removed_after_the_grace(
    cli: Cli, folder: Path, github: FakeGitHub
) -> None:
    github.add_repository("acme/docs")
    (folder / "web.py").write_text(APP)
    (folder / "docs.py").write_text(APP.replace("acme/web", "acme/docs"))
    cli("apply", "web.py", *URL)
    assert actions(cli("plan", "docs.py", *URL, "--json").json) == ["create", "none"]
    assert "- github.webhook repo:acme/web" in cli("plan", "docs.py", *URL, "--grace", "0s").out
    assert cli("apply", "docs.py", *URL, "--grace", "0s").code == 0
    assert github.hooks("acme/web") == []
    assert len(github.hooks("acme/docs")) == 1


def test_a_step_that_is_refused_is_told_and_fails_the_command(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    github.fail("POST", "/hooks", 500, times=None)
    result = cli("apply", *URL, "--json")
    assert result.code == 1
    assert "500" in result.json[0]["error"]
    (endpoint,) = cli("endpoints", *URL, "--json").json
    assert endpoint["state"] == "failing"
    assert "500" in endpoint["cause"]


def test_without_credentials_a_person_must_do_it(cli: Cli, app_file: Path) -> None:
    result = cli("apply", *URL)
    assert result.code == 1
    assert "set GITHUB_TOKEN" in result.out


def test_without_a_public_url_no_webhook_can_be_made(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    assert "the public URL is not known" in cli("plan").err
    assert cli("apply").code == 1
    assert github.hooks("acme/web") == []


def test_an_endpoint_is_known_before_the_app_has_ever_run(cli: Cli, app_file: Path) -> None:
    (endpoint,) = cli("endpoints", *URL, "--json").json
    assert endpoint["source"] == "github.webhook"
    assert endpoint["key"] == "repo:acme/web"
    assert endpoint["url"].startswith("https://hooks.example/in/e/")
    assert endpoint["state"] == "pending"
    assert cli("endpoints", *URL, "--json").json == [endpoint]


def test_a_secret_is_shown_only_to_who_asks_for_it(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    (hook,) = github.hooks("acme/web")
    assert hook.secret
    told = [cli("endpoints", *rest) for rest in (["--json"], [])]
    told += [cli("plan", *URL), cli("apply", *URL), cli("check"), cli("jobs"), cli("settings")]
    assert all(hook.secret not in result.out + result.err for result in told)
    assert all("let-me-in" not in result.out + result.err for result in told)
    assert cli("endpoints", "--json").json[0]["secret"] is None
    assert cli("endpoints", "--json", "--show-secrets").json[0]["secret"] == hook.secret
    assert hook.secret in cli("endpoints", "--show-secrets").out
