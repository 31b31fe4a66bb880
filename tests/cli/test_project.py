"""Starting an app, checking it, and looking at it as it is written."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from cryptography.fernet import Fernet

import trigflow
from tests.cli.commandline import APP, Cli


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["apply", "--nope"],
        ["runs", "show"],
        ["runs", "list", "--limit", "many"],
        ["deliveries", "list", "--outcome", "lost"],
        ["apply", "--grace", "soon"],
        ["check", "app.py", "--url", "not-a-url"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(cli: Cli, app_file: Path, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.count("\n") == 1
    assert result.err.startswith("trigflow: ")


def test_version_names_what_it_runs_on(cli: Cli) -> None:
    told = cli("version", "--json").json
    assert told["trigflow"] == trigflow.__version__
    assert told["python"] == platform.python_version()
    assert told["sqlite"] == apsw.sqlite_lib_version()
    assert "github" in told["integrations"]
    assert trigflow.__version__ in cli("version").out
    assert cli("--version").out.strip() == trigflow.__version__


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["demo", "--help"]])
def test_a_cheap_command_loads_no_server_no_client_and_no_integration(arguments: list[str]) -> None:
    code = (
        "import sys; from trigflow.cli import main; main(sys.argv[1:]);"
        "print(sorted({'httpx', 'uvicorn', 'trigflow_github', 'hypothesis'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_can_be_called_as_a_module(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trigflow", "nope"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m trigflow settings --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_what_init_writes_passes_its_own_test(cli: Cli, folder: Path) -> None:
    assert cli("init", "bot").code == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder / "bot",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert cli("check", "bot/app.py").code == 0


def test_init_overwrites_nothing(cli: Cli, app_file: Path) -> None:
    result = cli("init")
    assert result.code == 2
    assert app_file.read_text() == APP
    assert not (app_file.parent / "test_app.py").exists()


def test_check_tells_the_jobs_and_writes_nothing(cli: Cli, app_file: Path) -> None:
    result = cli("check", "--json")
    assert [job["id"] for job in result.json["jobs"]] == ["triage"]
    assert [step["key"] for step in result.json["plan"]] == ["repo:acme/web"]
    assert cli("check").out.startswith("ok  1 job: triage")
    assert cli("plan", "--offline").code == 2  # a person must make the webhook
    assert sorted(path.name for path in app_file.parent.iterdir()) == ["app.py"]


def test_check_finds_a_field_that_no_example_has(cli: Cli, app_file: Path) -> None:
    app_file.write_text(
        APP.replace("dict[str, Any]", "Mine").replace(
            "def classify", "import attrs\n@attrs.frozen\nclass Mine:\n    isue: int\n\ndef classify"
        )
    )
    result = cli("check")
    assert result.code == 2
    assert "isue" in result.err


def test_jobs_tell_what_they_listen_to(cli: Cli, app_file: Path) -> None:
    (job,) = cli("jobs", "--json").json
    assert job["id"] == job["name"] == "triage"
    assert job["enabled"] is True
    assert job["triggers"] == [
        {
            "name": "github.issues",
            "event": "issues",
            "source": "github.webhook",
            "key": "repo:acme/web",
            "dynamic": None,
            "filter": {"action": ["opened"]},
        }
    ]
    assert "github.webhook repo:acme/web" in cli("jobs").out


def test_settings_tell_their_origin_and_no_secret(
    cli: Cli, app_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cli("settings", "--new-key").out.strip()
    Fernet(key)
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", key)
    monkeypatch.setenv("TRIGFLOW_THREADS", "3")
    result = cli("settings", "--url", "https://hooks.example", "--json")
    told = {one["name"]: (one["value"], one["origin"]) for one in result.json}
    assert told["secret_key"] == ("***", "environment")
    assert told["threads"] == (3, "environment")
    assert told["url"] == ("https://hooks.example", "keyword")
    assert told["store"] == ("trigflow.db", "default")
    assert key not in result.out + cli("settings").out


def test_settings_can_be_shown_before_there_is_an_app(cli: Cli) -> None:
    assert {one["origin"] for one in cli("settings", "--json").json} == {"default"}
    assert cli("settings", "missing.py").code == 2
