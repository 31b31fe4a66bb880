"""`trigflow db`: checking the store's file, copying it, and going back to a copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commandline import Cli, Served
from trigflow.stores.sqlite.connection import connect


@pytest.fixture
def store(cli: Cli, app_file: Path, folder: Path) -> Path:
    """The store of an app that has never run, but has an endpoint."""
    assert cli("endpoints").code == 0
    return folder / "trigflow.db"


def change(path: Path, sql: str) -> None:
    connection = connect(path)
    connection.execute(sql)
    connection.close()


def test_a_sound_store_is_whole(cli: Cli, store: Path) -> None:
    assert cli("db", "check").out == "trigflow.db is whole\n"
    assert cli("db", "check", "--full", "--store", store).code == 0
    told = cli("db", "check", "--json").json
    assert (told["store"], told["problems"]) == ("trigflow.db", [])


def test_a_problem_is_named_with_what_to_do_and_code_1(cli: Cli, store: Path) -> None:
    change(store, "DROP INDEX runs_event")
    result = cli("db", "check")
    assert result.code == 1
    assert "runs_event" in result.out
    assert "to do" in result.out
    (problem,) = cli("db", "check", "--json").json["problems"]
    assert (problem["kind"], "db restore" in problem["remedy"]) == ("shape", True)


def test_a_damaged_file_is_a_problem_and_no_traceback(cli: Cli, store: Path) -> None:
    content = bytearray(store.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    store.write_bytes(content)
    result = cli("db", "check", "--json")
    assert (result.code, {problem["kind"] for problem in result.json["problems"]}) == (1, {"damaged"})
    assert cli("db", "backup", "b.db").code == 2
    assert cli("db", "restore", store, "--store", "new.db").code == 2


def test_a_backup_is_restored_while_no_process_has_the_store_open(
    cli: Cli, store: Path, folder: Path, serve: Callable[..., Served]
) -> None:
    endpoint = cli("endpoints", "--json").json
    served = serve("serve")
    copied = cli("db", "backup", "b.db", "--json")  # while it is in use
    assert (copied.code, copied.json["bytes"]) == (0, (folder / "b.db").stat().st_size)
    assert "trigflow.db.key" in copied.err
    refused = cli("db", "restore", "b.db")
    assert (refused.code, "stop it" in refused.err) == (1, True)
    served.process.terminate()
    served.process.wait(20)
    store.unlink()
    restored = cli("db", "restore", "b.db", "--json")
    assert (restored.code, restored.json["kept"]) == (0, None)
    assert cli("endpoints", "--json").json == endpoint  # its secret can be read, its state is the same
    again = cli("db", "restore", "b.db")
    assert (again.code, "kept" in again.out) == (0, True)


def test_without_its_key_a_restored_store_is_warned_about(cli: Cli, store: Path, folder: Path) -> None:
    assert cli("db", "backup", "b.db").code == 0
    result = cli("db", "restore", "b.db", "--store", "elsewhere.db")
    assert (result.code, "elsewhere.db.key" in result.err) == (0, True)
    assert not (folder / "elsewhere.db.key").exists()


def test_nothing_is_overwritten_unless_told_to(cli: Cli, store: Path, folder: Path) -> None:
    (folder / "b.db").write_text("precious")
    refused = cli("db", "backup", "b.db")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert (folder / "b.db").read_text() == "precious"
    assert cli("db", "backup", "b.db", "--force").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--store", "nowhere.db"],
        ["check", "--store", "letter"],
        ["check", "--store", "memory:"],
        ["backup", "b.db", "--store", "nowhere.db"],
        ["backup", "b.db", "--store", "letter"],
        ["restore", "nowhere.db", "--store", "s.db"],
        ["restore", "letter", "--store", "s.db"],
    ],
)
def test_what_is_no_store_is_one_clear_line(cli: Cli, folder: Path, arguments: list[str]) -> None:
    (folder / "letter").write_text("a letter to grandmother, " * 100)
    result = cli("db", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("trigflow: ")
    assert {path.name for path in folder.iterdir()} <= {"letter", "s.db.lock"}


def test_json_is_for_programs(cli: Cli, store: Path) -> None:
    for arguments in (["check"], ["backup", "b.db"], ["restore", "b.db"]):
        assert json.loads(cli("db", *arguments, "--json").out)["store"] == "trigflow.db"
