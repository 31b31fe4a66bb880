"""Looking after the store's file: whether it is whole, copies of it, what is in it and what may go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import App, Parameter

from trigflow.cli.opening import AsJson, StorePath, TargetName, exists, set_up
from trigflow.cli.screen import clock_time, moment, say, show_fields, show_json, show_table, styled, warn
from trigflow.core.durations import shown_duration
from trigflow.core.errors import SetupError
from trigflow.opened import MEMORY, random_name
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.retention import Rule, prune as prune_one, rules
from trigflow.stores.sqlite import SqliteStore, care, shrinking
from trigflow.stores.sqlite.stats import Stats, Table, stats as stats_of

commands = App(name="db", help="Look after the store's file.")
PROBLEMS = 1  # exit code of `check`
SMALL = 1024**3  # bytes up to which `stats` counts and measures without being asked to
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


@commands.command
def stats(
    target: TargetName = None,
    *,
    full: Annotated[
        bool, Parameter(negative="", help="Count and measure tables above 1 GB, too; reads the whole file.")
    ] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a store: rows, bytes, ages; it may be in use."""
    path = path_of(target, store)
    full = full or path.stat().st_size <= SMALL
    found = stats_of(path, now=int(time.time() * 1000), full=full)
    if as_json:
        show_json({"store": str(path), **_told(found)})
        return
    show_fields(
        {
            "store": str(path),
            "id": found.store_id,
            "version": found.version,
            "size": f"{found.size:,} bytes, {found.free:,} of them free for what comes",
            "wal": f"{found.wal:,} bytes",
            "deliveries": _counts(found.outcomes),
            "queue": _counts(found.queue) or "empty",
        }
    )
    rows = [(one.name, *_cells(one)) for one in found.tables]
    show_table(("table", "rows", "bytes", "oldest", "newest"), rows, empty="")
    if not full:
        say("rows and bytes of what is large: --full, which reads the whole file")


def _cells(one: Table) -> tuple[str, str, str, str]:
    rows, size = ("" if number is None else f"{number:,}" for number in (one.rows, one.size))
    return rows, size, clock_time(one.oldest), clock_time(one.newest)


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in found.items())


def _told(found: Stats) -> dict[str, object]:
    return {
        "id": found.store_id,
        "version": found.version,
        "bytes": found.size,
        "free": found.free,
        "wal": found.wal,
        "deliveries": dict(found.outcomes),
        "queue": dict(found.queue),
        "tables": {
            one.name: {
                "rows": one.rows,
                "bytes": one.size,
                "oldest": moment(one.oldest),
                "newest": moment(one.newest),
            }
            for one in found.tables
        },
    }


@commands.command
async def prune(
    target: TargetName = None,
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Only count what would be removed.")] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Remove what the app's settings no longer keep; the store may be in use.

    An app that is open does it by itself, once an hour.
    """
    settings = set_up(target, store).resolved().settings
    path, clock = path_of(target, store), SystemClock()
    done: list[tuple[Rule, int]] = []
    async with SqliteStore(path, store_id=lambda: random_name(5)) as opened:
        for rule in rules(settings, now=clock.now()):
            done.append((rule, await prune_one(opened, rule, clock, rest=anyio.sleep, dry=dry_run)))
    if as_json:
        rows = [{"kind": rule.kind, "before": moment(rule.before), "rows": rows} for rule, rows in done]
        show_json({"store": str(path), "dry_run": dry_run, "removed": rows})
        return
    show_table(
        ("kind", "kept", "from before", "would go" if dry_run else "removed"),
        (
            (rule.kind, shown_duration(rule.kept), clock_time(rule.before), f"{count:,}")
            for rule, count in done
        ),
        empty="everything is kept forever",
    )


@commands.command
def vacuum(
    target: TargetName = None,
    *,
    full: Annotated[
        bool, Parameter(negative="", help="Write the store anew, without gaps; no process may have it open.")
    ] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Give free pages of the store back to the disk; it may be in use.

    Seldom of use: what comes next fills them.
    """
    path = path_of(target, store)
    shrunk = shrinking.rewrite(path) if full else shrinking.give_back(path)
    if as_json:
        show_json({"store": str(path), "before": shrunk.before, "after": shrunk.after})
    else:
        say("vacuumed   ", styled(str(path), "bold"), f"  {shrunk.before:,} -> {shrunk.after:,} bytes")
