"""What a user waits for and pays before anything happens: import time, memory when idle."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from benchmarks.contenders import CONTENDERS
from benchmarks.micro.timing import Figure
from benchmarks.names import BARE, JOB
from benchmarks.processes import memory
from benchmarks.running import Cores, running

PROGRAMS = {
    "bare": "pass",
    "peers": "import attrs, cattrs",
    "trigflow": "import trigflow",
    "github": "import trigflow, trigflow_github",
}
ROUNDS, QUICK_ROUNDS = 15, 3
SETTLING = 1.0  # seconds after the start


def take(quick: bool) -> Mapping[str, Figure]:
    """Time imports in fresh processes, and weigh an app that has nothing to do."""
    return {**_imports(QUICK_ROUNDS if quick else ROUNDS), "idle memory": _idle()}


def _imports(rounds: int) -> Mapping[str, Figure]:
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as elsewhere:  # where no source is found by accident
        for _ in range(rounds + 1):  # the first writes bytecode
            for name, program in PROGRAMS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", program], cwd=elsewhere, check=True)
                times[name].append((time.perf_counter() - start) * 1e3)
    took = {name: statistics.median(many[1:]) for name, many in times.items()}
    over = {name: took[name] - took["bare"] for name in PROGRAMS}
    against = "import attrs, cattrs"
    return {
        "import": Figure("ms", over["trigflow"], against, over["trigflow"] / over["peers"]),
        "import with GitHub": Figure("ms", over["github"], against, over["github"] / over["peers"]),
    }


def _idle() -> Figure:
    ours, bare = _weight(JOB), _weight(BARE)
    return Figure("MB", ours, "bare uvicorn", ours / bare)


def _weight(name: str) -> float:
    contender = next(one for one in CONTENDERS if one.name == name)
    with running(contender, Cores()) as one:
        time.sleep(SETTLING)  # nothing to wait for: idle is when nothing happens
        return memory(one.started).rss / 1e6
