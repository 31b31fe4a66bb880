"""Run the contenders side by side and say how they compare, and whether the goals are met.

    python -m benchmarks.run                        # everything; writes results/latest.*
    python -m benchmarks.run --quick                # one round of a second: does it work?
    python -m benchmarks.run --only "by hand" "one task" --connections 32 --rounds 3

Every contender with its workers and its database runs on core 0, the load (wrk) and this
program on core 1. Contenders take turns within each round, in the other direction in every
second one, each in new processes with an empty store; figures are medians over the rounds.
Only ratios inside one run mean anything. A part of the run (--quick, --only, --connections,
--skip) is written to results/selected.*, and the README is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import psutil

from benchmarks import machine, micro, services
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.goals import judge
from benchmarks.processes import DidNotStart, end_when_told
from benchmarks.report import RESULTS, write
from benchmarks.running import Cores, Dishonest, Figures, measure

CORES = Cores()
CONNECTIONS = (32, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where something that was asked for could not be measured."""
    said = _arguments(arguments)
    if problem := unfit(said.folder):
        print(problem, file=sys.stderr)
        return 1
    psutil.Process().cpu_affinity([CORES.load])
    end_when_told()
    chosen, skipped = _chosen(said.only)
    try:
        results: dict[str, Any] = {
            **_about(said, chosen, skipped),
            "loads": {} if "loads" in said.skip else _loads(chosen, skipped, said),
        }
    finally:
        services.forget_cluster()
    name = "selected" if _is_part(said) else "latest"
    if "micro" not in said.skip:
        keep(results, said.results, name)  # the long part is safe, whatever happens to the short one
        found = micro.take(quick=said.quick)
        results["micro"] = {"figures": {part: attrs.asdict(figure) for part, figure in found.items()}}
    print(keep(results, said.results, name))
    return 1 if any(one["failed"] for one in skipped) else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__, formatter_class=form)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="parts of contenders' names")
    parser.add_argument("--quick", action="store_true", help="one round of a second")
    parser.add_argument("--skip", nargs="+", default=[], choices=["loads", "micro"])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder that results are written to")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where the stores are; must be a disk",
    )
    said = parser.parse_args(arguments)
    if said.quick:
        said.rounds = said.seconds = 1
    return said


def _is_part(said: argparse.Namespace) -> bool:
    return bool(said.quick or said.only or said.skip or set(said.connections) != set(CONNECTIONS))


def unfit(folder: Path) -> str | None:
    """Say why nothing can be measured here, if that is so."""
    for program in ("wrk", "taskset", "setpriv", "findmnt"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install wrk util-linux)"
    if (os.cpu_count() or 1) < 2:
        return "there is one core; contenders and load need one each"
    if machine.file_system(folder) in machine.IN_MEMORY:
        return f"{folder} is in memory, where syncing costs nothing; name a folder on a disk with --folder"
    return None


def _chosen(only: Sequence[str]) -> tuple[list[Contender], list[dict[str, Any]]]:
    """Return the contenders that can run, and those that can't with the reason."""
    asked = [one for one in CONTENDERS if not only or any(part in one.name for part in only)]
    skipped = [
        {"name": one.name, "why": why, "failed": False} for one in asked if (why := one.missing()) is not None
    ]
    for one in skipped:
        print(f"left out: {one['name']}, because {one['why']}", flush=True)
    out = {one["name"] for one in skipped}
    return [one for one in asked if one.name not in out], skipped


def _about(
    said: argparse.Namespace, chosen: Sequence[Contender], skipped: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.described(said.folder),
        "versions": machine.versions(),
        "settings": {"rounds": said.rounds, "seconds": said.seconds},
        "services": services.SAID,
        "contenders": [
            {"name": one.name, "keeps": one.keeps, "settings": one.settings} for one in chosen
        ],
        "skipped": skipped,
    }  # fmt: skip


def _loads(
    chosen: Sequence[Contender], skipped: list[dict[str, Any]], said: argparse.Namespace
) -> Mapping[str, Any]:
    taken: dict[str, dict[str, list[Figures]]] = {
        str(connections): {one.name: [] for one in chosen} for connections in said.connections
    }
    for number in range(said.rounds):
        turn = chosen if number % 2 == 0 else chosen[::-1]
        for connections in said.connections:
            for one in turn:
                if any(other["name"] == one.name for other in skipped):
                    continue
                figures = _measured(one, connections, skipped, said)
                if figures is not None:
                    taken[str(connections)][one.name].append(figures)
                    print(_line(number, connections, one, figures), flush=True)
    return {connections: _summed(rounds) for connections, rounds in taken.items()}


def _measured(
    one: Contender, connections: int, skipped: list[dict[str, Any]], said: argparse.Namespace
) -> Figures | None:
    try:
        return measure(
            one, connections=connections, seconds=said.seconds, cores=CORES, parent=said.folder
        )  # fmt: skip
    except (DidNotStart, Dishonest) as error:
        skipped.append({"name": one.name, "why": str(error), "failed": True})
        print(f"failed: {one.name}: {error}", file=sys.stderr, flush=True)
        return None


def _summed(rounds: Mapping[str, list[Figures]]) -> dict[str, Any]:
    full = {name: many for name, many in rounds.items() if many}
    return {"medians": {name: medians(many) for name, many in full.items()}, "rounds": full}


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def _line(number: int, connections: int, one: Contender, figures: Figures) -> str:
    return (
        f"round {number + 1}, c={connections}: {one.name}: {figures['done']:,.0f} done/s, "
        f"{figures['cpu_us']:,.0f} µs, p99 {figures['p99_ms']:,.2f} ms"
    )


def keep(results: dict[str, Any], folder: Path, name: str) -> str:
    """Write results, held against the goals, as JSON, tables and pictures; return the tables."""
    from benchmarks import plots

    results["goals"] = [attrs.asdict(one) for one in judge(results)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    plots.draw(results, folder, name=name)
    return write(folder, name)


if __name__ == "__main__":
    sys.exit(main())
