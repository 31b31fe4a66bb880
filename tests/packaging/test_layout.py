"""Folders, build settings, type markers and entry points say the same."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(os.environ.get("TRIGFLOW_CHECKOUT", Path(__file__).parents[2]))


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def folders() -> list[Path]:
    """Find the packages that are there, whatever the settings say."""
    found = [path.parent for path in (CHECKOUT / "integrations").glob("*/__init__.py")]
    return [CHECKOUT / "trigflow", *sorted(found)]


def test_every_package_is_shipped(project: dict[str, Any]) -> None:
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(listed) == sorted(folder.relative_to(CHECKOUT).as_posix() for folder in folders())


def test_every_integration_is_named_for_its_service() -> None:
    assert [folder.name for folder in folders()[1:] if not folder.name.startswith("trigflow_")] == []


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_every_package_says_that_it_is_typed(folder: Path) -> None:
    assert (folder / "py.typed").is_file()


def test_every_integration_has_an_entry_point(project: dict[str, Any]) -> None:
    points: dict[str, str] = project["project"]["entry-points"]["trigflow.integrations"]
    assert sorted(point.partition(":")[0] for point in points.values()) == [
        folder.name for folder in folders()[1:]
    ]


def test_every_integration_is_measured_typed_and_held_to_its_imports(project: dict[str, Any]) -> None:
    names = [folder.name for folder in folders()]
    tool = project["tool"]
    assert tool["coverage"]["run"]["source_pkgs"] == names
    assert tool["importlinter"]["root_packages"] == names
    contracts = {contract["name"]: contract for contract in tool["importlinter"]["contracts"]}
    alone = contracts["Integrations import the public names of trigflow alone"]
    apart = contracts["Integrations never import each other"]
    assert alone["source_modules"] == apart["modules"] == names[1:]
