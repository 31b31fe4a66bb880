"""Looking after the store's file: whether it is whole, a copy of it, and back to a copy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from trigflow.cli.opening import AsJson, StorePath, TargetName, exists, set_up
from trigflow.cli.screen import say, show_json, styled, warn
from trigflow.core.errors import SetupError
from trigflow.opened import MEMORY
from trigflow.stores.sqlite import care

commands = App(name="db", help="Look after the store's file.")
PROBLEMS = 1  # exit code of `check`
NO_KEY = (
    "the secrets in it are sealed with the app's secret key, which is not part of it: keep {key}, too, "
    "or what TRIGFLOW_SECRET_KEY is set to"
)


def path_of(target: str | None, store: str | None, *, must_exist: bool = True) -> Path:
    """Return the path of the store that the command line means; an app is only imported where it must be."""
    path = store or set_up(target, None).resolved().settings.store
    if path == MEMORY:
        raise SetupError("the app keeps everything in memory, where there is no file; set another store")
    if must_exist and not exists(path):
        raise SetupError(f"there is no store {path!r} yet; start the app, or name its store with --store")
    return Path(path)


@commands.command
def check(
    target: TargetName = None,
    *,
    full: Annotated[
        bool, Parameter(negative="", help="Compare indexes with tables and unpack bodies, too; slow.")
    ] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> int:
    """Say whether a store is whole; it may be in use."""
    path = path_of(target, store)
    checked = care.check(path, full=full)
    if as_json:
        problems = [{"kind": p.kind, "what": p.what, "remedy": p.remedy} for p in checked.problems]
        show_json({"store": str(path), "version": checked.version, "problems": problems})
    for problem in () if as_json else checked.problems:
        say(styled(problem.kind, "red"), f"  {problem.what}")
        say(styled("  to do  ", "dim"), problem.remedy)
    if not (checked.problems or as_json):
        say(f"{path} is whole")
    return PROBLEMS if checked.problems else 0


@commands.command
def backup(
    path: Path,
    target: TargetName = None,
    *,
    force: Annotated[bool, Parameter(negative="", help="Replace a file that is there.")] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Copy a store to a file; it may be in use."""
    source = path_of(target, store)
    copied = care.backup(source, path, force=force)
    if as_json:
        show_json({"store": str(source), "backup": str(copied.path), "bytes": copied.size})
    else:
        say("backup     ", styled(str(copied.path), "bold"), f"  {copied.size:,} bytes, read again")
    warn(NO_KEY.format(key=f"{source}.key"))


@commands.command
def restore(
    path: Path,
    target: TargetName = None,
    *,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the store's place; no process may have it open.

    What arrived since the backup is only in the old file, which stays beside it.
    """
    where = path_of(target, store, must_exist=False)
    restored = care.restore(path, where, now=f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if as_json:
        kept = None if restored.kept is None else str(restored.kept)
        show_json({"store": str(where), "backup": str(path), "kept": kept})
    else:
        say("restored   ", styled(str(where), "bold"), f"  from {path}")
        if restored.kept is not None:
            say("kept       ", styled(str(restored.kept), "bold"), "  what was there before")
    if not exists(f"{where}.key"):
        warn(NO_KEY.format(key=f"{where}.key"))
