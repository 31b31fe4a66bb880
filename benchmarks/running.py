"""One contender, started afresh, proved honest, measured, stopped.

service -> prepare -> web + workers -> proof -> warm-up -> load -> settled -> stopped
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from benchmarks.books import Place
from benchmarks.contenders import Contender
from benchmarks.load import Answered, Target, post, send
from benchmarks.processes import Started, cpu_seconds, free_port, listens, memory, start, wait_until
from benchmarks.services import Service, start_service

PATIENCE = 6.0  # seconds without anything finished after which nothing more is expected
LONGEST_DRAIN = 180.0
LOOK = 0.1  # seconds between two looks into the books
WARM_UP = 1  # seconds
WARMING, MEASURED = 0, 1  # series of delivery ids

Figures = dict[str, float]


class Dishonest(Exception):
    """A contender took a forged delivery, or did not do the work of a right one."""


@attrs.frozen
class Cores:
    """Where the contender runs, and where the load comes from."""

    server: int = 0
    load: int = 1


@attrs.frozen
class Settled:
    """The books once nothing more is being finished, and when the last of it was."""

    done: int
    at: float


@attrs.frozen
class Running:
    """A contender's processes."""

    contender: Contender
    folder: Path
    place: Place
    started: tuple[Started, ...]
    service: Service | None

    @property
    def target(self) -> Target:
        """Where deliveries are sent."""
        told = self.folder / "endpoint"
        if not told.exists():
            return Target(self.place.port)
        found = json.loads(told.read_text())
        return Target(self.place.port, found["path"], found["secret"])

    def done(self) -> int:
        """Return how much work is finished."""
        return self.contender.books.count(self.place)

    def settled(self, expected: int) -> Settled:
        """Wait until the expected work is finished, or nothing more is."""
        done, at = self.done(), time.perf_counter()
        deadline = at + LONGEST_DRAIN
        while time.perf_counter() < deadline:
            time.sleep(LOOK)
            now = self.done()
            if now > done:
                done, at = now, time.perf_counter()
            elif done >= expected or time.perf_counter() - at > PATIENCE:
                break
            for one in self.started:
                one.check()
        return Settled(done, at)

    def prove(self) -> None:
        """Send a forged delivery and a right one; Dishonest where the wrong thing follows."""
        before = self.done()
        if self.contender.checks and post(self.target, forged=True, delivery="f" * 32) < 400:
            raise Dishonest(f"{self.contender.name} accepted a forged delivery")
        status = post(self.target, delivery="e" * 32)
        after = self.settled(before + 1).done
        if status >= 300 or after != before + 1:
            raise Dishonest(
                f"{self.contender.name} answered {status} and finished {after - before} instead of 1"
            )

    def kept_bytes(self) -> int:
        """Return how much is on disk; 0 where nothing is kept."""
        if self.service is not None:
            return self.service.kept_bytes()
        return sum(path.stat().st_size for path in self.folder.glob(f"{self.place.database.name}*"))


@contextmanager
def running(contender: Contender, cores: Cores, parent: Path | None = None) -> Generator[Running]:
    """Start a contender with an empty store; stop it and remove everything afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="trigflow-bench-", dir=parent))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield start_in(contender, folder, cores, stack)


def start_in(contender: Contender, folder: Path, cores: Cores, stack: ExitStack) -> Running:
    """Start a contender with the store of a folder; `stack` stops it."""
    service = None
    if contender.needs is not None:
        service = start_service(contender.needs, folder, core=cores.server)
        stack.callback(service.started.stop)
    place = Place(free_port(), folder / "bench.db", "" if service is None else service.url)
    env = {"DB": str(place.database), "ENDPOINT": str(folder / "endpoint")}
    env |= {} if service is None else service.env()
    env |= {name: value.format(database=place.database) for name, value in contender.env.items()}
    if contender.prepare:
        done = start_python("prepare", contender.prepare, cores, folder, env)
        stack.callback(done.stop)
        if done.process.wait(timeout=60):
            done.check()
    web = start("web", contender.web(place.port), core=cores.server, folder=folder, env=env)
    workers = [
        start_python(f"worker{number}", arguments, cores, folder, env)
        for number, arguments in enumerate(contender.workers)
    ]
    for one in (web, *workers):
        stack.callback(one.stop)
    wait_until(lambda: listens(place.port), [web, *workers], contender.name)
    services = () if service is None else (service.started,)
    return Running(contender, folder, place, (web, *workers, *services), service)


def start_python(
    name: str, arguments: tuple[str, ...], cores: Cores, folder: Path, env: dict[str, str]
) -> Started:
    """Start a process of a contender beside its web process."""
    return start(name, [sys.executable, *arguments], core=cores.server, folder=folder, env=env)


def measure(
    contender: Contender, *, connections: int, seconds: int, cores: Cores, parent: Path | None = None
) -> Figures:
    """Start a contender and take its figures under one load."""
    with running(contender, cores, parent) as one:
        kept = one.kept_bytes()
        nothing = one.done()
        one.prove()
        warm = one.done()
        told = send(one.target, connections=connections, seconds=WARM_UP, series=WARMING, core=cores.load)
        before, spent = one.settled(warm + told.accepted), cpu_seconds(one.started)
        start_at = time.perf_counter()
        told = send(one.target, connections=connections, seconds=seconds, series=MEASURED, core=cores.load)
        loaded_at = time.perf_counter()
        after = one.settled(before.done + told.accepted)
        figures = _figures(told, after, before, max(loaded_at, after.at) - start_at)
        figures["cpu_us"] = (cpu_seconds(one.started) - spent) / max(1, after.done - before.done) * 1e6
        used = memory(one.started)
        figures |= {"rss_mb": used.rss / 1e6, "pss_mb": used.pss / 1e6}
        if contender.needs is not None:
            figures["disk_kb"] = (one.kept_bytes() - kept) / 1e3 / max(1, after.done - nothing)
        for started in one.started:
            started.stop()
        if one.place.database.exists():
            _merge_log(one.place.database)
            figures["disk_kb"] = (one.kept_bytes() - kept) / 1e3 / max(1, after.done - nothing)
        return figures


def _figures(told: Answered, after: Settled, before: Settled, took: float) -> Figures:
    return {
        "accepted": told.accepted / told.seconds,
        # The last of the work may end after the load: its time counts too.
        "done": (after.done - before.done) / took,
        "lost": max(0, told.accepted - (after.done - before.done)),
        "p50_ms": told.p50,
        "p99_ms": told.p99,
        "errors": told.errors,
    }


def _merge_log(database: Path) -> None:
    """Bring what is still in SQLite's log into the file, so that its size says what is kept."""
    db = sqlite3.connect(database)
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
