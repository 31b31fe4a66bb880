"""The built wheel, installed with nothing beside it. `nox -s wheel` brings it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import trigflow
import trigflow_github
import trigflow_stripe

WHEEL = os.environ.get("TRIGFLOW_WHEEL")
CHECKOUT = Path(os.environ.get("TRIGFLOW_CHECKOUT", Path(__file__).parents[2]))
NEEDS_WHEEL = pytest.mark.skipif(WHEEL is None, reason="needs the built wheel: nox -s wheel")
# 100 ms and more each, and not needed to receive a delivery; then what is only needed once an app is open.
HEAVY = {"httpx", "cyclopts", "rich", "uvicorn", "hypothesis"} | {"asyncio", "apsw", "lz4", "cryptography"}
SLOWEST_IMPORT = 1.0  # seconds; the goal is 0.15 over bare Python, a busy machine may take its time


def shipped() -> set[str]:
    """Name the files in the wheel, without its metadata."""
    assert WHEEL is not None
    with zipfile.ZipFile(WHEEL) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def written() -> set[str]:
    """Name the files of the packages in the checkout."""
    roots = [CHECKOUT / "trigflow", *(CHECKOUT / "integrations").glob("trigflow_*")]
    return {
        path.relative_to(root.parent).as_posix()
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def python(code: str) -> str:
    """Run code in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@NEEDS_WHEEL
def test_the_wheel_holds_every_file_of_every_package_and_nothing_else() -> None:
    assert shipped() == written()


@NEEDS_WHEEL
def test_what_is_imported_is_the_wheel() -> None:
    for package in (trigflow, trigflow_github, trigflow_stripe):
        assert package.__file__ is not None
        assert "site-packages" in Path(package.__file__).parts


def test_the_version_is_the_packages_own() -> None:
    assert version("trigflow") == trigflow.__version__


def test_an_integration_is_found_through_its_entry_point() -> None:
    for name, integration in (("github", trigflow_github.GitHub), ("stripe", trigflow_stripe.Stripe)):
        (point,) = entry_points(group="trigflow.integrations", name=name)
        assert point.load() is integration


def test_importing_is_light() -> None:
    loaded = python("import sys, trigflow, trigflow_github, trigflow_stripe; print(*sys.modules)").split()
    assert HEAVY.isdisjoint(loaded)


def test_importing_takes_no_time_that_a_person_notices() -> None:
    measure = "import time; a = time.process_time(); import trigflow_github; print(time.process_time() - a)"
    assert min(float(python(measure)) for _ in range(3)) < SLOWEST_IMPORT
