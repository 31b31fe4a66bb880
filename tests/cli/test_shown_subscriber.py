"""What the command line shows of who subscribed at run time: the key, never what is kept with it."""

from __future__ import annotations

import runpy
from pathlib import Path

import anyio
import pytest

from tests.cli.commandline import Cli
from trigflow.testing import deliver

APP = """
from typing import Any

from trigflow import App, dynamic, trigger
from trigflow_github import github

repos = dynamic("user-repos", github.issues)


@trigger(repos, id="notify")
async def notify(payload: dict[str, Any]) -> None: ...


app = App(jobs=[notify], register="off")
"""


@pytest.fixture
def delivered(folder: Path) -> dict[str, str]:
    (folder / "app.py").write_text(APP)
    names = runpy.run_path("app.py")

    async def send() -> dict[str, str]:
        async with names["app"] as app:
            for key, actions in (("ada", None), ("bob", ["closed"])):
                wish = names["repos"](repo="acme/web", actions=actions)
                await app.subscribe(wish, key=key, metadata={"token": "not-to-be-shown"})
            found = await deliver(app, names["repos"], to="ada", example="opened", id="one")
            (run,) = await app.opened.store.runs(limit=9)
            return {"delivery": found.id, "run": run.id}

    return anyio.run(send)


def test_a_delivery_tells_for_whom_its_events_are_and_why_one_got_none(
    cli: Cli, delivered: dict[str, str]
) -> None:
    told = cli("deliveries", "show", delivered["delivery"], "app", "--json").json
    assert [(one["id"], one["subscriber"], len(one["runs"])) for one in told["events"]] == [
        ("one", None, 0),
        ("one", "ada", 1),
    ]
    (missed,) = told["events"][0]["missed"]
    assert (missed["job"], missed["subscriber"]) == ("notify", "bob")
    shown = cli("deliveries", "show", delivered["delivery"], "app").out
    assert "one  for ada" in shown
    assert "notify for bob" in shown
    assert "not-to-be-shown" not in shown


def test_a_run_tells_for_whom_it_is(cli: Cli, delivered: dict[str, str]) -> None:
    assert cli("runs", "show", delivered["run"], "app", "--json").json["subscriber"] == "ada"
    shown = cli("runs", "show", delivered["run"], "app").out
    assert "subscriber" in shown
    assert "ada" in shown
    assert "not-to-be-shown" not in shown


def test_the_jobs_of_an_app_tell_their_dynamic_triggers(cli: Cli, delivered: dict[str, str]) -> None:
    (told,) = cli("jobs", "app", "--json").json
    (trigger,) = told["triggers"]
    assert (trigger["name"], trigger["dynamic"], trigger["key"]) == ("github.issues", "user-repos", None)
    assert "user-repos" in cli("jobs", "app").out
