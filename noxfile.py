"""The gates. `nox` runs all of them; `nox -s tests -- -k filters` one, with arguments for pytest.

Tests run against the built wheel, from a folder where the source packages can't be imported.
Hypothesis tries harder with HYPOTHESIS_PROFILE=ci, and for hours with long.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests", "examples", "wheel"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [Path(path) for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
FAST = PROJECT["project"]["optional-dependencies"]["fast"]
NEEDED_COVERAGE = 95  # per cent of lines and branches
ON_ALL_CORES = ["--numprocesses=logical", "--dist=worksteal"]
HELD_TO_IT = ["core", "sources"]  # below trigflow/; the rest is only reported


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_wheel(session: nox.Session, *more: str) -> Path:
    """Build the wheel, install it with more requirements, and return its path."""
    built = Path(session.create_tmp()).resolve() / "wheel"
    shutil.rmtree(built, ignore_errors=True)
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(ROOT))
    (wheel,) = built.glob("*.whl")
    # --force-reinstall --no-deps: the version is the same as last time, the content is not.
    session.install(str(wheel), *more)
    session.run("pip", "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel))
    return wheel


def copy_beside(session: nox.Session) -> Path:
    """Copy what tests read, but no source package, to a folder, and return it."""
    place = Path(session.create_tmp()).resolve() / "away"
    shutil.rmtree(place, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("tests", "examples", "docs", "benchmarks"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, place / name)
    return place


def run_pytest(session: nox.Session, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run pytest on the copy."""
    os.environ.setdefault("HYPOTHESIS_PROFILE", "fast")
    with session.chdir(copy_beside(session)):
        # Not nox's own TMPDIR: it is below the checkout, whose settings pytest would find there.
        session.run(*arguments, *session.posargs, env={"TMPDIR": tempfile.gettempdir(), **(env or {})})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    session.install(*group("lint"), *PROJECT["project"]["dependencies"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    paths = os.pathsep.join(str(ROOT / package.parent) for package in PACKAGES)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": paths})


@nox.session
def types(session: nox.Session) -> None:
    """Check types, and that every public name has one."""
    install_wheel(session, *group("lint"), *group("test"), "nox")
    sources = [str(package) for package in PACKAGES]
    session.run("mypy", "--strict", *sources, "examples", "noxfile.py")
    session.run("pyright", *sources)
    pages = Path(session.create_tmp()).resolve()
    session.run("python", "tests/examples/pages.py", str(pages))
    # A page may define a name twice; its functions are there to be read.
    session.run(
        "mypy", "--strict", "--disable-error-code=no-redef", *map(str, sorted(pages.glob("page_*.py")))
    )
    with session.chdir(session.create_tmp()):
        for package in PACKAGES:
            verify_types(session, package.name)


def verify_types(session: nox.Session, package: str) -> None:
    """Fail where a public name has no type; the command line's modules are not to be imported."""
    command = ("pyright", "--ignoreexternal", "--outputjson", "--verifytypes", package)
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # of newer versions, among the JSON
    report = json.loads(str(session.run(*command, env=env, silent=True, stderr=None, success_codes=[0, 1])))
    exported = [symbol for symbol in report["typeCompleteness"]["symbols"] if symbol["isExported"]]
    wanting = [
        symbol["name"]
        for symbol in exported
        if not symbol["isTypeKnown"] and not symbol["name"].startswith("trigflow.cli.")
    ]
    if not exported or wanting:
        session.error(f"{package}: {len(wanting)} public names without a whole type: {', '.join(wanting)}")
    session.log(f"{package}: {len(exported)} public names, all of them typed")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the installed wheel, with coverage; arguments go to pytest."""
    install_wheel(session, *group("test"), *FAST)
    run_pytest(
        session, "python", "-m", "pytest", *ON_ALL_CORES, "--cov", "--cov-report=",
        "--ignore=tests/examples", "--ignore=tests/packaging",
    )  # fmt: skip
    with session.chdir(Path(session.create_tmp()) / "away"):
        session.run("coverage", "report", "--skip-covered", "--skip-empty", silent=False)
        if session.posargs:
            return  # a part of the tests covers a part of the code
        for part in HELD_TO_IT:
            session.log(f"trigflow/{part} must be covered to {NEEDED_COVERAGE} %")
            session.run(
                "coverage", "report", f"--include=*/trigflow/{part}/*", "--format=total",
                f"--fail-under={NEEDED_COVERAGE}",
            )  # fmt: skip


@nox.session
def examples(session: nox.Session) -> None:
    """Execute the examples, each in a real server, on the installed wheel."""
    install_wheel(session, *group("test"))
    run_pytest(session, "python", "-m", "pytest", "tests/examples")


@nox.session
def wheel(session: nox.Session) -> None:
    """Install the wheel as a user would, with nothing beside it, and use it."""
    built = install_wheel(session)
    place = Path(session.create_tmp()).resolve()
    with session.chdir(place):
        session.run("trigflow", "version")
        session.run("trigflow", "demo", env={"TRIGFLOW_STORE": "memory:"})
    session.install("pytest", "hypothesis")
    env = {"TRIGFLOW_CHECKOUT": str(ROOT), "TRIGFLOW_WHEEL": str(built)}
    run_pytest(session, "python", "-m", "pytest", "tests/packaging", env=env)


@nox.session(default=False)
def long(session: nox.Session) -> None:
    """Run the tests with Hypothesis trying for hours."""
    install_wheel(session, *group("test"), *FAST)
    os.environ["HYPOTHESIS_PROFILE"] = "long"
    run_pytest(session, "python", "-m", "pytest", "--ignore=tests/examples", "--ignore=tests/packaging")


def run_benchmark(session: nox.Session, module: str, *arguments: str) -> None:
    """Run a benchmark of the installed wheel from the copy; results go into the checkout."""
    install_wheel(session, *group("bench"), *FAST)
    results = ROOT / "benchmarks" / "results"
    with session.chdir(copy_beside(session)):
        session.run("python", "-m", module, "--results", str(results), *arguments, *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run trigflow and its peers side by side; needs wrk. Arguments: `nox -s bench -- --help`."""
    run_benchmark(session, "benchmarks.run")


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Load one process for long; needs wrk. Arguments: `nox -s soak -- --help`."""
    # Not in the copy, which is made anew each time: a soak that was ended goes on with its store.
    run_benchmark(session, "benchmarks.soak", "--folder", str(ROOT / ".trigflow" / "soak"))


@nox.session(default=False)
def size(session: nox.Session) -> None:
    """Let a store grow to ten million deliveries (25 GB): `nox -s size -- --deliveries 200000`."""
    run_benchmark(session, "benchmarks.size")


@nox.session(default=False)
def subscriptions(session: nox.Session) -> None:
    """Make a hundred thousand subscriptions at run time: `nox -s subscriptions -- --count 5000`."""
    run_benchmark(session, "benchmarks.subscriptions")


@nox.session(default=False)
def secrets(session: nox.Session) -> None:
    """Run the tests and look for their secrets in everything that they log and leave behind."""
    install_wheel(session, *group("test"), *FAST)
    run_pytest(
        session, "python", "-m", "pytest", "-p", "tests.redaction.plugin",
        "--ignore=tests/examples", "--ignore=tests/packaging",
    )  # fmt: skip


@nox.session(default=False)
def processes(session: nox.Session) -> None:
    """Several real processes on one store, some of which are killed: `nox -s processes -- --rounds 20`."""
    install_wheel(session, *group("test"))
    with session.chdir(copy_beside(session)):
        session.run("python", "tests/processes/campaign.py", *session.posargs)


@nox.session(default=False)
def crash(session: nox.Session) -> None:
    """Kill a real process under load, again and again: `nox -s crash -- --rounds 200`."""
    install_wheel(session, *group("test"), *FAST)
    with session.chdir(copy_beside(session)):
        session.run("python", "tests/crash/campaign.py", *session.posargs)


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Fail a provider and kill two instances between any two steps: `nox -s chaos -- --rounds 200`."""
    install_wheel(session, *group("test"), *FAST)
    with session.chdir(copy_beside(session)):
        session.run("python", "tests/crash/chaos.py", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Send what hostile senders may, guided by coverage: `nox -s fuzz -- --inputs 1000000`."""
    install_wheel(session, *group("test"), *group("fuzz"))
    findings = str(ROOT / ".trigflow" / "fuzz")
    with session.chdir(copy_beside(session)):
        session.run("python", "tests/hostile/campaign.py", "--findings", findings, *session.posargs)
