"""Running one job without an app, a store on disk or a provider.

ran = await run_job(triage, payload, tasks={"label": ["bug"]})
assert ran.state == "succeeded" and ran.result == ["bug"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import attrs

from trigflow.core.errors import SetupError
from trigflow.core.jobs import Job, build_job, mark_of
from trigflow.core.payloads import decode_json_text, encode_json
from trigflow.core.runs import Final
from trigflow.runtime import records as r, views as v
from trigflow.runtime.execution.execute import Executor
from trigflow.runtime.gather import GIVEN
from trigflow.runtime.ports import Again
from trigflow.stores.memory import MemoryStore

OWNER = "test"


@attrs.frozen
class Ran:
    """How a job came out.

    result: what it returned, as plain JSON values. error: "Class: text", or None.
    tasks: the results of the tasks that were called or given, by key.
    attempts: how often it was tried.
    """

    state: Final
    result: Any
    error: str | None
    tasks: Mapping[str, Any]
    log: tuple[str, ...]
    attempts: int


@attrs.define
class _Time:
    """A clock that stands still unless the run waits."""

    at: float

    def now(self) -> float:
        return self.at

    async def wait(self, event: anyio.Event, *, until: float) -> None:
        self.at = max(self.at, until)


@attrs.frozen
class _Around:
    """Clients that the test passed."""

    clients: Mapping[Any, object]

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        return self.clients[annotation]

    async def delivery(self, run: r.LoadedRun) -> object:
        raise SetupError("run_job has no delivery; use `deliver` with an app")


async def run_job(
    function: Callable[..., Any],
    payload: object,
    *,
    tasks: Mapping[str, object] | None = None,
    clients: Mapping[Any, object] | None = None,
    event: str = "test",
) -> Ran:
    """Run a decorated job to its end, with its retries but without their waits.

    payload: JSON-able; an attrs object, a dict, or JSON text as bytes.
    tasks: results by key ("outer/inner" for a task inside a task); a task that
        is not among them is called for real.
    clients: what to pass for client annotations, by type.
    """
    mark = mark_of(function)
    if mark is None:
        raise SetupError(f"{function!r} is not a job; decorate it with @trigger(...)")
    job = build_job(function, mark, given=GIVEN)
    _check_clients(job, clients or {})
    store = MemoryStore(store_id="test")
    clock = _Time(0.0)
    await _accept(store, job, payload if isinstance(payload, bytes) else encode_json(payload), event)
    (claim,) = await store.take(OWNER, now=0, limit=1, alive_since=0)
    for key, result in (tasks or {}).items():
        kept = r.KeptTask(f"/{key}", "succeeded", 1, encode_json(result), None, 0, 0)
        await store.keep_task(claim, kept, ())
    executor = Executor({job.id: job}, store, clock, _Around(clients or {}), chance=lambda: 0.0, threads=4)
    while isinstance(again := await executor.handle(claim), Again):
        clock.at += again.delay.total_seconds() + 0.001
        (claim,) = await store.take(OWNER, now=int(clock.at * 1000) + 1, limit=1, alive_since=0)
    detail = await store.run("run")
    assert detail is not None  # noqa: S101 - accepted above
    return ran_of(detail)


def _check_clients(job: Job, clients: Mapping[Any, object]) -> None:
    for parameter in job.parameters:
        if parameter.role == "client" and parameter.annotation not in clients:
            name = parameter.annotation.__name__
            raise SetupError(f"job {job.id} asks for a {name}; pass clients={{{name}: …}}")


async def _accept(store: MemoryStore, job: Job, text: bytes, event: str) -> None:
    run = r.NewRun("run", job.id, 0, (r.Enqueue("run", 0, 0),))
    name = job.listens[0].trigger.specification.name
    new = r.NewEvent("event", event, name, None, None, None, (run,))
    await store.accept(
        r.NewDelivery("delivery", "", None, 0, "accepted", "", 200, "POST", b"[]", text, events=(new,))
    )


def ran_of(detail: v.RunDetail) -> Ran:
    """Describe a run that has ended."""
    row = detail.row
    return Ran(
        row.state,  # type: ignore[arg-type]  # the loop above ends with a final state
        None if detail.result is None else decode_json_text(detail.result),
        row.error,
        {task.key.removeprefix("/"): decode_json_text(task.result) for task in detail.tasks if task.result},
        tuple(line.message for line in detail.logs),
        row.attempts,
    )
