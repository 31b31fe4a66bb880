"""What a user waits for and pays before anything happens: import time, memory when idle.

Import time is processor time, the least of many fresh processes: all else is what the
machine does beside them.
"""

from __future__ import annotations

import os
import resource
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
        # What is installed has bytecode. Where writing it is forbidden, compiling would be measured.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": elsewhere, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(rounds + 1):  # the first writes bytecode
            for name, program in PROGRAMS.items():
                before = _spent()
                subprocess.run([sys.executable, "-c", program], cwd=elsewhere, env=env, check=True)
                times[name].append((_spent() - before) * 1e3)
    took = {name: min(many[1:]) for name, many in times.items()}
    over = {name: took[name] - took["bare"] for name in PROGRAMS}
    against = "import attrs, cattrs"
    return {
        "import": Figure("ms", over["trigflow"], against, over["trigflow"] / over["peers"]),
        "import with GitHub": Figure("ms", over["github"], against, over["github"] / over["peers"]),
    }


def _spent() -> float:
    """Return the processor seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _idle() -> Figure:
    ours, bare = _weight(JOB), _weight(BARE)
    return Figure("MB", ours, "bare uvicorn", ours / bare)


def _weight(name: str) -> float:
    contender = next(one for one in CONTENDERS if one.name == name)
    with running(contender, Cores()) as one:
        time.sleep(SETTLING)  # nothing to wait for: idle is when nothing happens
        return memory(one.started).rss / 1e6
