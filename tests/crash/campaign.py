"""kill -9 at random moments of a real process under load, again and again.

    store ── start ─ kill ─ start ─ kill ─ … ─ start ─ come to rest ─ verdict      one series
    load  ─────────────────────────────────────── stop

    python tests/crash/campaign.py --rounds 200 --seed 1

A round is one kill. A series kills the same store up to MOST_KILLS times without
letting it come to rest, so that recovery itself is killed, too. After each kill
a copy of the files is opened and looked at; the next process gets the originals
as they were left. Prints one line of JSON; exits with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import attrs

sys.path.insert(0, str(Path(__file__).parents[2]))  # where this file is run as a program

from tests.crash.processes import (
    DEADLINE,
    Process,
    await_answers,
    await_rest,
    free_port,
    loading,
    serving,
    until,
)
from tests.crash.verdict import Kept, answers_in, effects_in, kept_in, missing, problems, repeated

# One fewer than the processes that may end with a run before it is given up (execute.MOST_STARTS).
MOST_KILLS = 4
LONGEST_LIFE = 1.5  # seconds between the start of a process and its end
RECOVERY = 0.1  # seconds; left-over runs are taken up again about then


@attrs.define
class Figures:
    """What a campaign has come to; times in seconds."""

    rounds: int = 0
    series: int = 0
    requests: int = 0
    acknowledged: int = 0
    redeliveries_acknowledged: int = 0
    unanswered: int = 0
    runs: int = 0
    tasks: int = 0
    repeated_effects: int = 0
    left_over_runs: int = 0
    kills_during_recovery: int = 0
    to_first_answer: list[float] = attrs.field(factory=list[float])
    to_last_left_over: list[float] = attrs.field(factory=list[float])
    problems: list[str] = attrs.field(factory=list[str])

    def line(self, seed: int, took: float) -> str:
        """Write them as JSON."""
        told = attrs.asdict(self)
        for name in ("to_first_answer", "to_last_left_over"):
            values = told.pop(name)
            told[f"{name}_ms"] = {
                "count": len(values),
                "median": round(statistics.median(values) * 1000) if values else None,
                "worst": round(max(values) * 1000) if values else None,
            }
        return json.dumps({"seed": seed, "took_s": round(took), "losses": len(self.problems), **told})


@attrs.frozen
class Life:
    """When a process was started (monotonic and unix seconds), and what the one before had left over."""

    started: float
    started_unix: float
    left_over: frozenset[str]


@attrs.define
class Series:
    """One store that is killed several times."""

    folder: Path
    chance: random.Random
    loop: str
    port: int = attrs.field(factory=free_port)
    lives: list[Life] = attrs.field(factory=list[Life])
    ends: list[float] = attrs.field(factory=list[float])  # unix seconds, one for each life
    problems: list[str] = attrs.field(factory=list[str])
    kills_during_recovery: int = 0

    def run(self, kills: int) -> Kept:
        """Kill it so often, let it come to rest, and return what it then holds."""
        try:
            self._run(kills)
        except AssertionError as error:  # it did not start, or did not come to rest
            self.problems.append(str(error))
        kept = anyio.run(partial(kept_in, self.folder / "s.db", details=True))
        self.problems += problems(answers_in(self.folder), effects_in(self.folder), kept)
        return kept

    def _run(self, kills: int) -> None:
        with loading(self.folder, self.port, self.chance.randrange(1 << 30)) as stop:
            left: frozenset[str] = frozenset()
            for _ in range(kills):
                with self._started(left) as process:
                    self._live(process)
                    process.kill()
                    process.wait(DEADLINE)
                left = self._autopsy()
            with self._started(left) as process:
                await_answers(self.port, process, self.folder)
                stop()
                await_rest(self.port)
                process.terminate()
                process.wait(DEADLINE)
                self.ends.append(time.time())

    @contextmanager
    def _started(self, left: frozenset[str]) -> Generator[Process, None, None]:
        self.lives.append(Life(time.monotonic(), time.time(), left))
        with serving(self.folder, self.port, self.loop) as process:
            yield process

    def _live(self, process: Process) -> None:
        """Wait for a random moment: while it starts, while it recovers, or later."""
        moment = self.chance.random()
        if moment < 0.15:
            time.sleep(self.chance.random() * LONGEST_LIFE)
            return
        opened = self.lives[-1].started_unix
        endpoint = self.folder / "endpoint.json"
        until(
            lambda: process.poll() is not None or (endpoint.exists() and endpoint.stat().st_mtime > opened),
            (self.folder / "served.log").read_text,
        )
        assert process.poll() is None, (self.folder / "served.log").read_text()
        time.sleep(self.chance.random() * (RECOVERY if moment < 0.4 else LONGEST_LIFE))

    def _autopsy(self) -> frozenset[str]:
        """Look at a copy of what a killed process left; return the runs that have not ended."""
        self.ends.append(time.time())
        life, answers = self.lives[-1], answers_in(self.folder)
        copy = self.folder / "copy"
        copy.mkdir()
        for name in ("s.db", "s.db-wal"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, copy / name)
        kept = anyio.run(partial(kept_in, copy / "s.db", details=False))
        shutil.rmtree(copy)
        self.problems += missing(answers, kept)
        answered = any(one.acknowledged and one.at > life.started for one in answers)
        if len(self.lives) > 1 and (not answered or life.left_over & kept.unfinished):
            self.kills_during_recovery += 1
        return kept.unfinished

    def to_first_answer(self) -> list[float]:
        """Tell how long each restart took until a delivery was acknowledged, where it came to that."""
        answers = [one.at for one in answers_in(self.folder) if one.acknowledged]
        firsts = [min((at for at in answers if at > life.started), default=None) for life in self.lives]
        nexts = [life.started for life in self.lives[1:]] + [float("inf")]
        return [
            first - life.started
            for life, first, end in list(zip(self.lives, firsts, nexts, strict=True))[1:]
            if first is not None and first < end
        ]

    def to_last_left_over(self, kept: Kept) -> list[float]:
        """Tell how long each restart took until all that was left over had ended, where it came to that."""
        ended = {run.id: (run.ended_at or 0) / 1000 for run in kept.runs}
        lasts = [
            (life.started_unix, max(ended.get(run, float("inf")) for run in life.left_over), end)
            for life, end in zip(self.lives, self.ends, strict=False)
            if life.left_over
        ]
        return [last - started for started, last, end in lasts if last <= end]


def campaign(rounds: int, seed: int, *, keep: Path | None = None) -> Figures:
    """Kill that often; series take turns at the fast and the plain loop."""
    figures, chance = Figures(), random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="trigflow-crash-")) if keep is None else keep
    while figures.rounds < rounds:
        kills = min(chance.randint(2, MOST_KILLS), rounds - figures.rounds)
        folder = root / f"series-{figures.series}"
        folder.mkdir(parents=True)
        series = Series(folder, chance, ("uvloop", "asyncio")[figures.series % 2])
        kept = series.run(kills)
        _add(figures, series, kept, kills)
        if series.problems:
            print(f"{folder} is kept: {series.problems[0]}", file=sys.stderr)
        elif keep is None:
            shutil.rmtree(folder)
    if keep is None and not figures.problems:
        shutil.rmtree(root)
    return figures


def _add(figures: Figures, series: Series, kept: Kept, kills: int) -> None:
    answers, effects = answers_in(series.folder), effects_in(series.folder)
    acknowledged = [one for one in answers if one.acknowledged]
    figures.rounds += kills
    figures.series += 1
    figures.requests += len(answers)
    figures.acknowledged += len(acknowledged)
    figures.redeliveries_acknowledged += len(acknowledged) - len({one.id for one in acknowledged})
    figures.unanswered += sum(one.status is None for one in answers)
    figures.runs += len(kept.runs)
    figures.tasks += sum(len(detail.tasks) for detail in kept.details.values())
    figures.repeated_effects += repeated(effects)
    figures.left_over_runs += sum(len(life.left_over) for life in series.lives)
    figures.kills_during_recovery += series.kills_during_recovery
    figures.to_first_answer += series.to_first_answer()
    figures.to_last_left_over += series.to_last_left_over(kept)
    figures.problems += series.problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="how many kills")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--keep", type=Path, help="folder for the stores; they are not taken away")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    figures = campaign(options.rounds, options.seed, keep=options.keep)
    print(figures.line(options.seed, time.monotonic() - began))
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
