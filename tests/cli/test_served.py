"""An app that another process serves: events are sent to it, and what came of them is looked at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.commandline import Cli, Served, until

Serve = Callable[..., Served]


@pytest.fixture
def served(app_file: Path, serve: Serve) -> Served:
    return serve("serve", "app.py")


def finished(cli: Cli, count: int) -> list[dict[str, Any]]:
    """Wait until so many runs have ended and return them, newest first."""
    found: list[dict[str, Any]] = []

    def done() -> bool:
        found[:] = cli("runs", "list", "--json").json
        return len([run for run in found if run["ended_at"]]) == count

    until(done, lambda: str(found))
    return found


def test_a_delivery_is_sent_run_and_told_from_end_to_end(cli: Cli, served: Served) -> None:
    sent = cli("deliver", "github.issues:opened", "--to", served.url, "--json")
    assert (sent.code, sent.json["status"]) == (0, 200)
    (run,) = finished(cli, 1)
    assert (run["job"], run["state"], run["event"]["id"]) == ("triage", "succeeded", sent.json["id"])

    detail = cli("runs", "show", run["id"], "--json").json
    assert detail["result"] == ["spelling"]
    assert [(task["key"], task["result"]) for task in detail["tasks"]] == [("classify", ["spelling"])]
    assert [(line["message"], line["fields"]) for line in detail["log"]] == [("seen", {"number": 1})]
    text = cli("runs", "show", run["id"]).out
    assert "classify" in text
    assert '["spelling"]' in text

    delivery = cli("deliveries", "show", run["delivery"], "--json").json
    assert [one["id"] for one in delivery["events"][0]["runs"]] == [run["id"]]
    headers = dict(delivery["headers"])
    assert headers["x-github-event"] == "issues"
    assert headers["x-github-delivery"] == sent.json["id"]
    assert headers["x-hub-signature-256"] == "[redacted]"
    assert "body" not in delivery

    assert cli("runs", "cancel", run["id"]).code == 1


def test_why_a_job_did_not_run_is_told_down_to_the_clause(cli: Cli, served: Served) -> None:
    assert cli("deliver", "github.issues:edited", "--to", served.url).code == 0
    assert cli("deliver", "github.push", "--to", served.url).code == 0
    push, edited = cli("deliveries", "list", "--json").json
    (event,) = cli("deliveries", "show", edited["id"], "--json").json["events"]
    (missed,) = event["missed"]
    assert missed["job"] == "triage"
    assert missed["why"] == 'action: expected one of ["opened"], saw "edited"'
    assert missed["why"] in cli("deliveries", "show", edited["id"]).out
    assert "no job listens to it" in cli("deliveries", "show", push["id"]).out
    assert '"action":"edited"' in cli("deliveries", "show", edited["id"], "--body").out.replace(": ", ":")
    assert cli("runs", "list").out.strip() == "no runs"


def test_the_same_id_again_is_a_duplicate_and_a_replay_is_not(cli: Cli, served: Served) -> None:
    for _ in range(2):
        assert cli("deliver", "github.issues:opened", "--id", "one", "--to", served.url).code == 0
    assert [row["outcome"] for row in cli("deliveries", "list", "--json").json] == ["duplicate", "accepted"]
    (first,) = finished(cli, 1)
    replayed = cli("replay", first["delivery"], "--json")
    assert replayed.code == 0
    newest, _ = finished(cli, 2)
    assert [newest["id"]] == replayed.json["runs"]
    assert newest["replay_of"] == first["id"]
    assert cli("replay", first["delivery"], "--job", "nope").code == 2
    assert cli("replay", "dlv_nope").code == 1


def test_what_is_not_signed_with_the_key_is_refused_and_told(cli: Cli, served: Served) -> None:
    (endpoint,) = cli("endpoints", "--json").json
    answer = httpx.post(served.url + endpoint["url"], json={}, headers={b"x-github-event": b"\x9b2J"})
    assert answer.status_code == 401
    until(lambda: bool(cli("deliveries", "list", "--json").json), lambda: "no delivery")
    (row,) = cli("deliveries", "list", "--outcome", "rejected", "--json").json
    assert row["cause"] == "missing-signature"
    shown = cli("deliveries", "show", row["id"])
    assert "X-Hub-Signature-256" in shown.out
    assert "\\x9b2J" in shown.out
    assert "\x9b" not in shown.out
    assert cli("replay", row["id"]).code == 1


def test_without_a_running_app_a_delivery_fails(cli: Cli, app_file: Path) -> None:
    result = cli("deliver", "github.issues", "--to", "http://127.0.0.1:1")
    assert result.code == 1
    assert "is the app running there?" in result.err


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("github.isues", "no event 'github.isues'"),
        ("github.issues:closed", "no example 'closed'; there are: opened"),
    ],
)
def test_an_event_that_is_not_there_is_told_with_those_that_are(
    cli: Cli, app_file: Path, event: str, told: str
) -> None:
    result = cli("deliver", event)
    assert result.code == 2
    assert told in result.err


def test_of_several_webhooks_one_must_be_named(cli: Cli, app_file: Path) -> None:
    text = app_file.read_text()
    app_file.write_text(text.replace("@trigger(", '@trigger(github.issues(repo="acme/docs"), '))
    assert "--key: repo:acme/docs, repo:acme/web" in cli("deliver", "github.issues").err


@pytest.mark.parametrize("command", [["deliveries", "list"], ["runs", "list"], ["runs", "show", "run_x"]])
def test_where_there_is_no_store_nothing_is_made_by_looking(
    cli: Cli, app_file: Path, command: list[str]
) -> None:
    result = cli(*command)
    assert result.code == 2
    assert "there is no store 'trigflow.db' yet" in result.err
    assert not (app_file.parent / "trigflow.db").exists()


def test_a_file_that_is_no_store_is_told(cli: Cli, folder: Path) -> None:
    (folder / "notes.db").write_text("not a database " * 100)
    result = cli("runs", "list", "--store", "notes.db")
    assert result.code == 2
    assert "not a SQLite database" in result.err


def test_a_named_store_is_looked_into_without_the_app(cli: Cli, app_file: Path) -> None:
    cli("endpoints")
    app_file.write_text("raise RuntimeError")
    assert cli("deliveries", "list", "--store", "trigflow.db", "--json").json == []
    assert cli("runs", "list", "--store", "trigflow.db", "--json").json == []


def test_a_broken_app_is_not_served(cli: Cli, app_file: Path) -> None:
    app_file.write_text("from trigflow import App\napp = App(jobs=['nowhere'])\n")
    for command in ("serve", "dev"):
        result = cli(command)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert result.err.startswith("trigflow: app.py:2: there is no module 'nowhere'; is it on the path?")


def test_a_port_that_is_taken_is_a_set_up_error(cli: Cli, served: Served) -> None:
    port = served.url.rpartition(":")[2]
    for command in (["serve"], ["dev"], ["dev", "--no-reload"]):
        result = cli(*command, "app.py", "--port", port)
        assert result.code == 2
        assert "in use; choose another with --port" in result.err


def test_an_interrupt_ends_a_server_with_130(served: Served) -> None:
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(20) == 130


def test_dev_shows_its_endpoints_and_starts_again_after_a_change(app_file: Path, serve: Serve) -> None:
    log = app_file.parent / "served.txt"
    serve("dev", "app.py")
    until(lambda: "endpoint   github.webhook repo:acme/web" in log.read_text(), log.read_text)
    assert "no public URL" in log.read_text()
    assert "serving    http://127.0.0.1:" in log.read_text()
    app_file.write_text("import nonsense_that_is_not_there\n")
    os.utime(app_file, (2e9, 2e9))
    until(lambda: "app.py:1: ModuleNotFoundError" in log.read_text(), log.read_text)
    assert "Traceback" not in log.read_text()
