"""Run the contenders side by side and say how they compare.

    python -m benchmarks.run [--rounds 5] [--seconds 4] [--connections 1 32] [--only NAME …]

The server is pinned to core 0, the load (wrk) to core 1; contenders take turns within
each round, so that a noisy neighbour hits all of them; medians over the rounds. Only
ratios inside one run mean anything. Needs wrk, and two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAYLOAD = HERE / "payloads" / "issues.opened.json"
SECRET = "trigflow-bench-secret"
RESULTS = HERE / "results"


class Contender:
    """One app: how it is started, where it is sent to, how its finished work is counted."""

    def __init__(
        self, name: str, module: str, *, env: dict[str, str] | None = None, durable: bool = False
    ) -> None:
        self.name, self.module, self.env, self.durable = name, module, env or {}, durable


CONTENDERS = [
    Contender("bare uvicorn + HMAC (accepts only)", "bare"),
    Contender("FastAPI by hand (keeps nothing)", "fastapi_hand"),
    Contender("FastAPI + INSERT per request", "sqlite_hand", durable=True),
    Contender("trigflow, accept only", "trigflow_app", durable=True),
    Contender("trigflow, job with one task", "trigflow_app", env={"JOB": "1"}, durable=True),
]


class Running:
    """A contender's process."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.contender, self.folder = contender, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        env = {
            **os.environ,
            **contender.env,
            "DB": str(folder / "bench.db"),
            "ENDPOINT": str(folder / "endpoint"),
        }
        command = [
            "taskset", "-c", "0", sys.executable, "-m", "uvicorn", f"benchmarks.peers.{contender.module}:app",
            "--port", str(self.port), "--no-access-log", "--log-level", "error",
            "--loop", "uvloop", "--http", "httptools",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, env=env, cwd=HERE.parent)

    def wait(self) -> None:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.contender.name} did not start")

    @property
    def target(self) -> tuple[str, str]:
        told = self.folder / "endpoint"
        if not told.exists():
            return "/webhook", SECRET
        found = json.loads(told.read_text())
        return found["path"], found["secret"]

    def done(self) -> int:
        if self.contender.module != "trigflow_app":
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count") as answer:
                return int(answer.read())
        table = "finishes" if self.contender.env.get("JOB") else "deliveries"
        with sqlite3.connect(f"file:{self.folder / 'bench.db'}?mode=ro", uri=True) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def settled(self) -> int:
        """Wait until no more work is being finished; return how much is."""
        before, now = -1, self.done()
        while now != before:
            time.sleep(0.1)
            before, now = now, self.done()
        return now

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


@contextmanager
def running(contender: Contender) -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="trigflow-bench-"))
    one = Running(contender, folder)
    try:
        one.wait()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


def load(one: Running, connections: int, seconds: int, run: str) -> dict[str, Any]:
    path, secret = one.target
    signature = hmac.new(secret.encode(), PAYLOAD.read_bytes(), hashlib.sha256).hexdigest()
    env = {
        **os.environ,
        "PAYLOAD": str(PAYLOAD),
        "EVENT": "issues",
        "SIG": signature,
        "WPATH": path,
        "RUNID": run,
    }
    command = [
        "taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
        "-s", str(HERE / "github.lua"), f"http://127.0.0.1:{one.port}{path}",
    ]  # fmt: skip
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("WRKJSON ")]
    return json.loads(line.removeprefix("WRKJSON "))


def measure(contender: Contender, connections: int, seconds: int, number: int) -> dict[str, float]:
    with running(contender) as one:
        load(one, connections, 1, f"0000{number:04d}")
        done, cpu, start = one.settled(), one.cpu(), time.perf_counter()
        told = load(one, connections, seconds, f"1111{number:04d}")
        loaded = time.perf_counter() - start
        finished = one.settled() - done
        # The last of the work may end after the load: count that time too (less the settling looks).
        took = max(loaded, time.perf_counter() - start - 0.2)
        spent = one.cpu() - cpu
        bad = sum(told[key] for key in ("err_connect", "err_read", "err_write", "err_status", "err_timeout"))
        size = (one.folder / "bench.db").stat().st_size if contender.durable else 0
        return {
            "accepted": told["requests"] / told["duration_us"] * 1e6,
            "done": finished / took,
            "cpu_us": spent / max(1, finished) * 1e6,
            "p50_ms": told["p50"] / 1000,
            "p99_ms": told["p99"] / 1000,
            "rss_mb": one.rss(),
            "kb_per_event": size / 1000 / max(1, finished),
            "errors": bad,
        }


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def table(found: dict[str, dict[str, float]], connections: int) -> str:
    lines = [
        f"c = {connections}",
        "",
        "| contender | accepted/s | done/s | CPU µs per event | p50 ms | p99 ms | RSS MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {one['accepted']:,.0f} | {one['done']:,.0f} | {one['cpu_us']:,.0f} "
        f"| {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {one['rss_mb']:.0f} |"
        for name, one in found.items()
    ]
    return "\n".join(lines)


def ratios(found: dict[str, dict[str, float]]) -> str:
    ours = found.get("trigflow, job with one task")
    if ours is None:
        return ""
    lines = ["", "done, trigflow's job with one task against:", ""]
    lines += [
        f"- {name}: {ours['done'] / one['done']:.2f} times" for name, one in found.items() if one is not ours
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--only", nargs="+", default=[], help="parts of contenders' names")
    said = parser.parse_args()
    chosen = [one for one in CONTENDERS if not said.only or any(part in one.name for part in said.only)]
    written: dict[str, Any] = {}
    for connections in said.connections:
        rounds: dict[str, list[dict[str, float]]] = {one.name: [] for one in chosen}
        for number in range(said.rounds):
            for one in chosen:
                rounds[one.name].append(measure(one, connections, said.seconds, number))
        found = {name: medians(many) for name, many in rounds.items()}
        print(table(found, connections) + "\n" + ratios(found) + "\n", flush=True)
        written[f"c={connections}"] = {"medians": found, "rounds": rounds}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
