"""A store, a virtual clock and an executor, turned by hand: no engine, no process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs

from trigflow.core.jobs import Job, Mark, Options, build_job
from trigflow.core.triggers import Specification, Trigger
from trigflow.runtime import records as r, views as v
from trigflow.runtime.execution.execute import Executor
from trigflow.runtime.gather import GIVEN
from trigflow.runtime.ports import Again, Done, Runs
from trigflow.stores.memory import MemoryStore
from trigflow.testing.clock import VirtualClock


class Client:
    """What a job may ask for."""


@attrs.frozen
class Source:
    """As much of a source as a trigger needs."""

    id: str = "source"
    client: type = Client

    def key_of(self, params: object) -> str:
        return ""


def job_of(function: Callable[..., Any], **options: Any) -> Job:
    """Make a job with the id `job`."""
    trigger: Trigger[object] = Trigger(Specification("pushed", Source(), Any, ("pushed",)), None, "pushed")
    return build_job(function, Mark((trigger,), Options(**{"id": "job", **options})), given=GIVEN)


class Around:
    """Clients and deliveries."""

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        return annotation()

    async def delivery(self, run: r.LoadedRun) -> object:
        return f"delivery {run.delivery_id}"


@attrs.define
class Bench:
    """One job and everything around it."""

    jobs: dict[str, Job]
    clock: VirtualClock = attrs.field(factory=VirtualClock)
    store: MemoryStore = attrs.field(factory=lambda: MemoryStore(store_id="abc"))
    runs: Runs | None = None
    around: Around = attrs.field(factory=Around)
    handled: list[Done | Again] = attrs.field(factory=list[Done | Again])
    claims: list[r.Claim] = attrs.field(factory=list[r.Claim])
    serial: int = 0

    @property
    def now(self) -> int:
        return int(self.clock.now() * 1000)

    def executor(self) -> Executor:
        return Executor(
            self.jobs, self.runs or self.store, self.clock, self.around, chance=lambda: 0.0, threads=4
        )

    async def start(self, text: bytes = b"{}", *, owner: str | None = None, **more: Any) -> str:
        """Keep an event and queue a run for it; return its id."""
        self.serial += 1
        run_id = f"run_{self.serial:04d}"
        enqueue = r.Enqueue(run_id, self.now, 0, owner)
        run = r.NewRun(run_id, more.pop("job", "job"), self.now, (enqueue,), **more)
        event = r.NewEvent(
            f"evt_{self.serial:04d}", f"id{self.serial}", "pushed", 5_000, None, b'{"a":1}', (run,)
        )
        await self.store.accept(
            r.NewDelivery(
                f"dlv_{self.serial:04d}", "ep", "sub", self.now, "accepted", "", 200, "POST", b"[]", text,
                events=(event,),
            )
        )  # fmt: skip
        return run_id

    async def take(self) -> list[r.Claim]:
        """Claim, as a new process, what is due and what others hold: none of them ever beats."""
        self.serial += 1
        owner = f"ins_{self.serial}"
        self.claims += await self.store.take(owner, now=self.now, limit=99, alive_since=self.now)
        return self.claims

    async def once(self) -> Done | Again:
        """Execute one attempt of the one run that is due."""
        (claim,) = await self.take()
        self.claims.clear()
        self.handled.append(await self.executor().handle(claim))
        return self.handled[-1]

    async def work(self, *, attempts: int = 100) -> None:
        """Execute attempts, turning the clock to each next one, until nothing is queued."""
        for _ in range(attempts):
            due = await self.store.next_due()
            if not self.claims and due is None:
                return
            if due is not None and due > self.now:
                self.clock.advance(timedelta(milliseconds=due - self.now))
            if not self.claims:
                await self.take()
            claim = self.claims.pop(0)
            self.handled.append(await self.executor().handle(claim))
        raise AssertionError("the run does not end")

    async def detail(self, run_id: str) -> v.RunDetail:
        found = await self.store.run(run_id)
        assert found is not None
        return found


def bench(function: Callable[..., Any], **options: Any) -> Bench:
    """A bench with one job."""
    return Bench({"job": job_of(function, **options)})


async def result_of(function: Callable[..., Any], text: bytes = b"{}", **options: Any) -> v.RunDetail:
    """Run a job to its end."""
    made = bench(function, **options)
    run = await made.start(text)
    await made.work()
    return await made.detail(run)
