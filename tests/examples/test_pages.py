"""What the documentation shows works, and what it lists is complete."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import trigflow
import trigflow.testing
from tests.examples.pages import ROOT, module, pages
from trigflow.core.settings import Settings


@pytest.fixture
def executed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Execute a page's Python as a module."""
    page: Path = request.param
    made = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.chdir(tmp_path)
    exec(compile(module(page), str(page), "exec"), made.__dict__)
    return made


@pytest.mark.anyio
@pytest.mark.parametrize("executed", pages(), indirect=True, ids=lambda page: page.stem)
async def test_the_python_of_a_page_runs_and_its_tests_pass(executed: ModuleType) -> None:
    for name, function in vars(executed).items():
        if name.startswith("test_"):
            await function()


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(Settings)
    missing = [f.name for f in fields if f"| `{f.name}` | `TRIGFLOW_{f.name.upper()}` |" not in text]
    assert missing == []


def test_every_public_error_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    named = [getattr(trigflow, name) for name in trigflow.__all__]
    errors = [one for one in named if inspect.isclass(one) and issubclass(one, trigflow.TrigflowError)]
    assert [one.__name__ for one in errors if one.__name__ not in text] == []


def test_no_public_name_is_missing_from_the_documentation() -> None:
    text = "\n".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    public = [*trigflow.__all__, *trigflow.testing.__all__]
    assert [name for name in public if not re.search(rf"\b{name}\b", text)] == []
