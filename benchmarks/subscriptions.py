"""A hundred thousand subscriptions made at run time: does each still cost what it costs among a thousand?

    python -m benchmarks.subscriptions --count 100000 --path FOLDER
    python -m benchmarks.subscriptions --count 5000              # does it work?

Two processes do the same on SQLite, with BASE subscriptions and with all: people subscribe, the whole is
planned offline, and one background pass renews DUE leases at a provider that answers at once. Each has a
webhook of its own; a tenth as many again share one, which is then delivered to. But for SOME, they are made
registered by one statement: what is measured is ours, and a provider takes far longer. Writes
results/subscriptions.json and .md; a smaller run selected.subscriptions.*.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import apsw
import attrs

from benchmarks import machine
from benchmarks.report import RESULTS
from trigflow import (
    ApiKey,
    App,
    Credentials,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    Lease,
    Registered,
    Registration,
    Secret,
    dynamic,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.testing.deliveries import signed

WHOLE = 100_000  # subscriptions from which on it is a result and no trial
BASE = 1_000
DUE = 1_000  # leases that one pass renews
SOME = 500  # that are registered by the app itself
AT_ONCE = 32
DELIVERIES = 3  # to a place that a tenth as many again subscribed to
BOUND = 2.0  # times the CPU for one among BASE
RSS_BOUND = 200  # MB that the peak may be above that of the base
LIFE = timedelta(days=7)
DAY = 86_400_000  # milliseconds


class Provider:
    """A provider that answers at once: it keeps what it is told, and counts."""

    def __init__(self) -> None:
        self.registered, self.renewed = 0, 0


@attrs.frozen
class Place:
    """A place that somebody's webhook is for."""

    name: str = ""


PROVIDER = Provider()
webhook: ExternalSource[Place, Provider, int] = ExternalSource(
    "model.webhook", params=Place, client=Provider, data=int, key=lambda place: place.name,
    secret=Secret.GENERATED, verify=hmac_sha256("X-Sig"), lease=Lease("extend"),
)  # fmt: skip


@webhook.register
async def register(reg: Registration[Place, int], model: Provider) -> Registered[int]:
    """Make a webhook, for a week."""
    model.registered += 1
    return Registered(model.registered, reg.events.desired, expires_at=datetime.now(UTC) + LIFE)


@webhook.renew
async def renew(reg: Registration[Place, int], model: Provider) -> Registered[int]:
    """Keep a webhook for another week."""
    model.renewed += 1
    return Registered(reg.data or 0, reg.events.desired, expires_at=datetime.now(UTC) + LIFE)


@webhook.unregister
async def unregister(reg: Registration[Place, int], model: Provider) -> None:
    """Forget a webhook."""


@webhook.sample
def sampled(event: str, body: bytes, id: str) -> list[tuple[str, str]]:  # noqa: A002 - the hook's word
    """Add no headers."""
    return []


@webhook.handler
def handle(delivery: Delivery[Place, int]) -> list[Event]:
    """Take the body as it is."""
    return [Event("thing", str(delivery.payload["id"]))]


class Model(Integration, id="model", auth=[ApiKey("MODEL_TOKEN")]):
    """A provider for this benchmark."""

    def client(self, credentials: Credentials) -> Provider:
        """Return the one that there is."""
        return PROVIDER

    @event("thing", dict[str, Any], source=webhook)
    def thing(self, *, name: str) -> Place:
        """Something happened."""
        return Place(name)


model = Model()
places = dynamic("places", model.thing)


@trigger(places)
async def job(payload: dict[str, Any], event: Event) -> None:
    """Do nothing."""


# --- one process


@attrs.define
class Measured:
    """What the phases cost, for each subscription: µs by the clock and of CPU; MB at most after each."""

    count: int
    phases: dict[str, dict[str, float]] = attrs.field(factory=dict[str, dict[str, float]])

    @asynccontextmanager
    async def phase(self, name: str, each: int) -> AsyncGenerator[None]:
        """Measure what is done inside."""
        gc.collect()
        before, began, cpu = _peak_mb(), time.perf_counter(), time.process_time()
        yield
        self.phases[name] = {
            "us": (time.perf_counter() - began) / each * 1e6,
            "cpu_us": (time.process_time() - cpu) / each * 1e6,
            "seconds": time.perf_counter() - began,
            "peak_mb_before": before,
            "peak_mb": _peak_mb(),
        }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


async def measure(path: Path, count: int) -> Measured:
    """Do it all with so many subscriptions."""
    measured = Measured(count)
    app = App(
        [job], url="https://hooks.example.com", store=str(path), register="off", subscribers_limit=0,
        connections={model: "token"}, executes=False,
    )  # fmt: skip
    async with app:
        async with measured.phase("subscribe", count):
            await _subscribe_all(app, count)
        some = min(SOME, count)
        async with measured.phase("register", some):
            await _register(app, some)
    _make_registered(path)
    async with app.inspect():
        planned = 0
        async with measured.phase("plan offline, step by step", count):
            async for step in app.opened.reconciler.steps(offline=True):
                assert not step.changes, step
                planned += 1
        assert planned == count, planned
        async with measured.phase("plan offline, all at once", count):
            assert len(await app.plan(offline=True)) == count
        due = min(DUE, count)
        _make_due(path, due)
        before = PROVIDER.renewed
        async with measured.phase("renew what is due", due):
            await app.opened.registering.register_due()
        assert PROVIDER.renewed - before == due, PROVIDER.renewed
        assert _active(path, until=_now() + 4 * DAY) == count
        async with measured.phase("look again with nothing due", 50):
            for _ in range(50):
                await app.opened.registering.register_due()
        await _deliver_to_many(app, measured, max(10, count // 10))
    return measured


async def _deliver_to_many(app: App, measured: Measured, count: int) -> None:
    """Let many subscribe to one place, and something happen there."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await app.subscribe(places(name="shared"), key=f"shared-{number}")

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(some)
    identity = ("model.webhook", "shared", "model")
    made = [
        await signed(app.opened, webhook, "thing", b'{"id": %d}' % number, "", identity=identity)
        for number in range(DELIVERIES)
    ]
    async with measured.phase("one delivery for many", count * DELIVERIES):
        for token, request in made:
            assert (await app.opened.receive(token, request)).status == 200
    (row, *_) = await app.opened.store.deliveries(limit=1)
    assert row.runs == count, row


async def _subscribe_all(app: App, count: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await app.subscribe(places(name=f"place-{number}"), key=f"user-{number}", metadata={"n": number})

    async with anyio.create_task_group() as group:
        for _ in range(AT_ONCE):
            group.start_soon(some)


async def _register(app: App, count: int) -> None:
    for number in range(count):
        applied = await app.opened.reconciler.look(("model.webhook", f"place-{number}", "model"))
        assert [(one.step.action, one.error) for one in applied] == [("create", "")], applied


def _now() -> int:
    return int(time.time() * 1000)


def _make_registered(path: Path) -> None:
    """Write what a registration writes, for all that have none."""
    now = _now()
    _write(
        path,
        "UPDATE subscriptions SET state = 'active', cause = '', data = coalesce(data, '1'), "
        "registered = '[\"thing\"]', leased_at = ?, lease_until = ?, next_at = ?",
        (now, now + 7 * DAY, now + DAY),
    )
    _write(path, "UPDATE endpoints SET state = 'active'")


def _make_due(path: Path, count: int) -> None:
    """Let the leases of some be old."""
    now = _now()
    _write(
        path,
        "UPDATE subscriptions SET leased_at = ?, lease_until = ?, next_at = ? WHERE id IN "
        "(SELECT id FROM subscriptions ORDER BY key LIMIT ?)",
        (now - 4 * DAY, now + 3 * DAY, now - 1_000, count),
    )


def _active(path: Path, *, until: int) -> int:
    """Count those that work, and are kept for longer."""
    told = "SELECT count(*) FROM subscriptions WHERE state = 'active' AND lease_until > ?"
    return int(_write(path, told, (until,))[0][0])


def _write(path: Path, statement: str, values: tuple[int, ...] = ()) -> list[Any]:
    connection: Any = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(10_000)
        found: list[Any] = connection.execute(statement, values).fetchall()
    finally:
        connection.close()
    return found


# --- both, side by side


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where something is not flat."""
    said = _arguments(arguments)
    if said.one:
        print(json.dumps(attrs.asdict(anyio.run(measure, said.path, said.one))))
        return 0
    with tempfile.TemporaryDirectory(prefix="trigflow-subscriptions-", dir=said.path) as folder:
        base = _in_a_process(Path(folder) / "base.db", min(BASE, said.count))
        whole = _in_a_process(Path(folder) / "whole.db", said.count)
        size = (Path(folder) / "whole.db").stat().st_size
    results = _results(base, whole, size)
    _keep(results, said.results, "subscriptions" if said.count >= WHOLE else "selected.subscriptions")
    return 0 if results["flat"] else 1


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="benchmarks.subscriptions", description=__doc__, formatter_class=form
    )
    parser.add_argument("--count", type=int, default=WHOLE)
    parser.add_argument("--path", type=Path, help="folder for the stores; default: a temporary one")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _in_a_process(path: Path, count: int) -> dict[str, Any]:
    """Measure in a process of its own: its peak of memory is its own, too."""
    command = [sys.executable, "-m", "benchmarks.subscriptions", "--one", str(count), "--path", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _results(base: Mapping[str, Any], whole: Mapping[str, Any], size: int) -> dict[str, Any]:
    phases = [_verdict(name, base["phases"][name], whole["phases"][name]) for name in whole["phases"]]
    peaks = {name: max(phase["peak_mb"] for phase in one["phases"].values())
             for name, one in (("base", base), ("whole", whole))}  # fmt: skip
    memory = peaks["whole"] - peaks["base"]
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.described(Path.cwd()),
        "base": base["count"],
        "count": whole["count"],
        "due": min(DUE, whole["count"]),
        "bytes_each": size / whole["count"],
        "bound": BOUND,
        "phases": phases,
        "peak_mb": peaks,
        "peak_mb_above_base": memory,
        "rss_bound": RSS_BOUND,
        "flat": all(one["flat"] for one in phases) and memory <= RSS_BOUND,
    }


def _verdict(name: str, base: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, Any]:
    ratio = whole["cpu_us"] / base["cpu_us"]
    return {
        "name": name,
        "base_cpu_us": base["cpu_us"],
        "cpu_us": whole["cpu_us"],
        "ratio": ratio,
        "base_us": base["us"],
        "us": whole["us"],
        "seconds": whole["seconds"],
        "peak_mb": whole["peak_mb"],
        "flat": ratio <= BOUND,
    }


def render(results: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    told = results["machine"]
    head = (
        f"{results['when']}: {told['cores']} cores of {told['processor']}, {told['system']}, Python "
        f"{told['python']}. {results['count']:,} subscriptions beside {results['base']:,}, each with a "
        f"webhook of its own, {results['bytes_each']:,.0f} bytes on disk. µs of CPU and by the clock for one "
        f"(other programs were running); flat is up to {results['bound']:g} times the CPU of the base. "
        f"Peak of memory: {results['peak_mb']['whole']:,.0f} MB, {results['peak_mb_above_base']:,.0f} MB "
        f"above the base (up to {results['rss_bound']:,.0f})."
    )
    rows = [
        f"| {one['name']} | {one['base_cpu_us']:,.0f} | {one['cpu_us']:,.0f} | {one['ratio']:.2f} | "
        f"{one['us']:,.0f} | {one['seconds']:,.1f} | {one['peak_mb']:,.0f} | "
        f"{'yes' if one['flat'] else '**no**'} |"
        for one in results["phases"]
    ]
    heads = ("phase", "CPU of the base", "CPU", "ratio", "clock", "seconds in all", "peak MB", "flat")
    return "\n".join(
        [head, "", "| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * 6 + " --- |", *rows, ""]
    )


def _keep(results: Mapping[str, Any], folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    text = render(results)
    (folder / f"{name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    sys.exit(main())
