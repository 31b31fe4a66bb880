"""A process that is killed: one run of five tasks, each of which leaves a line in a file.

argv: store, effects, and where to stop for the killer ("effect:3", "before:3", "never").
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import anyio

from trigflow.core.jobs import Mark, Options, build_job
from trigflow.core.triggers import Specification, Trigger
from trigflow.engines.embedded import EmbeddedEngine
from trigflow.runtime import records as r
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.execution.execute import Executor
from trigflow.runtime.execution.io import IO
from trigflow.runtime.gather import GIVEN
from trigflow.runtime.ports import Item
from trigflow.stores.sqlite import SqliteStore

TASKS = 5


class Source:
    id = "source"

    def key_of(self, params: object) -> str:
        return ""


async def main(path: str, effects: str, stop: str) -> None:
    def wait_for_the_killer() -> None:
        print("here", flush=True)
        time.sleep(60)

    def effect(number: int) -> int:
        if stop == f"before:{number}":
            wait_for_the_killer()
        with Path(effects).open("a") as file:
            file.write(f"{number}\n")
        if stop == f"effect:{number}":
            wait_for_the_killer()
        return number * 10

    async def job(payload: dict[str, Any], io: IO) -> list[int]:
        return [await io.task(f"t{number}", effect, number) for number in range(TASKS)]

    trigger: Trigger[object] = Trigger(Specification("n", Source(), Any, ("n",)), None, "n")
    job_ = build_job(job, Mark((trigger,), Options(id="job")), given=GIVEN)
    clock = SystemClock()
    async with SqliteStore(path, store_id=lambda: "abc") as store, anyio.create_task_group() as group:
        executor = Executor({"job": job_}, store, clock, None, chance=lambda: 0.0, threads=2)  # type: ignore[arg-type]
        engine = EmbeddedEngine(store, clock, owner=f"ins_{time.time_ns()}")
        group.start_soon(lambda: engine.serve(executor.handle, limit=2))
        while not engine.alive:
            await anyio.sleep(0.001)
        if await store.run("run_1") is None:
            (statements,) = engine.put([Item("run_1", 0, 0)])
            event = r.NewEvent(
                "evt_1", "1", "n", None, None, None, (r.NewRun("run_1", "job", 0, statements),)
            )
            await store.accept(
                r.NewDelivery(
                    "dlv_1", "ep", "s", 1, "accepted", "", 200, "POST", b"[]", b"{}", events=(event,)
                )
            )
            print("accepted", flush=True)
            engine.wake(statements)
        while (found := await store.run("run_1")) is None or found.row.ended_at is None:
            await anyio.sleep(0.002)
        print("ended", flush=True)
        group.cancel_scope.cancel()


anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
