"""A store that grows to ten million deliveries: does what it does for one still cost the same?

    python -m benchmarks.size --deliveries 10000000 --step 1000000 --path FOLDER
    python -m benchmarks.size --deliveries 200000 --step 50000          # does it work?

After each step the same operations are done through the store, as an app does them, and held against
the first step. Bodies are BODY bytes packed (a real one of 12 kB packs to 2.7 kB), which saves the disk:
10,000,000 deliveries need up to 25 GB. Writes results/size.json and .md; a smaller run selected.size.*.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import attrs

from benchmarks import machine
from benchmarks.filling import RARE_JOB, Sender, fill, finish_of
from benchmarks.report import RESULTS
from trigflow.runtime import records as r
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.retention import LOOK, Rule, prune
from trigflow.stores.sqlite import SqliteStore

WHOLE = 10_000_000  # deliveries from which on it is a result and no trial
BODY = 600  # bytes, packed
KB_PER_DELIVERY = 2.6  # on disk, generous, with that body
# Ten times the store may cost so many times the CPU, which others on the same machine disturb least: a b-tree
# gets a level deeper. What walks or sorts a store grows as that does, ten times.
BOUND = 2.0
# What asks for rows of any age is judged by the pages that it reads: a small store is in memory as a whole,
# of a large one each page comes from the disk.
PAGES_BOUND = 1.5
OF_ANY_AGE = ("accept what is known", "load a run of any age", "deliveries, deep", "runs of a job, deep")
AT_ONCE = 32
ROUNDS = 5


@attrs.frozen
class Figure:
    """What one operation costs: medians of µs by the clock and of CPU µs, pages read from the file."""

    us: float
    cpu_us: float
    pages: float


Operation = Callable[[], Awaitable[object]]


@attrs.define
class Measuring:
    """One store at one size."""

    store: SqliteStore
    sender: Sender
    pruned: int
    figures: dict[str, Figure] = attrs.field(factory=dict[str, Figure])

    async def measure(
        self, name: str, calls: Sequence[Operation], *, each: int = 1, counted: bool = False
    ) -> None:
        """Take the median of calls, each of which does so many; or as many as it returns, if counted."""
        times: list[float] = []
        spent: list[float] = []
        pages = self._pages()
        for call in calls:
            began, cpu = time.perf_counter(), time.process_time()
            done = await call()
            count = done if counted and isinstance(done, int) else each
            spent.append((time.process_time() - cpu) / count * 1e6)
            times.append((time.perf_counter() - began) / count * 1e6)
        read = (self._pages() - pages) / (len(calls) * each)
        self.figures[name] = Figure(statistics.median(times), statistics.median(spent), read)

    def _pages(self) -> int:
        """Return how many pages were read from the file so far, by the writer and by who reads."""
        writer = self.store._writer  # pyright: ignore[reportPrivateUsage]
        assert writer is not None
        writes = writer._connection  # pyright: ignore[reportPrivateUsage]
        reading = self.store._idle  # pyright: ignore[reportPrivateUsage]
        return sum(map(_misses, (writes, *reading)))

    # --- what is measured

    async def all(self) -> None:
        """Measure everything, in the same order at every size."""
        await self.intake()
        await self.redeliveries()
        await self.runs()
        await self.listings()
        await self.pruning()

    async def intake(self) -> None:
        """Deliveries that start a run which this process takes at once, AT_ONCE at a time."""

        def batch() -> Operation:
            new = [self.sender.next() for _ in range(500)]
            return lambda: self._together([lambda one=one: self.store.accept(one) for one in new])

        await self._together([lambda: self.store.accept(self.sender.next())])  # connections warm up
        batches = [batch() for _ in range(ROUNDS)]
        await self.measure("accept", batches, each=500)

    async def _together(self, calls: Sequence[Operation]) -> None:
        todo = iter(calls)

        async def work() -> None:
            for call in todo:
                await call()

        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(work)

    async def redeliveries(self) -> None:
        """Events of any age that are known."""
        known = self.sender.random.sample(self.sender.sample.kept, 400)
        again = [self.sender.again(one) for one in known]
        await self.measure(
            "accept what is known (any age)", [lambda one=one: self.store.accept(one) for one in again]
        )

    async def runs(self) -> None:
        """Take, load and finish runs; load runs of any age."""
        store, sender = self.store, self.sender
        waiting = [sender.next(owner=None) for _ in range(1_000)]
        await self._together([lambda one=one: store.accept(one) for one in waiting])
        now = int(sender.now() * 1000)
        await self.measure("next due", [store.next_due] * 100)
        taken: list[r.Claim] = []

        async def take() -> None:
            taken.extend(await store.take("me", now=now, limit=20, alive_since=0))

        await self.measure("take 20 runs", [take] * 50)
        await self.measure("load a new run", [lambda c=c: store.load(c.run_id) for c in taken[:400]])
        await self.measure("finish", [lambda c=c: store.finish(c, finish_of(now), ()) for c in taken])
        old = sender.random.sample(sender.sample.kept, 400)
        names = [one.events[0].runs[0].id for one in old]
        await self.measure("load a run of any age", [lambda n=n: store.load(n) for n in names])

    async def listings(self) -> None:
        """Lists of 20 as people look at them."""
        store = self.store
        old = self.sender.random.sample(self.sender.sample.kept, 100)
        deep = [one.id for one in old]
        deep_runs = [one.events[0].runs[0].id for one in old]
        few = range(60)
        await self.measure("newest deliveries", [lambda: store.deliveries(limit=20) for _ in few])
        await self.measure(
            "newest rejected deliveries",
            [lambda: store.deliveries(limit=20, outcome="rejected") for _ in few],
        )
        await self.measure(
            "deliveries of an outcome that none has",
            [lambda: store.deliveries(limit=20, outcome="failed") for _ in few],
        )
        await self.measure(
            "deliveries, deep", [lambda n=n: store.deliveries(limit=20, before=n) for n in deep]
        )
        await self.measure("newest runs", [lambda: store.runs(limit=20) for _ in few])
        await self.measure(
            "newest runs of a job", [lambda: store.runs(limit=20, job="jobs:job_7") for _ in few]
        )
        await self.measure("runs of a rare job", [lambda: store.runs(limit=5, job=RARE_JOB) for _ in few])
        await self.measure(
            "runs of a job, deep",
            [lambda n=n: store.runs(limit=20, job="jobs:job_7", before=n) for n in deep_runs],
        )

    async def pruning(self) -> None:
        """The oldest 2,000 of each kind, in the steps of the background loop."""
        befores = [self.sender.at(self.pruned + n) for n in range(200, 2_001, 200)]
        kinds: tuple[r.Kind, ...] = ("bodies", "noise", "runs", "deliveries")
        for kind in kinds:
            # Ten times, for a median; each is a walk of the background loop from its start.
            calls = [partial(self._prune, kind, n) for n in befores]
            await self.measure(f"prune {kind}", calls, each=200, counted=True)
        after = json.dumps([self.sender.sample.kept[0].subscription_id, "8"])

        async def look() -> None:
            await self.store.find_old("dedupe", before=befores[-1], after=after, limit=LOOK)

        await self.measure("look at a dedupe key", [look] * 20, each=LOOK)

    async def _prune(self, kind: r.Kind, before: int) -> int:
        return await prune(self.store, Rule(kind, timedelta(days=1), before), SystemClock())


def _misses(connection: Any) -> int:
    return int(connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where an operation is not flat."""
    said = _arguments(arguments)
    folder = Path(tempfile.mkdtemp(prefix="trigflow-size-", dir=said.path))
    free, needed = shutil.disk_usage(folder).free / 1e9, said.deliveries * KB_PER_DELIVERY / 1e6
    try:
        if free < needed:
            print(f"{folder} has {free:.0f} GB left; up to {needed:.0f} are needed", file=sys.stderr)
            return 1
        steps = _grow(folder / "size.db", said)
    finally:
        shutil.rmtree(folder)
    results = _results(said, steps)
    _keep(results, said.results, "size" if said.deliveries >= WHOLE else "selected.size")
    return 0 if all(one["flat"] for one in results["operations"]) else 1


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="benchmarks.size", description=__doc__, formatter_class=form)
    parser.add_argument("--deliveries", type=int, default=WHOLE)
    parser.add_argument("--step", type=int, help="default: a tenth")
    parser.add_argument(
        "--path", type=Path, help="folder for the store, which is removed; default: a temporary one"
    )
    parser.add_argument("--body", type=int, default=BODY, help="bytes of a packed body")
    parser.add_argument("--results", type=Path, default=RESULTS)
    said = parser.parse_args(arguments)
    said.step = said.step or max(1, said.deliveries // 10)
    return said


def _grow(path: Path, said: argparse.Namespace) -> list[dict[str, Any]]:
    sender, steps = Sender(said.body), list[dict[str, Any]]()
    anyio.run(_made, path)
    while sender.made < said.deliveries:
        began = time.monotonic()
        fill(path, sender, min(said.step, said.deliveries - sender.made))
        filled = time.monotonic() - began
        figures = anyio.run(_measured, path, sender, len(steps))
        size = path.stat().st_size
        steps.append(
            {
                "deliveries": sender.made,
                "bytes_per_delivery": size / sender.made,
                "seconds_to_fill": filled,
                "figures": {name: attrs.asdict(one) for name, one in figures.items()},
            }
        )
        print(
            f"{sender.made:>12,} deliveries, {size / 1e9:.2f} GB, filled in {filled:.0f} s, "
            f"accept {figures['accept'].us:.0f} µs, cpu {figures['accept'].cpu_us:.0f} µs",
            flush=True,
        )
    return steps


async def _made(path: Path) -> None:
    async with SqliteStore(path, store_id=lambda: "size"):
        pass


async def _measured(path: Path, sender: Sender, step: int) -> Mapping[str, Figure]:
    async with SqliteStore(path, store_id=lambda: "size") as store:
        one = Measuring(store, sender, pruned=step * 2_000)
        await one.all()
        return one.figures


def _results(said: argparse.Namespace, steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first, last = steps[0]["figures"], steps[-1]["figures"]
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.described(Path.cwd()),
        "deliveries": steps[-1]["deliveries"],
        "body_bytes": said.body,
        "bound": BOUND,
        "pages_bound": PAGES_BOUND,
        "operations": [_verdict(name, first[name], last[name]) for name in first],
        "steps": list(steps),
    }


def _verdict(name: str, first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, Any]:
    ratio, pages = last["cpu_us"] / first["cpu_us"], last["pages"] / max(first["pages"], 1.0)
    any_age = name.startswith(OF_ANY_AGE)
    return {
        "name": name,
        "judged_by": "pages" if any_age else "CPU",
        "first_cpu_us": first["cpu_us"],
        "last_cpu_us": last["cpu_us"],
        "ratio": ratio,
        "first_us": first["us"],
        "last_us": last["us"],
        "first_pages": first["pages"],
        "last_pages": last["pages"],
        "flat": pages <= PAGES_BOUND if any_age else ratio <= BOUND,
    }


def render(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    first, last = results["steps"][0], results["steps"][-1]
    rows = [
        f"| {one['name']} | {one['first_cpu_us']:,.0f} | {one['last_cpu_us']:,.0f} | {one['ratio']:.2f} | "
        f"{one['first_us']:,.0f} | {one['last_us']:,.0f} | "
        f"{one['first_pages']:,.1f} | {one['last_pages']:,.1f} | "
        f"{'yes' if one['flat'] else '**no**'} ({one['judged_by']}) |"
        for one in results["operations"]
    ]
    told = results["machine"]
    head = (
        f"{results['when']}: {told['cores']} cores of {told['processor']}, {told['system']}, Python "
        f"{told['python']}. {results['deliveries']:,} deliveries with bodies of {results['body_bytes']} "
        f"bytes, {last['bytes_per_delivery']:,.0f} bytes each on disk with everything that came of them "
        f"({first['bytes_per_delivery']:,.0f} at {first['deliveries']:,})."
    )
    key = (
        f"Medians at {first['deliveries']:,} and at {last['deliveries']:,} deliveries, in µs of CPU and by "
        "the clock (other programs were running), and pages of 4 kB read from the file for each. Flat is up "
        f"to {results['bound']:g} times the CPU of the first, or {results['pages_bound']:g} times the pages "
        "where rows of any age are asked for: a small store is in memory, a large one is not."
    )
    heads = ("operation", "CPU", "at the end", "ratio", "clock", "at the end", "pages", "at the end", "flat")
    lines = ["| " + " | ".join(heads) + " |", f"| --- |{' ---: |' * (len(heads) - 2)} --- |", *rows]
    return "\n".join([head, "", key, "", *lines, ""])


def _keep(results: Mapping[str, Any], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = render(results)
    (folder / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    sys.exit(main())
