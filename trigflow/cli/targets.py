"""Finding the user's app: `module:app`, `file.py`, `file.py:app`, or what lies in this folder.

Two failures look alike in Python and are told apart here: the target is not
there (TargetError), and it is there but its own code failed (TargetFailed, which
names the user's file and line and shows nothing of ours).
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import attrs

from trigflow.app import App
from trigflow.core.errors import SetupError

USUAL = ("app", "main", "trigflow_app", "asgi", "wsgi")
_MAKES_AN_APP = re.compile(r"^(?=.*\btrigflow\b)(?=.*\bApp\()", re.DOTALL)
_OURS = str(Path(__file__).parent.parent)
FORMS = "name it as module:app, file.py or file.py:app"


class TargetError(SetupError):
    """The target is not there, or is no app."""


class TargetFailed(SetupError):
    """The target is there, and its own code raised."""

    def __init__(self, place: str, error: BaseException, line: str) -> None:
        text = str(error) if isinstance(error, SetupError) else _described(error)
        super().__init__(f"{place}: {text}" + (f"  [{line}]" if line else ""))
        self.place = place


@attrs.frozen
class Target:
    """Where an app is: an importable module, the folder that it is imported from, and a name in it."""

    module: str
    folder: Path
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.module}:{self.name}" if self.name else self.module


def load(text: str | None) -> App:
    """Import the app that a target names; without one, the app of this folder.

    Raises TargetError or TargetFailed.
    """
    if text is not None:
        return _app_in(_import(target_of(text)), target_of(text))
    found: dict[int, tuple[Target, App]] = {}
    for target in _candidates(Path.cwd()):
        module = _import(target)
        for name, app in _apps(module).items():
            found.setdefault(id(app), (attrs.evolve(target, name=name), app))
    if not found:
        raise TargetError(f"there is no app in this folder; {FORMS}")
    if len(found) > 1:
        names = ", ".join(str(target) for target, _ in found.values())
        raise TargetError(f"there are several apps in this folder: {names}; name one of them")
    return next(app for _, app in found.values())


def target_of(text: str) -> Target:
    """Read a target as a person writes it."""
    where, colon, name = text.rpartition(":") if _has_name(text) else (text, "", "")
    if colon and not name.isidentifier():
        raise TargetError(f"{text!r} names no app; {FORMS}")
    if where.endswith(".py") or "/" in where or "\\" in where:
        return _file(Path(where), name or None)
    if not all(part.isidentifier() for part in where.split(".")):
        raise TargetError(f"{text!r} is neither a module nor a file; {FORMS}")
    return Target(where, Path.cwd(), name or None)


def _has_name(text: str) -> bool:
    # C:\app.py has a colon, too.
    return ":" in text and not text.endswith(".py")


def _file(path: Path, name: str | None) -> Target:
    if not path.is_file():
        raise TargetError(f"there is no file {str(path)!r}; {FORMS}")
    folder, module = path.resolve().parent, path.stem
    if not module.isidentifier():
        raise TargetError(f"{path.name!r} can't be imported: rename it to letters, digits and underscores")
    while (folder / "__init__.py").exists():
        folder, module = folder.parent, f"{folder.name}.{module}"
    return Target(module, folder, name)


def _candidates(folder: Path) -> Iterator[Target]:
    usual = [folder / f"{name}.py" for name in USUAL]
    others = sorted(path for path in folder.glob("*.py") if path not in usual)
    for path in [*usual, *others]:
        tests = path.name.startswith("test_") or path.stem in ("conftest", "setup", "noxfile")
        if tests or not path.is_file() or not path.stem.isidentifier():
            continue
        if _MAKES_AN_APP.search(path.read_text(encoding="utf-8", errors="replace")):
            yield _file(path, None)


def _import(target: Target) -> ModuleType:
    folder = str(target.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{target.module}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {target.module!r} in {folder}; {FORMS}") from None
        raise _failed(error, target) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: the user's module is executed
        raise _failed(error, target) from None


def _failed(error: BaseException, target: Target) -> TargetFailed:
    if isinstance(error, SyntaxError) and error.filename:
        return TargetFailed(f"{_short(error.filename)}:{error.lineno}", error, (error.text or "").strip())
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", _OURS)) and "importlib" not in frame.filename
    ]
    theirs = [frame for frame in frames if frame.filename.startswith(str(target.folder))] or frames
    if not theirs:
        return TargetFailed(str(target), error, "")
    return TargetFailed(f"{_short(theirs[-1].filename)}:{theirs[-1].lineno}", error, theirs[-1].line or "")


def _described(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}".rstrip(": ")


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def _apps(module: ModuleType) -> dict[str, App]:
    """Return the apps of a module by name, each once."""
    found: dict[str, App] = {}
    for name, value in vars(module).items():
        if isinstance(value, App) and not any(value is app for app in found.values()):
            found[name] = value
    return found


def _app_in(module: ModuleType, target: Target) -> App:
    apps = _apps(module)
    if target.name is not None:
        value = getattr(module, target.name, None)
        if isinstance(value, App):
            return value
        known = f"; it has {', '.join(apps)}" if apps else ""
        raise TargetError(f"module {target.module!r} has no app called {target.name!r}{known}")
    if "app" in apps or len(apps) == 1:
        return apps.get("app") or next(iter(apps.values()))
    if not apps:
        raise TargetError(f"module {target.module!r} makes no App; {FORMS}")
    names = ", ".join(f"{target.module}:{name}" for name in apps)
    raise TargetError(f"module {target.module!r} has several apps: {names}; name one of them")
