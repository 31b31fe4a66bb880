"""`trigflow demo`: the example app beside a GitHub of its own, over real HTTP on this machine.

    FakeGitHub <──registers── app (uvicorn, SQLite in a temporary folder)
        └────signed deliveries──> endpoint ─> run ─> task ──labels──> FakeGitHub

Every scene sends one delivery and waits until the store tells what came of it.
What had to happen is compared with what did; that decides the exit code.
"""

from __future__ import annotations

import logging
import shlex
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import attrs
from anyio import to_thread
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli.deliveries import Story, story_of
from trigflow.cli.environment import environment
from trigflow.cli.screen import say, show_table, styled
from trigflow.core.errors import TrigflowError
from trigflow.core.runs import FINAL
from trigflow.runtime import records as r

if TYPE_CHECKING:
    from trigflow_github.testing import Attempt, FakeGitHub

REPO = "acme/web"
TOKEN = "demo-token"  # noqa: S105 - opens the fake, and nothing else
APP = "trigflow.cli.demo_app"
POLL = 0.01  # seconds between two looks at the store
PATIENCE = 20.0  # seconds for anything that is waited for


@attrs.frozen
class Scene:
    """One delivery, and what must come of it.

    send: makes the fake send; it blocks. why: what must be told as the reason.
    """

    title: str
    send: Callable[[], object]
    outcome: r.DeliveryOutcome
    why: str = ""
    runs: int = 0

    def problem(self, story: Story) -> str:
        """Say how what came of it differs from what had to; "" where it does not."""
        row, found = story.row, sum(map(len, story.runs.values()))
        if row.outcome != self.outcome:
            return f"it is {row.outcome}, not {self.outcome}"
        if found != self.runs:
            return f"it started {found} runs, not {self.runs}"
        if self.why not in why_of(story):
            return f"the reason is {why_of(story)!r}, not {self.why!r}"
        failed = [run for runs in story.runs.values() for run in runs if run.state != "succeeded"]
        return f"run {failed[0].id} {failed[0].state}: {failed[0].error}" if failed else ""


@attrs.frozen
class Played:
    """A scene, what came of it, and the tasks of its runs."""

    scene: Scene
    story: Story
    tasks: tuple[str, ...]


def demo(
    *,
    keep: Annotated[
        bool, Parameter(negative="", help="Stay up, to look around with other commands.")
    ] = False,
) -> int:
    """Show everything at work: needs no account, and no network beyond this machine.

    Exits with 0 if all that had to happen did.
    """
    import tempfile

    from trigflow_github.testing import FakeGitHub

    with tempfile.TemporaryDirectory(prefix="trigflow-demo-") as folder, FakeGitHub(token=TOKEN) as fake:
        store = str(Path(folder) / "demo.db")
        logging.getLogger("trigflow").addHandler(logging.NullHandler())  # what it warns of is shown below
        with environment({"GITHUB_API_URL": fake.url, "GITHUB_TOKEN": TOKEN, "TRIGFLOW_SECRET_KEY": None}):
            return anyio.run(_demo, fake, store, keep)


async def _demo(fake: FakeGitHub, store: str, keep: bool) -> int:
    async with _served(store) as app:
        await _registered(app, fake)
        played = await _play(app, fake)
        problems = [*_problems(played), *_labels(fake)]
        _summary(played, problems)
        if keep:
            await _stay(app, store)
    return 1 if problems else 0


@asynccontextmanager
async def _served(store: str) -> AsyncGenerator[App, None]:
    """Serve the example app at a free port of this machine."""
    import uvicorn

    from trigflow.cli.demo_app import triage

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = App(jobs=[triage], store=store, url=url, register="auto")
        server = _quiet(uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")))
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening])
            try:
                await _until(lambda: server.started, "the server did not start")
                say("serving     ", styled(url, "bold"), f"  {store}")
                say("GitHub      a fake one, on this machine too")
                yield app
            finally:
                server.should_exit = True


def _quiet(server: Any) -> Any:
    """Keep uvicorn's hands off the signals: Ctrl+C ends the demo as a whole."""
    server.capture_signals = nullcontext
    return server


async def _registered(app: App, fake: FakeGitHub) -> None:
    """Wait until the app has found its public URL reachable and made its webhook by itself."""
    await _until(lambda: bool(fake.hooks(REPO)), "no webhook was registered", lambda: app.opened.problem)
    (hook,) = fake.hooks(REPO)
    say(
        "registered  ", styled(f"webhook {hook.id} of {REPO}", "bold"), f"  events {', '.join(hook.events)}\n"
    )
    await to_thread.run_sync(fake.settle)  # a new webhook is pinged


async def _play(app: App, fake: FakeGitHub) -> list[Played]:
    """Send one delivery after the other and tell what comes of each."""
    played = [await _watched(app, _ping(), after="")]
    say(styled("  ✓ ", "green"), _told(played[0]))
    for scene in _scenes(fake):
        await to_thread.run_sync(scene.send)
        last = await _watched(app, scene, after=played[-1].story.row.id)
        played.append(last)
        good = not scene.problem(last.story)
        say(styled("  ✓ " if good else "  ✗ ", "green" if good else "red"), _told(last))
    return played


def _ping() -> Scene:
    return Scene("GitHub pings its new webhook", lambda: None, "accepted", "no job listens to ping")


def _scenes(fake: FakeGitHub) -> list[Scene]:
    opened = fake.payload(REPO, "issues", "opened")
    edited = fake.payload(REPO, "issues", "edited")
    bot = {**opened, "issue": {**opened["issue"], "user": {**opened["issue"]["user"], "type": "Bot"}}}
    sent: list[Attempt] = []

    def send(payload: Mapping[str, Any]) -> Callable[[], object]:
        return lambda: sent.extend(fake.emit(REPO, "issues", payload))

    return [
        Scene("a person opens an issue", send(opened), "accepted", runs=1),
        Scene("the issue is edited", send(edited), "accepted", 'action: expected one of ["opened"]'),
        Scene("a bot opens an issue", send(bot), "accepted", 'issue.user.type: expected one of ["User"]'),
        Scene("GitHub delivers the first one again", lambda: fake.redeliver(sent[0]), "duplicate"),
        Scene(
            "a stranger forges a delivery",
            lambda: fake.forge(fake.hooks(REPO)[0], "issues", opened),
            "rejected",
            "bad-signature",
        ),
    ]


async def _watched(app: App, scene: Scene, *, after: str) -> Played:
    """Wait until the delivery after another one is kept and its runs have ended."""
    store, found = app.opened.store, list[Story]()

    async def ended() -> bool:
        rows = [row for row in await store.deliveries(limit=20) if row.id > after]
        found[:] = [await story_of(store, rows[-1].id)] if rows else []
        return bool(found) and all(run.state in FINAL for runs in found[0].runs.values() for run in runs)

    await _until(ended, f"nothing came of it: {scene.title}")
    details = [await store.run(run.id) for runs in found[0].runs.values() for run in runs]
    tasks = tuple(
        f"{task.key.removeprefix('/')} → {(task.result or b'').decode()}"
        for detail in details
        if detail is not None
        for task in detail.tasks
    )
    return Played(scene, found[0], tasks)


async def _until(done: Callable[[], Any], problem: str, detail: Callable[[], str] = str) -> None:
    """Return as soon as something is so; TrigflowError where it takes longer than PATIENCE."""
    with anyio.move_on_after(PATIENCE):
        while True:
            value = done()
            if value if isinstance(value, bool) else await value:
                return
            await anyio.sleep(POLL)
    raise TrigflowError(f"{problem} within {PATIENCE:g} s. {detail()}".strip())


def why_of(story: Story) -> str:
    """Say in one line why a delivery started what it started, or nothing."""
    if story.row.outcome == "duplicate":
        return "known already; a redelivery starts nothing"
    if story.row.outcome == "rejected":
        return story.row.cause
    if any(story.runs.values()):
        return "trigger and filter match"
    missed = [str(entry["why"]) for event in story.events for entry in story.missed(event)]
    names = ", ".join(event.name for event in story.events)
    return "; ".join(missed) or story.row.cause or f"no job listens to {names}"


def _told(played: Played) -> str:
    runs = [run for runs in played.story.runs.values() for run in runs]
    came_of_it = ", ".join(f"{run.job.rpartition(':')[2]} {run.state}" for run in runs) or "nothing ran"
    return f"{played.scene.title}: {played.story.row.outcome}, {came_of_it} ({why_of(played.story)})"


def _problems(played: list[Played]) -> list[str]:
    return [f"{one.scene.title}: {told}" for one in played if (told := one.scene.problem(one.story))]


def _labels(fake: FakeGitHub) -> list[str]:
    """Say what is wrong with the labels at GitHub: they must be there, and set once."""
    number = fake.payload(REPO, "issues", "opened")["issue"]["number"]
    labels = fake.labels(REPO, number)
    calls = [call for call in fake.writes if call.path.endswith("/labels")]
    if labels == ["bug", "docs"] and len(calls) == 1:
        return []
    return [f"issue {number} has the labels {labels} after {len(calls)} calls, not ['bug', 'docs'] after 1"]


def _summary(played: list[Played], problems: list[str]) -> None:
    say()
    show_table(
        ("delivery", "what", "outcome", "why", "run", "tasks"),
        (
            (
                one.story.row.id,
                one.scene.title,
                one.story.row.outcome,
                why_of(one.story),
                "\n".join(run.id for runs in one.story.runs.values() for run in runs),
                "\n".join(one.tasks),
            )
            for one in played
        ),
        empty="",
    )
    for problem in problems:
        say(styled("✗ ", "red"), problem)
    if not problems:
        say(
            styled("✓ ", "green"),
            "all that had to happen did, and nothing else: the issue has its labels, set once",
        )


async def _stay(app: App, store: str) -> None:
    """Serve until Ctrl+C."""
    place = f"--store {shlex.quote(store)}"
    (first, *_) = [row for row in await app.opened.store.deliveries(limit=20) if row.runs]
    say(f"\nThe app is still served at {app.opened.base_url}. Beside it, look around:\n")
    say(f"  trigflow deliveries list {place}")
    say(f"  trigflow deliveries show {first.id} --body {place}")
    say(f"  trigflow runs list {place}")
    say(f"  trigflow replay {first.id} {APP} {place}")
    say(f"  trigflow endpoints {APP} {place} --url {app.opened.base_url}")
    say(f"  trigflow deliver github.issues:opened {APP} {place} --url {app.opened.base_url}")
    say("\nCtrl+C ends it.")
    sys.stdout.flush()
    if sys.platform == "win32":
        await anyio.sleep_forever()
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
