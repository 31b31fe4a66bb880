"""Webhooks that nobody knows: found at a fake of GitHub, told apart, and swept only where they are ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commandline import Cli
from trigflow_github.testing import FakeGitHub

URL = ("--url", "https://hooks.example/in")
TOKEN = "abcdefghijklmnopqrstuvwxyz234567"
LONG_AGO, FAR_AWAY = 1_000_000_000, 9_999_999_999  # unix seconds


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


@pytest.fixture
def crowd(cli: Cli, app_file: Path, github: FakeGitHub) -> dict[str, str]:
    """The URLs of webhooks of all kinds in one repository, by what they are."""
    assert cli("apply", *URL).code == 0
    (ours,) = github.hooks("acme/web")
    mark = ours.url.rpartition("/")[0]
    urls = {
        "stray": f"{mark}/{TOKEN}",
        "expired": f"https://laptop.example/e/zzzzzzzz/{TOKEN}.{LONG_AGO}",
        "alive": f"https://laptop.example/e/zzzzzzzz/{TOKEN}.{FAR_AWAY}",
        "production": f"https://other.example/e/yyyyyyyy/{TOKEN}",
        "foreign": "https://ci.example/e/hook",
    }
    for url in urls.values():
        github.add_hook("acme/web", url)
    return {**urls, "ours": ours.url}


def test_ours_and_those_out_of_time_are_told_and_the_others_only_counted(
    cli: Cli, crowd: dict[str, str], github: FakeGitHub
) -> None:
    before = len(github.writes)
    told = cli("orphans", "--json").json
    assert {one["url"] for one in told["orphans"]} == {crowd["stray"], crowd["expired"]}
    assert set(told["orphans"][0]) == {"source", "key", "connection", "url", "events", "removed", "error"}
    assert not any(one["removed"] for one in told["orphans"])
    assert told["others"] == 2
    assert told["not_asked"] == []
    shown = cli("orphans").out
    assert crowd["stray"] in shown
    assert "--remove" in shown
    assert "2 of other trigflow stores" in shown
    assert len(github.writes) == before


def test_sweeping_removes_them_and_touches_nothing_else(
    cli: Cli, crowd: dict[str, str], github: FakeGitHub
) -> None:
    swept = cli("orphans", "--remove", "--json")
    assert swept.code == 0
    assert all(one["removed"] for one in swept.json["orphans"])
    left = {hook.url for hook in github.hooks("acme/web")}
    assert left == {crowd[name] for name in ("ours", "alive", "production", "foreign")}
    assert cli("orphans").out.startswith("no orphans")


def test_apply_sweeps_only_where_removing_is_allowed(
    cli: Cli, crowd: dict[str, str], github: FakeGitHub
) -> None:
    planned = cli("plan", *URL, "--json").json
    assert [step["action"] for step in planned] == ["none", "sweep"]
    assert planned[0]["others"] == 2
    assert "2 of other trigflow stores" in cli("plan", *URL).out
    kept = cli("apply", *URL)
    assert kept.code == 0
    assert "--allow-remove" in kept.out
    assert crowd["stray"] in {hook.url for hook in github.hooks("acme/web")}
    assert cli("apply", *URL, "--allow-remove").code == 0
    assert crowd["stray"] not in {hook.url for hook in github.hooks("acme/web")}
    assert crowd["production"] in {hook.url for hook in github.hooks("acme/web")}


def test_a_refusal_is_told(cli: Cli, crowd: dict[str, str], github: FakeGitHub) -> None:
    github.fail("DELETE", "/hooks", 500, times=None)
    swept = cli("orphans", "--remove", "--json")
    assert swept.code == 1
    assert "500" in swept.json["orphans"][0]["error"]
    assert not swept.json["orphans"][0]["removed"]


def test_who_does_not_answer_is_told(cli: Cli, crowd: dict[str, str], github: FakeGitHub) -> None:
    github.fail("GET", "/hooks", 500, times=None)
    told = cli("orphans", "--json").json
    assert [one["key"] for one in told["not_asked"]] == ["repo:acme/web"]
    assert "500" in told["not_asked"][0]["error"]
    asked = cli("orphans")
    assert asked.code == 1
    assert asked.out == "no orphans where providers answered\n"
    assert "repo:acme/web" in asked.err
    assert "500" in asked.err
