"""A steady load on one trigflow process, for long: do latency and memory stay as they are?

    python -m benchmarks.soak --deliveries 1000000
    python -m benchmarks.soak --deliveries 20000        # does it work?

The load keeps its connections busy; after each window a sample is written down. Ended in the
middle (or the process died), the same command goes on with the same store in a new process.
Writes results/soak.json and soak.svg; with fewer than a million deliveries selected.soak.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import psutil

from benchmarks import flatness, machine
from benchmarks.contenders import CONTENDERS
from benchmarks.load import send
from benchmarks.names import JOB
from benchmarks.processes import cpu_seconds, end_when_told, memory
from benchmarks.report import RESULTS, write
from benchmarks.run import unfit
from benchmarks.running import Cores, Running, start_in

CORES = Cores()
WHOLE = 1_000_000  # deliveries from which on it is a result and no trial
LONG = 100_000  # deliveries from which on windows are long
KB_PER_DELIVERY = 8  # on disk; generous
LIVES = 16**4  # series of delivery ids for each process

Sample = dict[str, float]


@attrs.frozen
class Kept:
    """What is written down in the folder of a soak: a line for each start and for each sample."""

    folder: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "samples.jsonl"

    def lines(self) -> list[dict[str, float]]:
        """Return what was written down, without a last line that was cut off."""
        found: list[dict[str, float]] = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def samples(self) -> list[Sample]:
        """Return the samples."""
        return [line for line in self.lines() if "deliveries" in line]

    def lives(self) -> int:
        """Return how many processes there were."""
        return sum("started" in line for line in self.lines())

    def add(self, line: dict[str, float]) -> None:
        """Write a line down."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where a figure is not flat, deliveries were lost or nothing was measured."""
    said = _arguments(arguments)
    said.folder.mkdir(parents=True, exist_ok=True)
    if problem := unfit(said.folder) or _no_room(said.folder, said.deliveries):
        print(problem, file=sys.stderr)
        return 1
    psutil.Process().cpu_affinity([CORES.load])
    end_when_told()
    kept = Kept(said.folder)
    done = _go_on(kept, said)
    results = _results(kept, said, done)
    name = "soak" if said.deliveries >= WHOLE else "selected.soak"
    _keep(results, said.results, name)
    if not said.keep:
        shutil.rmtree(said.folder)
    return 0 if results["lost"] == 0 and all(one["flat"] for one in results["verdicts"]) else 1


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__, formatter_class=form)
    parser.add_argument("--deliveries", type=int, default=WHOLE)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--every", type=int, help="seconds of a window; default 10, in a trial 1")
    parser.add_argument("--folder", type=Path, default=Path(".trigflow/soak"), help="where the store is")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--keep", action="store_true", help="leave the store when it is over")
    said = parser.parse_args(arguments)
    if said.every is None:
        said.every = 10 if said.deliveries >= LONG else 1
    return said


def _no_room(folder: Path, deliveries: int) -> str | None:
    free, needed = shutil.disk_usage(folder).free / 1e9, deliveries * KB_PER_DELIVERY / 1e6
    return None if free > needed else f"{folder} has {free:.0f} GB left; up to {needed:.0f} are needed"


def _go_on(kept: Kept, said: argparse.Namespace) -> int:
    """Load one process until there were enough deliveries; return how many runs are finished."""
    contender = next(one for one in CONTENDERS if one.name == JOB)
    life = kept.lives() + 1
    kept.add({"life": life, "started": time.time()})
    with ExitStack() as stack:
        one = start_in(contender, kept.folder, CORES, stack)
        samples = kept.samples()
        accepted = samples[-1]["deliveries"] if samples else 0
        number = 0
        while accepted < said.deliveries:
            number += 1
            sample = _window(one, said, life, number, accepted)
            accepted = sample["deliveries"]
            kept.add(sample)
            print(_line(sample), flush=True)
            for started in one.started:
                started.check()
        return one.settled(int(accepted)).done


def _window(one: Running, said: argparse.Namespace, life: int, number: int, before: float) -> Sample:
    spent = cpu_seconds(one.started)
    told = send(
        one.target, connections=said.connections, seconds=said.every, series=life * LIVES + number,
        core=CORES.load,
    )  # fmt: skip
    used = cpu_seconds(one.started) - spent
    log = Path(f"{one.place.database}-wal")
    return {
        "life": life,
        "deliveries": before + told.accepted,
        "accepted": told.accepted / told.seconds,
        "p50_ms": told.p50,
        "p99_ms": told.p99,
        "errors": told.errors,
        "cpu_us": used / max(1, told.accepted) * 1e6,
        "rss_mb": memory(one.started).rss / 1e6,
        "wal_mb": log.stat().st_size / 1e6 if log.exists() else 0.0,
        "file_mb": one.place.database.stat().st_size / 1e6,
        "queue": _queued(one.place.database),
    }


def _queued(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as db:
        return int(db.execute("SELECT count(*) FROM queue").fetchone()[0])


def _line(sample: Sample) -> str:
    return (
        f"{sample['deliveries']:>10,.0f} deliveries: {sample['accepted']:,.0f}/s, "
        f"p50 {sample['p50_ms']:.2f} ms, p99 {sample['p99_ms']:.2f} ms, {sample['cpu_us']:,.0f} µs, "
        f"{sample['rss_mb']:.1f} MB, log {sample['wal_mb']:.1f} MB, file {sample['file_mb']:,.0f} MB, "
        f"{sample['queue']:.0f} queued"
    )


def _results(kept: Kept, said: argparse.Namespace, done: int) -> dict[str, Any]:
    samples = kept.samples()
    accepted = int(samples[-1]["deliveries"])
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.described(kept.folder),
        "deliveries": accepted,
        "connections": said.connections,
        "lives": kept.lives(),
        "errors": int(sum(sample["errors"] for sample in samples)),
        # A window that was cut off did work that no sample counts: then more is done than was accepted.
        "lost": max(0, accepted - done),
        "file_mb": samples[-1]["file_mb"],
        "verdicts": [attrs.asdict(one) for one in flatness.judge(samples)],
        "samples": samples,
    }


def _keep(results: dict[str, Any], folder: Path, name: str) -> None:
    from benchmarks import plots

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    plots.draw_soak(results, folder, name=name)
    if name == "soak" and (folder / "latest.json").exists():
        write(folder)
    for one in results["verdicts"]:
        print(
            f"{one['name']}: {one['first']:,.2f} -> {one['last']:,.2f} {one['unit']} "
            f"({one['slope']:+,.2f} a million): {'flat' if one['flat'] else 'NOT FLAT'}"
        )
    print(f"lost: {results['lost']}")


if __name__ == "__main__":
    sys.exit(main())
