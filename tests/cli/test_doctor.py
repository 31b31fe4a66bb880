"""What is wrong is told with what to do, beside a server that runs."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.commandline import APP, Cli, Served
from trigflow.core.findings import Finding
from trigflow.runtime.sealing.vault import Vault
from trigflow_github.testing import FakeGitHub


@pytest.fixture
def github(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    with FakeGitHub(token="let-me-in") as fake:
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "let-me-in")
        yield fake


def parts(findings: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["part"], one["what"]): one for one in findings}


WEBHOOK = ("webhooks", "github.webhook repo:acme/web")


def test_beside_a_running_server_everything_is_asked_and_only_https_is_missing(
    cli: Cli,
    app_file: Path,
    github: FakeGitHub,
    serve: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIGFLOW_REGISTER", "off")
    running = serve("serve", "app.py")
    assert cli("apply", "--url", running.url).code == 0
    told = cli("doctor", "--url", running.url, "--json")
    found = parts(told.json)
    assert [what for what, one in found.items() if not one["fine"]] == [("public URL", "certificate")]
    assert told.code == 1
    for what in (
        ("store", "trigflow.db"),
        ("store", "secret key"),
        ("public URL", "reachable"),
        ("public URL", "raw body"),
        ("public URL", "header fields"),
        ("public URL", "latency"),
        ("public URL", "clock"),
        ("credentials", "github"),
        WEBHOOK,
    ):
        assert found[what]["fine"], what
    shown = cli("doctor", "--url", running.url)
    assert "public URL, certificate: use https" in shown.out
    assert "1 to mend." in shown.out


def test_offline_a_store_that_is_as_it_must_be_is_fine(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    cli("apply", "--url", "https://hooks.example.com")
    told = cli("doctor", "--offline", "--url", "https://hooks.example.com")
    assert (told.code, told.out.strip().splitlines()[-1]) == (0, "All is well.")


def test_each_problem_comes_with_what_to_do(
    cli: Cli, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("apply", "--url", "https://hooks.example.com")
    monkeypatch.setenv("GITHUB_TOKEN", "expired-and-secret")
    told = cli("doctor", "--json")
    found = parts(told.json)
    wrong = {what: one for what, one in found.items() if not one["fine"]}
    assert ("credentials", "github") in wrong
    assert "trigflow connect github" in wrong["credentials", "github"]["action"]
    assert "--tunnel" in wrong["public URL", "reachable"]["action"]
    assert "expired-and-secret" not in told.out
    assert told.code == 1


OF_AN_APP = """
from trigflow import App, trigger
from trigflow_github import GitHub


@trigger(GitHub(app=True).push(), GitHub(app=True).discussion(), GitHub(app=True).security_advisory())
async def job(payload: dict) -> None: ...


app = App(jobs=[job])
"""


def test_an_event_that_the_apps_permissions_do_not_cover_is_named_before_anything_is_registered(
    cli: Cli, folder: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    github.add_app(public.decode(), app_id=7, permissions={"contents": "read", "metadata": "read"})
    monkeypatch.setenv("GITHUB_APP_ID", "7")
    monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", pem.decode())
    monkeypatch.delenv("GITHUB_TOKEN")
    (folder / "app.py").write_text(OF_AN_APP)
    found = parts(cli("doctor", "--json").json)["credentials", "github"]
    assert not found["fine"]
    assert "discussion (needs at least read access to Discussions (repository))" in found["detail"]
    assert "push" not in found["detail"]
    assert "security_advisory" not in found["detail"]  # GitHub names no permission for it


def test_a_webhook_that_is_gone_or_was_never_made_is_told(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    before = parts(cli("doctor", "--json").json)
    assert before[WEBHOOK]["action"] == "`trigflow apply` does it: create"
    assert github.hooks("acme/web") == []


def test_a_secret_key_that_does_not_fit_is_told_and_so_are_missing_credentials(
    cli: Cli, app_file: Path, github: FakeGitHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("apply", "--url", "https://hooks.example.com")
    (folder / "other.py").write_text(APP)
    cli("endpoints", "other.py", "--store", "other.db")
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", (folder / "other.db.key").read_text().strip())
    monkeypatch.delenv("GITHUB_TOKEN")
    told = cli("doctor", "app.py", "--offline", "--json")
    assert told.out, told.err
    assert not parts(told.json)["store", "secret key"]["fine"]


def test_recover_takes_what_was_sent_while_nobody_was_there(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    cli("apply", "--url", "http://127.0.0.1:9")
    (attempt,) = github.emit("acme/web", "issues", github.payload("acme/web", "issues", "opened"))
    assert not attempt.ok
    told = cli("recover", "--since", "2h", "--url", "http://127.0.0.1:9", "--json")
    (row,) = told.json
    # The other one is the ping that GitHub sends to a new webhook.
    assert (row["recovered"], row["unrecoverable"], row["error"]) == (2, 0, None)
    assert told.code == 0
    (stretch,) = cli("subscriptions", "show", "repo:acme/web", "--json").json["coverage_timeline"]
    assert (stretch["recovered"], stretch["error"]) == (2, None)  # that it was begun is not told any more
    (run,) = cli("runs", "list", "--json").json
    assert run["job"] == "triage"
    again = cli("recover", "--since", "2h", "--url", "http://127.0.0.1:9", "--subscription", "repo:acme/web")
    assert again.code == 0
    assert "repo:acme/web" in again.out
    assert len(cli("runs", "list", "--json").json) == 1


def test_a_time_without_a_unit_is_refused_with_how_it_is_written(cli: Cli, app_file: Path) -> None:
    told = cli("recover", "--since", "5")
    assert told.code == 2
    assert "10m, 2h or 3d" in told.err


def test_recover_of_what_is_not_there_says_so(cli: Cli, app_file: Path, github: FakeGitHub) -> None:
    told = cli("recover", "--subscription", "repo:acme/nowhere", "--url", "https://hooks.example.com")
    assert told.code == 1
    assert "repo:acme/nowhere" in told.err


def test_a_key_that_opens_nothing_is_a_finding(
    cli: Cli, folder: Path, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("let-me-in\n"))
    assert cli("connect", "github", "--name", "acme", "--token-stdin").code == 0
    (folder / "trigflow.db.key").write_text(Vault.new_key())
    told = cli("doctor", "--url", "https://hooks.example.com", "--json")
    found = parts(told.json)
    assert told.code == 1, told.err
    assert not found["store", "secret key"]["fine"]
    assert "can't be opened" in found["credentials", "github/acme"]["detail"]


def test_the_header_fields_of_the_app_s_own_providers_are_asked_for(
    cli: Cli, app_file: Path, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Collection[str]] = []

    async def heard(*_: object, marked: Collection[str], **__: object) -> list[Finding]:
        sent.append(marked)
        return []

    monkeypatch.setattr("trigflow.web.examine.examine", heard)
    cli("apply", "--url", "https://hooks.invalid")
    cli("doctor", "--url", "https://hooks.invalid")
    assert set(sent[0]) == {"x-github-event", "x-github-delivery", "x-hub-signature-256"}


def test_before_there_is_a_store_no_key_is_said_to_be_beside_it(
    cli: Cli, app_file: Path, github: FakeGitHub
) -> None:
    found = parts(cli("doctor", "--offline", "--json").json)
    assert "keep a copy" not in found["store", "secret key"]["detail"]
