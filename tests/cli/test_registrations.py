"""Webhooks through the command line, beside a fake of GitHub that talks HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.cli.commandline import APP, Cli, Served, until
from trigflow.cli.registrations import SYMBOLS
from trigflow.core.plan import Action
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
    planned = cli("plan", *URL)
    assert planned.code == 2
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
    assert cli("plan", *URL).code == 0
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
    kept = cli("apply", "docs.py", *URL, "--grace", "0s")
    assert kept.code == 0
    assert "trigflow apply --allow-remove" in kept.out
    assert len(github.hooks("acme/web")) == 1
    told = cli("apply", "docs.py", *URL, "--grace", "0s", "--json").json
    assert [(one["action"], one["error"]) for one in told] == [("remove", None)]
    assert told[0]["left_out"]
    assert cli("apply", "docs.py", *URL, "--grace", "0s", "--allow-remove").code == 0
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
    refused = cli("apply")
    assert refused.code == 1
    assert "nothing was done: the public URL is not known" in refused.err
    assert github.hooks("acme/web") == []


def test_an_app_at_localhost_is_refused_once_and_not_for_each_webhook(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "never-used")
    repos = ", ".join(f'github.issues(repo="acme/r{number}")' for number in range(30))
    (folder / "app.py").write_text(APP.replace("@trigger(", f"@trigger({repos}, "))
    local = ("--url", "http://localhost:8000")
    planned = cli("plan", *local, "--offline")
    assert planned.code == 2
    assert (planned.out + planned.err).count("no provider can reach an app at localhost") == 1
    applied = cli("apply", *local)
    assert applied.code == 1
    assert (applied.out + applied.err).count("no provider can reach an app at localhost") == 1
    assert {row["state"] for row in cli("subscriptions", "list", "--json").json} <= {"pending"}


def test_a_server_at_localhost_says_so_once(
    app_file: Path, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "never-used")
    repos = ", ".join(f'github.issues(repo="acme/r{number}")' for number in range(30))
    app_file.write_text(APP.replace("@trigger(", f"@trigger({repos}, "))
    served = serve("serve", "app.py", "--url", "http://localhost:1")
    log = (app_file.parent / "served.txt").read_text
    until(lambda: "no provider can reach an app at localhost" in log(), log)
    served.process.terminate()
    served.process.wait(20)
    assert log().count("localhost;") == 1


def test_a_server_without_a_url_says_that_it_registers_nothing(
    app_file: Path, serve: Callable[..., Served]
) -> None:
    serve("serve", "app.py")
    assert (app_file.parent / "served.txt").read_text().count("no public URL") == 1


@pytest.mark.parametrize(
    "arguments", [["--nope"], ["nowhere.py"], ["--grace", "soon"], ["--url", "ftp://x"], ["--only", "nope"]]
)
def test_every_mistake_of_plan_is_1_so_that_2_only_means_changes(
    cli: Cli, app_file: Path, arguments: list[str]
) -> None:
    assert cli("plan", *arguments).code == 1


def test_a_plan_that_a_person_must_carry_out_counts_as_changes(cli: Cli, app_file: Path) -> None:
    planned = cli("plan", *URL)
    assert planned.code == 2
    assert "1 to do by hand" in planned.out


def test_a_plan_without_asking_calls_nobody(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    before = len(github.calls)
    assert cli("plan", *URL, "--offline").code == 0
    assert len(github.calls) == before


def test_only_what_is_named_is_brought_in_line(cli: Cli, folder: Path, github: FakeGitHub) -> None:
    github.add_repository("acme/docs")
    (folder / "app.py").write_text(APP.replace("@trigger(", '@trigger(github.issues(repo="acme/docs"), '))
    assert actions(cli("plan", *URL, "--only", "repo:acme/docs", "--json").json) == ["create"]
    assert actions(cli("apply", *URL, "--only", "repo:acme/docs", "--json").json) == ["create"]
    assert len(github.hooks("acme/docs")) == 1
    assert github.hooks("acme/web") == []
    unknown = cli("apply", *URL, "--only", "repo:acme/nope")
    assert unknown.code == 1
    assert "subscriptions list" in unknown.err


def test_every_action_has_a_symbol() -> None:
    assert set(SYMBOLS) == set(get_args(Action))


def test_drift_is_a_change_and_is_mended(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    (hook,) = github.hooks("acme/web")
    github.edit_hook(hook.id, events=("push",))
    planned = cli("plan", *URL)
    assert planned.code == 2
    assert "missing" in planned.out
    assert cli("apply", *URL).code == 0
    assert github.hooks("acme/web")[0].events == ("issues",)


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


def test_a_provider_that_does_not_say_what_it_has_is_no_provider_in_line(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    cli("apply", *URL)
    github.fail("GET", "/hooks", 401, times=None)
    planned = cli("plan", *URL)
    assert planned.code == 1
    assert "as far as the store knows" in planned.out
    assert planned.err.count("401") == 1
    assert "401" in cli("plan", *URL, "--json").json[0]["unanswered"]
    assert cli("plan", *URL, "--offline").code == 0
    applied = cli("apply", *URL)
    assert applied.code == 1
    assert "401" in applied.out
    assert "Traceback" not in planned.err + applied.err
