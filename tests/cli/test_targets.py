"""An app is found as a person names it; a wrong name is told apart from an app that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commandline import APP, Cli
from trigflow.cli.targets import TargetError, TargetFailed, load


@pytest.mark.parametrize("target", ["app:app", "app", "app.py", "app.py:app", "./app.py", None])
def test_every_form_leads_to_the_same_app(app_file: Path, target: str | None) -> None:
    assert list(load(target).jobs) == ["triage"]


def test_a_file_elsewhere_is_found_by_its_path(folder: Path) -> None:
    (folder / "far" / "away").mkdir(parents=True)
    (folder / "far" / "away" / "bot.py").write_text(APP)
    assert list(load("far/away/bot.py").jobs) == ["triage"]


def test_a_module_of_a_package_keeps_its_whole_name(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "bot.py").write_text(APP.replace(', id="triage"', ""))
    assert list(load("shop/bot.py").jobs) == ["shop.bot:triage"]


def test_an_app_by_another_name_in_another_file_is_found_too(folder: Path) -> None:
    (folder / "robot.py").write_text(APP.replace("app = App", "robot = App"))
    (folder / "notes.py").write_text("raise RuntimeError('nobody asked for me')")
    assert list(load(None).jobs) == ["triage"]


def test_of_several_apps_one_must_be_named(folder: Path) -> None:
    (folder / "one.py").write_text(APP)
    (folder / "two.py").write_text(APP.replace("app = App", "other = App"))
    with pytest.raises(TargetError, match=r"one:app, two:other; name one"):
        load(None)


def test_of_several_apps_in_one_file_one_must_be_named(folder: Path) -> None:
    (folder / "two.py").write_text(APP.replace("app = App", "a = App") + "b = App(jobs=[triage])\n")
    with pytest.raises(TargetError, match=r"two:a, two:b; name one"):
        load("two.py")
    assert list(load("two.py:b").jobs) == ["triage"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nowhere", "no module 'nowhere'"),
        ("nowhere.deep:app", "no module 'nowhere.deep'"),
        ("nowhere.py", "no file 'nowhere.py'"),
        ("app:other", "no app called 'other'; it has app"),
        ("app:", "names no app"),
        ("a b", "neither a module nor a file"),
        ("", "neither a module nor a file"),
    ],
)
def test_a_target_that_is_not_there_is_told_by_its_name(app_file: Path, target: str, told: str) -> None:
    with pytest.raises(TargetError, match=told):
        load(target)


def test_a_folder_without_an_app_says_how_to_name_one(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"module:app, file\.py or file\.py:app"):
        load(None)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os\nimport not_installed\n", r"app\.py:2: ModuleNotFoundError.*\[import not_installed\]"),
        ("\n\nx = 1 / 0\n", r"app\.py:3: ZeroDivisionError: division by zero"),
        ("def f():\n    return 1 +\n", r"app\.py:2: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)\n", r"app\.py:1: SystemExit: 3"),
        ("from trigflow import App\napp = App(url='nope')\n", r"app\.py:2: url: is 'nope'"),
        ("import inner\n", r"inner\.py:1: KeyError: 'x'"),
    ],
)
def test_an_app_that_fails_is_told_by_its_own_file_and_line(folder: Path, code: str, told: str) -> None:
    (folder / "app.py").write_text(code)
    (folder / "inner.py").write_text("{}['x']\n")
    with pytest.raises(TargetFailed, match=told):
        load("app.py")


def test_neither_failure_shows_a_traceback(cli: Cli, folder: Path) -> None:
    (folder / "broken.py").write_text("import not_installed\n")
    for target in ("broken.py", "missing.py"):
        result = cli("check", target)
        assert result.code == 2
        assert result.out == ""
        assert result.err.count("\n") == 1
        assert result.err.startswith("trigflow: ")
