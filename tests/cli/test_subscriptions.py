"""Subscriptions through the command line: looked at, held, rotated, removed, registered by hand."""

from __future__ import annotations

import hmac
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from tests.cli.commandline import APP, DEADLINE, Cli, Served, until
from trigflow.cli import named
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow_github import GitHub
from trigflow_github.testing import FakeGitHub

DYNAMIC = """
from trigflow import App, dynamic, trigger
from trigflow_github import github

repos = dynamic("user-repos", github.issues)

@trigger(repos)
async def notify(payload: dict[str, object]) -> None: ...

app = App(jobs=[notify], store="trigflow.db", register="off", connections={github: "not-a-token"})
"""
URL = ("--url", "https://hooks.example/in")
KEY = "repo:acme/web"
ROW = {
    "id", "source", "key", "connection", "account", "state", "cause", "next_action", "events", "coverage",
    "lease_until", "last_delivery_at", "deliveries",
}  # fmt: skip
ALL = ROW | {
    "url", "created_at", "asked", "failures", "next_look_at", "quiet", "lease", "keys", "attempts",
    "coverage_timeline", "log",
}  # fmt: skip
RETURNED = """
from collections.abc import Iterable
from trigflow import App, Delivery, Event, ExternalSource, Integration, Secret, event, hmac_sha256, trigger

shop_hook = ExternalSource(
    "shop.webhook", params=dict, client=object, data=dict, secret=Secret.RETURNED,
    verify=hmac_sha256("X-Shop"), instructions="in the shop's settings, under Webhooks",
)

@shop_hook.handler
def handle(delivery: Delivery[dict, dict]) -> Iterable[Event]:
    return [Event("order", delivery.payload["id"])]

class Shop(Integration, id="shop"):
    @event("order", dict, source=shop_hook)
    def order(self) -> dict:
        "An order came."
        return {}

async def job(payload: dict[str, object]) -> None: ...

app = App(jobs=[trigger(Shop().order())(job)])
"""


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


def audit(folder: Path) -> list[tuple[str, str, str]]:
    async def read() -> list[r.AuditEntry]:
        async with SqliteStore(str(folder / "trigflow.db"), store_id=lambda: "unused") as store:
            return list(await store.audit(limit=100))

    return [(entry.what, entry.subject, entry.detail) for entry in reversed(anyio.run(read))]


def subscribe(folder: Path, **repos: str) -> None:
    """Have people subscribe to repositories in the app of a folder, by their keys."""
    module: dict[str, Any] = {}
    exec(compile(DYNAMIC, "app.py", "exec"), module)

    async def work() -> None:
        async with module["app"].inspect():
            for key, repo in repos.items():
                await module["app"].subscribe(module["repos"](repo=repo), key=key)

    anyio.run(work)


def test_one_is_listed_and_shown_whole_and_never_with_its_secret(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    cli("apply", *URL)
    (row,) = cli("subscriptions", "list", "--json").json
    assert set(row) == ROW
    assert (row["key"], row["state"], row["events"], row["next_action"]) == (KEY, "active", ["issues"], "")
    by_id, by_key = (cli("subscriptions", "show", name, *URL, "--json").json for name in (row["id"], KEY))
    assert by_id == by_key
    assert set(by_id) == ALL
    (hook,) = github.hooks("acme/web")
    assert by_id["url"] == hook.url
    assert [key["serial"] for key in by_id["keys"]] == [1]
    assert [(one["action"], one["outcome"]) for one in by_id["attempts"]] == [("create", "done")]
    for command in (["list"], ["list", "--json"], ["show", KEY], ["show", KEY, "--json"]):
        told = cli("subscriptions", *command)
        assert str(hook.secret) not in told.out + told.err


def test_what_is_refused_is_told_with_every_attempt_and_what_to_do(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    github.fail("POST", "/hooks", 500, times=None)
    for _ in range(2):
        cli("apply", *URL)
    shown = cli("subscriptions", "show", KEY, "--json").json
    assert shown["state"] == "failing"
    assert shown["next_action"]
    assert [one["action"] for one in shown["attempts"]] == ["create", "create"]
    assert all("500" in one["error"] for one in shown["attempts"])
    listed = cli("subscriptions", "list")
    assert shown["next_action"] in listed.out
    assert shown["cause"] in listed.out


def test_lists_have_pages_and_can_be_narrowed(cli: Cli, folder: Path) -> None:
    repos = ", ".join(f'github.issues(repo="acme/r{number}")' for number in range(7))
    (folder / "app.py").write_text(APP.replace("@trigger(", f"@trigger({repos}, "))
    cli("endpoints", *URL)
    every = [row["id"] for row in cli("subscriptions", "list", "--json").json]
    assert len(every) == 8
    paged: list[str] = []
    while True:
        after = ["--after", paged[-1]] if paged else []
        page = cli("subscriptions", "list", "--limit", 3, *after, "--json").json
        if not page:
            break
        paged += [row["id"] for row in page]
    assert paged == every
    assert f"--after {every[2]}" in cli("subscriptions", "list", "--limit", 3).out
    assert len(cli("subscriptions", "list", "--limit", 0, "--json").json) == 8
    assert cli("subscriptions", "list", "--state", "active", "--json").json == []
    assert cli("subscriptions", "list", "--source", "nope", "--json").json == []
    assert cli("subscriptions", "list", "--connection", "github/nobody", "--json").json == []
    assert "no such subscriptions" in cli("subscriptions", "list", "--state", "active").out
    of_default = cli("subscriptions", "list", "--connection", "github", "--limit", 0, "--json").json
    assert [row["id"] for row in of_default] == every
    assert cli("subscriptions", "list", "--limit", -1).code == 2


def test_a_list_longer_than_a_page_of_the_store_is_shown_whole(
    cli: Cli, app_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repos = ", ".join(f'github.issues(repo="acme/r{number}")' for number in range(7))
    app_file.write_text(APP.replace("@trigger(", f"@trigger({repos}, "))
    cli("endpoints", *URL)
    monkeypatch.setattr(named, "PAGE", 4)
    ids = [row["id"] for row in cli("subscriptions", "list", "--json").json]
    assert len(ids) == 8
    for limit in (0, 8, 9):
        shown = cli("subscriptions", "list", "--limit", limit).out
        assert [shown.count(id_) for id_ in ids] == [1] * 8
        assert "there are more" not in shown


def test_the_start_of_a_key_is_enough_where_only_one_has_it(cli: Cli, folder: Path) -> None:
    repos = ", ".join(f'github.issues(repo="{name}")' for name in ("acme/a", "acme/ab", "other/c"))
    (folder / "app.py").write_text(APP.replace("@trigger(", f"@trigger({repos}, "))
    cli("endpoints", *URL)
    shown = {
        name: cli("subscriptions", "show", name, "--json").json["key"]
        for name in ("repo:other", "repo:acme/ab", "repo:acme/a", "repo:acme/w")
    }
    assert shown == {
        "repo:other": "repo:other/c",
        "repo:acme/ab": "repo:acme/ab",
        "repo:acme/a": "repo:acme/a",  # a whole key comes before the start of another
        "repo:acme/w": KEY,
    }
    several = cli("subscriptions", "show", "repo:acme")
    assert several.code == 1
    assert "3 subscriptions have a key that starts with 'repo:acme'" in several.err
    for row in cli("subscriptions", "list", "--json").json:
        assert (row["id"] in several.err) is row["key"].startswith("repo:acme")
    for command in (["plan", "--offline"], ["subscriptions", "pause"]):
        assert (
            "3 subscriptions" in cli(*command, *(["--only"] if command[0] == "plan" else []), "repo:acme").err
        )
    assert cli("subscriptions", "show", "").code == 1


def test_a_subscription_is_found_by_the_key_of_who_subscribed(cli: Cli, folder: Path) -> None:
    (folder / "app.py").write_text(DYNAMIC)
    subscribe(folder, ada="acme/web", bea="acme/web", cia="acme/docs")
    keys = {name: cli("subscriptions", "show", name, "--json").json["key"] for name in ("ada", "bea", "cia")}
    assert keys == {"ada": KEY, "bea": KEY, "cia": "repo:acme/docs"}
    assert cli("subscriptions", "show", "ad").code == 1  # of a subscriber the whole key


def test_one_that_is_not_there_is_told(cli: Cli, app_file: Path) -> None:
    for command in ("show", "renew", "rotate", "pause", "resume", "remove"):
        result = cli("subscriptions", command, "repo:acme/nope")
        assert result.code == 1
        assert "subscriptions list" in result.err


def test_a_key_is_rotated_at_once_and_the_old_one_is_kept_for_now(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    cli("apply", *URL)
    (before,) = github.hooks("acme/web")
    rotated = cli("subscriptions", "rotate", KEY, *URL, "--json")
    (after,) = github.hooks("acme/web")
    assert rotated.code == 0
    assert after.id == before.id
    assert after.secret != before.secret
    assert [one["action"] for one in rotated.json["applied"]] == ["rotate"]
    assert [(key["serial"], key["retiring"]) for key in rotated.json["keys"]] == [(2, False), (1, True)]
    assert str(after.secret) not in rotated.out
    assert "retiring" in cli("subscriptions", "show", KEY).out


def test_what_a_provider_refuses_fails_the_rotation(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    github.fail("PATCH", "/hooks", 500, times=None)
    rotated = cli("subscriptions", "rotate", KEY, *URL)
    assert rotated.code == 1
    assert "500" in rotated.out


def test_what_a_source_can_not_do_is_refused_with_the_reason(
    cli: Cli, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not registered yet" in (cli("endpoints", *URL), cli("subscriptions", "rotate", KEY, *URL))[1].err
    cli("apply", *URL)
    renewed = cli("subscriptions", "renew", KEY, *URL)
    assert renewed.code == 1
    assert "has no lease" in renewed.err
    monkeypatch.delenv("GITHUB_TOKEN")
    rotated = cli("subscriptions", "rotate", KEY, *URL)
    assert rotated.code == 1
    assert "takes a person: no credentials" in rotated.err


def test_one_that_jobs_want_is_removed_only_by_force(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    refused = cli("subscriptions", "remove", KEY, *URL)
    assert refused.code == 1
    assert "is wanted (issues)" in refused.err
    assert len(github.hooks("acme/web")) == 1
    forced = cli("subscriptions", "remove", KEY, "--force", *URL, "--json")
    assert forced.code == 0
    assert (forced.json["action"], forced.json["error"], forced.json["by_hand"]) == ("remove", None, None)
    assert github.hooks("acme/web") == []
    assert cli("subscriptions", "list", "--json").json == []


def test_one_that_nobody_wants_is_removed_at_once(cli: Cli, folder: Path, github: FakeGitHub) -> None:
    github.add_repository("acme/docs")
    (folder / "web.py").write_text(APP)
    (folder / "docs.py").write_text(APP.replace("acme/web", "acme/docs"))
    cli("apply", "web.py", *URL)
    assert cli("subscriptions", "remove", KEY, "docs.py", *URL).code == 1  # for 10 minutes
    assert cli("subscriptions", "remove", KEY, "docs.py", *URL, "--grace", "0s").code == 0
    assert github.hooks("acme/web") == []


def test_one_that_was_made_by_hand_must_be_removed_by_hand_too(
    cli: Cli, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    cli("endpoints", *URL)
    removed = cli("subscriptions", "remove", KEY, "--force")
    assert removed.code == 0
    assert "remove it at the provider, too" in removed.out


# --- held runs


@pytest.fixture
def served(app_file: Path, serve: Callable[..., Served]) -> Served:
    return serve("serve", "app.py")


def deliver(cli: Cli, served: Served) -> str:
    """Send as the provider does; what `trigflow deliver` sends is no sign that a webhook works."""
    (endpoint,) = cli("endpoints", "--show-secrets", "--json").json
    body, guid = GitHub().issues.specification.examples()["opened"].read(), str(uuid4())
    signature = hmac.new(endpoint["secret"].encode(), body, "sha256").hexdigest()
    headers = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": guid}
    headers |= {"X-Hub-Signature-256": f"sha256={signature}", "Content-Type": "application/json"}
    assert httpx.post(served.url + endpoint["url"], content=body, headers=headers).status_code == 200
    return guid


def states(cli: Cli) -> dict[str, str]:
    runs: list[dict[str, Any]] = cli("runs", "list", "--limit", 1000, "--json").json
    return {run["event"]["id"]: run["state"] for run in runs}


def test_a_pause_holds_runs_and_drops_none_and_a_resume_lets_all_of_them_go(cli: Cli, served: Served) -> None:
    paused = cli("subscriptions", "pause", KEY, "--json").json
    assert (paused["state"], paused["changed"]) == ("paused", True)
    assert cli("subscriptions", "pause", KEY, "--json").json["changed"] is False
    sent = [deliver(cli, served)]
    until(lambda: states(cli)[sent[-1]] == "held" or not sent.append(deliver(cli, served)), lambda: "")
    sent += [deliver(cli, served) for _ in range(3)]
    assert [states(cli)[id_] for id_ in sent[-4:]] == ["held"] * 4
    assert "resume" in cli("subscriptions", "show", KEY, "--json").json["next_action"]

    resumed = cli("subscriptions", "resume", KEY, "--json").json
    assert resumed["released"] >= 4
    assert resumed["state"] == "active"
    sent += [deliver(cli, served) for _ in range(5)]  # the server may not know yet that it was resumed
    until(lambda: set(states(cli).values()) == {"succeeded"}, lambda: str(states(cli)))
    assert set(states(cli)) == set(sent)
    assert cli("subscriptions", "resume", KEY, "--json").json["changed"] is False


def test_a_pause_outlives_what_is_registered_meanwhile(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    cli("subscriptions", "pause", KEY)
    (hook,) = github.hooks("acme/web")
    github.delete_hook(hook.id)
    assert cli("apply", *URL).code == 0
    assert len(github.hooks("acme/web")) == 1
    assert cli("subscriptions", "show", KEY, "--json").json["state"] == "paused"


# --- by hand


def test_a_secret_is_shown_once_to_who_registers_by_hand(cli: Cli, app_file: Path) -> None:
    assert cli("subscriptions", "add", *URL).code == 2
    told = cli("subscriptions", "add", "--manual", *URL, "--json").json
    assert set(told) == {
        "id", "source", "key", "connection", "state", "url", "secret", "about_secret", "events",
        "instructions",
    }  # fmt: skip
    assert told["url"].startswith("https://hooks.example/in/e/")
    assert told["events"] == ["issues"]
    assert "Webhooks" in told["instructions"]
    (endpoint,) = cli("endpoints", "--show-secrets", "--json").json
    assert told["secret"] == endpoint["secret"]
    again = cli("subscriptions", "add", KEY, "--manual", *URL, "--no-wait")
    assert again.code == 0
    assert told["secret"] not in again.out + again.err
    assert told["url"] in again.out
    entries = audit(app_file.parent)
    assert [what for what, _, _ in entries] == ["add by hand", "add by hand"]
    assert told["secret"] not in str(entries)


def test_who_registers_by_hand_sees_what_arrives_until_it_is_verified(cli: Cli, served: Served) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trigflow", "subscriptions", "add", "--manual"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as waiting:  # fmt: skip
        assert waiting.stdout is not None
        while not waiting.stdout.readline().startswith("waiting for the first verified delivery"):
            assert waiting.poll() is None
        (endpoint,) = cli("endpoints", "--json").json
        assert httpx.post(served.url + endpoint["url"], json={}).status_code == 401
        deliver(cli, served)
        assert waiting.wait(DEADLINE) == 0
        told = waiting.stdout.read()
    assert "rejected" in told
    assert "accepted" in told
    assert f"github.webhook {KEY}  active" in told
    (row,) = cli("subscriptions", "list", "--json").json
    assert (row["state"], row["coverage"], row["cause"]) == ("active", "unknown", "")
    assert cli("plan").code == 0


def test_what_trigflow_registers_is_not_added_by_hand(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("endpoints", *URL)
    assert "send everything twice" in cli("subscriptions", "add", KEY, "--manual", *URL).err
    assert cli("subscriptions", "add", "--manual", *URL).code == 1


def test_a_secret_that_the_provider_made_is_entered_and_kept_and_never_shown(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "app.py").write_text(RETURNED)
    told = cli("subscriptions", "add", "--manual", *URL, "--json").json
    assert told["secret"] is None
    assert "--secret-stdin" in told["about_secret"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("whsec-of-the-shop\n"))
    kept = cli("subscriptions", "add", "--manual", "--secret-stdin", "--no-wait", *URL)
    assert kept.code == 0, kept.err
    assert "whsec-of-the-shop" not in kept.out + kept.err
    assert cli("endpoints", "--show-secrets", "--json").json[0]["secret"] == "whsec-of-the-shop"
    assert "whsec-of-the-shop" not in str(audit(folder))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert cli("subscriptions", "add", "--manual", "--secret-stdin", *URL).code == 2


def test_the_request_log_goes_on(cli: Cli, served: Served) -> None:
    first = deliver(cli, served)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "trigflow", "subscriptions", "show", KEY, "--follow"],
        stdout=subprocess.PIPE, text=True,
    ) as follows:  # fmt: skip
        assert follows.stdout is not None
        rows = [row["id"] for row in cli("deliveries", "list", "--json").json]
        while rows[0] not in follows.stdout.readline():
            assert follows.poll() is None
        assert first
        deliver(cli, served)
        newest = cli("deliveries", "list", "--json").json[0]["id"]
        assert newest in follows.stdout.readline()
        follows.terminate()


def test_what_people_do_is_written_down(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", *URL)
    id_ = cli("subscriptions", "list", "--json").json[0]["id"]
    cli("subscriptions", "pause", KEY)
    cli("subscriptions", "resume", KEY)
    cli("subscriptions", "rotate", KEY, *URL)
    cli("subscriptions", "remove", KEY, "--force", *URL)
    entries = audit(app_file.parent)
    assert [what for what, _, _ in entries] == ["pause", "resume", "rotate", "remove"]
    assert {subject for _, subject, _ in entries} == {f"subscription {id_}"}
