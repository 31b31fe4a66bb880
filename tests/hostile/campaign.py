"""A fuzzing campaign over all targets: python tests/hostile/campaign.py --inputs 1000000 [--seed 1]

Guided by coverage with atheris where it can be imported, else by chance alone. Every target runs in
a process of its own, with `--only mixed` all of them in one. One line of JSON tells what was found.
Status 1 where there is a finding, a hang, or memory that grew; the inputs that led there are kept in
the folder --findings.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hostile.targets import Target

ROOT = Path(__file__).parents[2]
SHARES = {  # of the inputs
    "intake": 0.35, "verifiers": 0.2, "decoders": 0.1, "handshakes": 0.15, "parts": 0.05, "filters": 0.15,
}  # fmt: skip
TARGETS = [*SHARES, "mixed"]
GUIDED = importlib.util.find_spec("atheris") is not None
SLOW = 2.0  # seconds of CPU that one input may take
HANG = 120.0  # seconds without so many inputs done
AT_A_TIME = 1000
LONGEST = 1024  # bytes of an input
WARM = 0.3  # of the inputs; what memory is compared with afterwards
GROWTH = 48.0  # MB that memory may grow after that
MOST_FINDINGS = 20


class Worker:
    """Feeds one target, and counts."""

    def __init__(self, name: str, target: Target, inputs: int, seconds: float | None, findings: Path) -> None:
        self._name, self._target, self._inputs, self._findings = name, target, inputs, findings
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._done, self._slowest = 0, 0.0
        self._found: dict[str, str] = {}
        self._came: Counter[str] = Counter()
        self._warm: float | None = None
        self._began = time.monotonic()

    def feed(self, given: bytes) -> None:
        """Take one input; the last one ends the process."""
        if self._done % AT_A_TIME == 0:
            faulthandler.dump_traceback_later(HANG, exit=True)
        began = time.thread_time()
        try:
            self._came[self._target.feed(given)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._keep(error, given)
        took = time.thread_time() - began
        if took > SLOW:
            self._keep(TimeoutError(f"{took:.1f} s"), given)
        self._slowest = max(self._slowest, took)
        self._done += 1
        if self._warm is None and self._done >= self._inputs * WARM:
            self._warm = self._memory()
        if self._done >= self._inputs or (self._ends is not None and time.monotonic() > self._ends):
            self._end()

    def _keep(self, error: Exception, given: bytes) -> None:
        places = traceback.extract_tb(error.__traceback__)
        where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
        told = f"{type(error).__name__}: {str(error)[:200]}{where}"
        if told in self._found or len(self._found) >= MOST_FINDINGS:
            return
        self._found[told] = given.hex()
        path = self._findings / f"{self._name}-{sha256(given).hexdigest()[:16]}"
        path.write_bytes(given)
        path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))

    def _memory(self) -> float:
        """Return the MB that are in use with nothing open."""
        self._target.rest()
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)

    def _end(self) -> None:
        after = self._memory()
        warm = after if self._warm is None else self._warm
        told = {
            "inputs": self._done, "seconds": round(time.monotonic() - self._began, 1),
            "findings": self._found, "slowest_ms": round(self._slowest * 1000, 1),
            "rss_warm_mb": warm, "rss_mb": after, "grew": after - warm > GROWTH,
            "came": dict(self._came.most_common()),
        }  # fmt: skip
        print("RESULT " + json.dumps(told), flush=True)
        os._exit(0)  # the fuzzer's own way out knows no end


def work(name: str, inputs: int, seconds: float | None, seed: int, findings: Path) -> None:
    """Fuzz one target in this process; does not return."""
    sys.path.insert(0, str(ROOT))
    with ExitStack() as stack:
        if GUIDED:
            import atheris  # type: ignore[import-untyped,unused-ignore]

            stack.enter_context(atheris.instrument_imports(include=["trigflow"]))
        from tests.hostile import targets
    worker = Worker(name, targets.TARGETS[name](), inputs, seconds, findings)
    if not GUIDED:
        for given in _by_chance(targets.seeds(), seed):
            worker.feed(given)
    with tempfile.TemporaryDirectory() as corpus:
        for number, given in enumerate(targets.seeds()):
            Path(corpus, str(number)).write_bytes(given)
        # Memory is watched by the worker; -len_control=0: long inputs from the start.
        options = [
            f"-seed={seed}",
            f"-max_len={LONGEST}",
            "-len_control=0",
            f"-timeout={HANG:.0f}",
            "-rss_limit_mb=0",
        ]
        options += ["-reload=0", "-verbosity=0", f"-artifact_prefix={findings}/"]
        atheris.Setup([sys.argv[0], *options, corpus], worker.feed)
        atheris.Fuzz()


def _by_chance(seeds: list[bytes], seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    yield from seeds
    while True:
        yield chance.randbytes(chance.choice((8, 32, 128, 512, LONGEST)))


def run(inputs: int, seconds: float | None, seed: int, findings: Path, only: Sequence[str]) -> dict[str, Any]:
    """Fuzz every target, each in a process of its own, one after the other."""
    findings.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"guided": GUIDED, "seed": seed, "targets": {}}
    for name in only or SHARES:
        share = 1 / len(only) if only else SHARES[name]
        command = [sys.executable, str(Path(__file__).resolve()), "--target", name]
        command += ["--inputs", str(max(1, round(inputs * share)))]
        command += ["--seed", str(seed), "--findings", str(findings)]
        command += [] if seconds is None else ["--seconds", str(seconds * share)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        results = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
        told["targets"][name] = (
            json.loads(results[-1].removeprefix("RESULT "))
            if results
            else {"inputs": 0, "seconds": 0, "died": ended.returncode, "told": ended.stderr[-2000:]}
        )
    results = told["targets"].values()
    told["inputs"] = sum(one["inputs"] for one in results)
    told["seconds"] = round(sum(one["seconds"] for one in results), 1)
    told["ok"] = not any(one.get("findings") or one.get("grew") or "died" in one for one in results)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000, help="in all, shared among the targets")
    parser.add_argument("--seconds", type=float, help="at most, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path(".trigflow/fuzz"))
    parser.add_argument("--only", nargs="*", default=[], choices=TARGETS, help="these targets alone")
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.target:
        work(given.target, given.inputs, given.seconds, given.seed, given.findings)
    told = run(given.inputs, given.seconds, given.seed, given.findings.resolve(), given.only)
    print(json.dumps(told))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
