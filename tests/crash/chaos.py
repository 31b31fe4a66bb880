"""Random faults of a provider, and kill -9 between any two steps, of two instances on one store.

    python tests/crash/chaos.py --rounds 200 --seed 1

A round: both instances start with wants of their own; the provider fails, throttles, loses
answers, edits and deletes behind their backs; each dies at a step of its own or is killed a
little later; events happen all the while. Then the trouble ends, two new instances start, and
within the deadline the provider must have exactly what they want. At the end the provider's own
log is read, and everything that is in it must be in the store. Prints one line of JSON; exits
with 1 if anything did not converge, was lost, or was not ours and touched.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).parents[2]))  # where this file is run as a program

from tests.crash.processes import DEADLINE, Process, free_port
from trigflow_github.testing.process import FakeGitHubProcess

REPOS = ("acme/web", "acme/api", "acme/docs")
EVENTS = ("issues", "push", "star", "release")
FOREIGN = "https://elsewhere.example.com/hook"
OTHERS = f"https://other.example.com/e/{'q' * 8}/{'q' * 32}"  # another trigflow store's
APP = Path(__file__).with_name("chaos_app.py")
LONGEST_LIFE = 4.0  # seconds that an instance lives whose step does not come, once it takes steps
MOST_STEPS = 40

Wants = Mapping[str, frozenset[str]]


@attrs.define
class Figures:
    """What a campaign has come to."""

    rounds: int = 0
    died_at_a_step: int = 0
    killed_later: int = 0
    died: dict[str, int] = attrs.field(factory=dict[str, int])
    faults: int = 0
    hands: int = 0
    events: int = 0
    acknowledged: int = 0
    recovered: int = 0
    to_convergence: list[float] = attrs.field(factory=list[float])
    problems: list[str] = attrs.field(factory=list[str])

    def line(self, seed: int, took: float) -> str:
        """Write them as JSON."""
        told = attrs.asdict(self)
        times = told.pop("to_convergence")
        told["to_convergence_s"] = {
            "median": round(statistics.median(times), 2) if times else None,
            "worst": round(max(times), 2) if times else None,
        }
        return json.dumps({"seed": seed, "took_s": round(took), **told})


@attrs.define
class Chaos:
    """One store, one fake GitHub, and instances that come and go."""

    folder: Path
    fake: FakeGitHubProcess
    chance: random.Random
    figures: Figures = attrs.field(factory=Figures)
    port: int = attrs.field(factory=free_port)
    payloads: dict[tuple[str, str], Any] = attrs.field(factory=dict[tuple[str, str], Any])

    def prepare(self) -> None:
        for repo in REPOS[1:]:
            self.fake.call("add_repository", name=repo)
        for repo in REPOS:
            self.fake.call("add_hook", place=repo, url=FOREIGN, events=["push"])
            self.fake.call("add_hook", place=repo, url=OTHERS, events=["push"])

    def wants(self) -> Wants:
        """Choose what one instance wants."""
        found = {repo: frozenset(e for e in EVENTS if self.chance.random() < 0.4) for repo in REPOS}
        return {repo: events for repo, events in found.items() if events}

    def env(self, wants: Wants, kill: int = 0) -> Mapping[str, str]:
        """Tell an instance what it is to do."""
        told = " ".join(f"{repo}={','.join(sorted(events))}" for repo, events in wants.items())
        own = {"GITHUB": self.fake.url, "FOLDER": self.folder, "PORT": self.port, "WANTS": told, "KILL": kill}
        return {**os.environ, **{f"CHAOS_{name}": str(value) for name, value in own.items()}}

    @contextmanager
    def instance(self, wants: Wants, *, kill: int = 0) -> Generator[Process, None, None]:
        with (self.folder / "served.log").open("ab") as log:
            process = Popen([sys.executable, str(APP)], stdout=log, stderr=log, env=self.env(wants, kill))
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)

    def round(self) -> None:
        """Cause trouble, end it, and wait until the provider has what is wanted."""
        self.figures.rounds += 1
        for _ in range(self.chance.randrange(4)):
            self.trouble()
        kills = [self.chance.randrange(1, MOST_STEPS) for _ in range(2)]
        with (
            self.instance(self.wants(), kill=kills[0]) as one,
            self.instance(self.wants(), kill=kills[1]) as two,
        ):
            # A machine that is busy takes long to start them: their lives begin with their first steps.
            self.until(lambda: all(self.has_begun(process) for process in (one, two)))
            end = time.monotonic() + 1 + self.chance.random() * LONGEST_LIFE
            while time.monotonic() < end and (one.poll() is None or two.poll() is None):
                self.emit()
                if self.chance.random() < 0.3:
                    self.hand()
                time.sleep(0.1)
            for process in (one, two):
                died = process.poll() == -signal.SIGKILL
                self.figures.died_at_a_step += died
                self.figures.killed_later += not died
                if died:
                    where = (self.folder / f"{process.pid}.died").read_text()
                    self.figures.died[where] = self.figures.died.get(where, 0) + 1
        self.end_trouble()
        self.converge()

    def has_begun(self, process: Process) -> bool:
        """Tell whether an instance has come to its first step; one that has died has."""
        return process.poll() is not None or (self.folder / f"{process.pid}.begun").exists()

    def trouble(self) -> None:
        """Have the provider misbehave."""
        self.figures.faults += 1
        what = self.chance.choice(["fail", "fail", "lose answer", "throttle", "restart"])
        if what == "throttle":
            self.fake.call("throttle", wait=1, times=1)
        elif what == "restart":
            self.fake.call("restart")
        else:
            self.fake.call(
                "fail",
                method=self.chance.choice(["GET", "POST", "PATCH", "DELETE"]),
                path="/hooks",
                status=self.chance.choice([500, 502, 503]),
                times=self.chance.randrange(1, 3),
                effective=what == "lose answer",
            )

    def hand(self) -> None:
        """Change one of our webhooks behind our back."""
        repo = self.chance.choice(REPOS)
        ours = self.ours(repo)
        if ours:
            self.figures.hands += 1
            hook = self.chance.choice(ours)
            if self.chance.random() < 0.4:
                self.fake.call("delete_hook", hook_id=hook["id"])
            else:
                active = self.chance.random() < 0.5
                self.fake.call("edit_hook", hook_id=hook["id"], events=["watch"], active=active)

    def emit(self) -> None:
        """Have something happen at the provider."""
        self.figures.events += 1
        repo, event = self.chance.choice(REPOS), self.chance.choice(["star", "push"])
        if (repo, event) not in self.payloads:
            name = "created" if event == "star" else "default"
            self.payloads[repo, event] = self.fake.call("payload", place=repo, event=event, name=name)
        self.fake.call("emit", place=repo, event=event, payload=self.payloads[repo, event])

    def end_trouble(self) -> None:
        self.fake.call("settle")

    def ours(self, repo: str) -> list[dict[str, Any]]:
        hooks: Sequence[dict[str, Any]] = self.fake.call("hooks", place=repo)
        return [hook for hook in hooks if hook["url"] not in (FOREIGN, OTHERS)]

    def converge(self) -> None:
        """Start two instances without any trouble, and wait for what they want."""
        wants = [self.wants(), self.wants()]
        union = {repo: frozenset[str]().union(*(w.get(repo, frozenset()) for w in wants)) for repo in REPOS}
        started = time.monotonic()
        with self.instance(wants[0]), self.instance(wants[1]):
            is_so = self.until(lambda: all(self.is_so(repo, union[repo]) for repo in REPOS))
            if not is_so:
                seen = {repo: self.ours(repo) for repo in REPOS}
                self.figures.problems.append(f"round {self.figures.rounds}: wanted {union}, there is {seen}")
            self.figures.to_convergence.append(time.monotonic() - started)
            for _ in range(3):
                self.emit()
        self.check_others()

    def until(self, done: Callable[[], bool]) -> bool:
        end = time.monotonic() + DEADLINE
        while not done():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def is_so(self, repo: str, events: frozenset[str]) -> bool:
        ours = self.ours(repo)
        if not events:
            return not ours
        return len(ours) == 1 and frozenset(ours[0]["events"]) == events and bool(ours[0]["active"])

    def check_others(self) -> None:
        """See that nobody touched what is not ours."""
        for repo in REPOS:
            for url in (FOREIGN, OTHERS):
                hooks = [hook for hook in self.fake.call("hooks", place=repo) if hook["url"] == url]
                if [tuple(hook["events"]) for hook in hooks] != [("push",)]:
                    self.figures.problems.append(f"round {self.figures.rounds}: {url} of {repo} was touched")

    def finish(self) -> None:
        """Read the provider's log, and compare it with the store."""
        before = self.kept()
        for attempt in self.fake.call("log"):
            self.figures.acknowledged += bool(attempt["ok"]) and self.is_ours(attempt)
            if attempt["ok"] and self.is_ours(attempt) and attempt["delivery"] not in before:
                self.figures.problems.append(f"acknowledged and not kept: {attempt['delivery']}")
        self.recover()
        kept = self.kept()
        self.figures.recovered = len(kept - before)
        for attempt in self.logged():
            if attempt["delivery"] not in kept:
                self.figures.problems.append(f"in the provider's log and not kept: {attempt['delivery']}")

    def is_ours(self, attempt: Mapping[str, Any]) -> bool:
        return f"127.0.0.1:{self.port}" in attempt["url"]

    def logged(self) -> list[dict[str, Any]]:
        """Return what the provider would show of webhooks of ours that are still there."""
        live = {hook["id"] for repo in REPOS for hook in self.ours(repo)}
        return [attempt for attempt in self.fake.call("log") if attempt["hook_id"] in live]

    def recover(self) -> None:
        """Do what a person would do after all this: read the provider's log."""
        command = [sys.executable, "-m", "trigflow", "recover", f"{APP}:app", "--since", "2h"]
        with (self.folder / "served.log").open("ab") as log:
            wants = {repo: frozenset(EVENTS) for repo in REPOS}
            process = Popen(command, stdout=log, stderr=log, env=self.env(wants))
            if process.wait(DEADLINE) != 0:
                self.figures.problems.append("the provider's log could not be read")

    def kept(self) -> frozenset[str]:
        """Return the GUIDs of all events in the store."""
        with sqlite3.connect(f"file:{self.folder / 's.db'}?mode=ro", uri=True) as store:
            return frozenset(guid for (guid,) in store.execute("SELECT event_id FROM events"))


def campaign(rounds: int, seed: int) -> Figures:
    """Run so many rounds, and return what came of them."""
    with tempfile.TemporaryDirectory() as folder, FakeGitHubProcess() as fake:
        chaos = Chaos(Path(folder), fake, random.Random(seed))
        chaos.prepare()
        for _ in range(rounds):
            chaos.round()
            if len(chaos.figures.problems) > 5:
                break
        chaos.finish()
        if chaos.figures.problems:
            print((Path(folder) / "served.log").read_text()[-4000:], file=sys.stderr)
        return chaos.figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    told = parser.parse_args()
    started = time.monotonic()
    figures = campaign(told.rounds, told.seed)
    print(figures.line(told.seed, time.monotonic() - started))
    sys.exit(1 if figures.problems else 0)


if __name__ == "__main__":
    main()
