"""Filling a store with years of deliveries in minutes: the store's own statements, many to a transaction.

Nine in ten deliveries start a run that has ended with one task kept, four in a hundred are rejected,
three ignored, three are redeliveries. Event ids are random UUIDs, as GitHub's are, and arrive one after
another TICK seconds apart. One run in RARE is of a job of its own.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from trigflow.core.ids import Ids
from trigflow.runtime import records as r
from trigflow.stores.sqlite import intake, runs
from trigflow.stores.sqlite.connection import connect
from trigflow.stores.sqlite.database import pack

if TYPE_CHECKING:
    from trigflow.stores.sqlite.connection import Connection

TICK = 0.5  # seconds
START = 1_700_000_000.0  # unix seconds of the first delivery
RARE = 100_000
RARE_JOB = "jobs:rare"
JOBS = 50
GROUP = 20_000  # deliveries in a transaction
CACHE_KB = 512_000
REMEMBERED = 2_000  # deliveries of any age that are looked up again
SUBSCRIPTION = "sub_0193f0c2a1b00001f3a9c2d4e1"
ENDPOINT = "end_0193f0c2a1b00001f3a9c2d4e1"
OWNER = "ins_0193f0c2a1b00001f3a9c2d4e1.1"
HEADERS = (
    b'[["content-type","application/json"],["user-agent","GitHub-Hookshot/044aadd"],["x-github-event","issues"],'
    b'["x-github-delivery","%s"],["x-hub-signature-256","[redacted]"],["x-github-hook-id","292430182"]]'
)


@attrs.define
class Sample:
    """Deliveries of any age, each as likely as any other."""

    random: random.Random
    seen: int = 0
    kept: list[r.NewDelivery] = attrs.field(factory=list[r.NewDelivery])

    def offer(self, new: r.NewDelivery) -> None:
        """Keep one of REMEMBERED, or not."""
        self.seen += 1
        if len(self.kept) < REMEMBERED:
            self.kept.append(new)
        elif (place := self.random.randrange(self.seen)) < REMEMBERED:
            self.kept[place] = new


@attrs.define(slots=False)
class Sender:
    """Makes deliveries; its clock goes on with each."""

    body_size: int
    random: random.Random = attrs.field(factory=lambda: random.Random(1))
    made: int = 0

    def __attrs_post_init__(self) -> None:
        self.ids = Ids(self.now, lambda size: b"\x01" * size)
        self.sample = Sample(random.Random(2))
        # As large when packed as asked for: noise does not pack.
        self.bodies = [self.random.randbytes(self.body_size) for _ in range(64)]

    def now(self) -> float:
        """Return the time of the next delivery, in unix seconds."""
        return START + self.made * TICK

    def at(self, deliveries: int) -> int:
        """Return when so many deliveries had been made, in unix milliseconds."""
        return int((START + deliveries * TICK) * 1000)

    def next(self, *, owner: str | None = OWNER, due_at: int | None = None) -> r.NewDelivery:
        """Make the delivery of an event that starts a run."""
        self.made += 1
        job = RARE_JOB if self.made % RARE == 1 else f"jobs:job_{self.made % JOBS}"
        now = int(self.now() * 1000)
        run = self.ids.new("run")
        enqueue = r.Enqueue(run, now if due_at is None else due_at, 0, owner)
        event_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        event = r.NewEvent(
            self.ids.new("evt"), event_id, "issues", None, None, None, (r.NewRun(run, job, now, (enqueue,)),)
        )
        new = self._new("accepted", event)
        self.sample.offer(new)
        return new

    def again(self, new: r.NewDelivery) -> r.NewDelivery:
        """Make a redelivery."""
        self.made += 1
        (event,) = new.events
        return self._new(
            "accepted", r.NewEvent(self.ids.new("evt"), event.event_id, "issues", None, None, None, ())
        )

    def noise(self, outcome: r.DeliveryOutcome) -> r.NewDelivery:
        """Make a delivery that starts nothing."""
        self.made += 1
        return self._new(outcome)

    def _new(self, outcome: r.DeliveryOutcome, *events: r.NewEvent) -> r.NewDelivery:
        headers = HEADERS % (events[0].event_id.encode() if events else b"")
        body = self.bodies[self.made % len(self.bodies)] if events else b""
        return r.NewDelivery(
            self.ids.new("dlv"), ENDPOINT, SUBSCRIPTION, int(self.now() * 1000), outcome, "", 200, "POST",
            headers, body, events=events,
        )  # fmt: skip

    def mixed(self, count: int) -> Iterator[r.NewDelivery]:
        """Make deliveries of all kinds."""
        for _ in range(count):
            die = self.made % 100
            if die < 4:
                yield self.noise("rejected")
            elif die < 7:
                yield self.noise("ignored")
            elif die < 10 and self.sample.kept:
                yield self.again(self.random.choice(self.sample.kept))
            else:
                yield self.next()


def finish_of(now: int) -> r.Finish:
    """Say how every run ends."""
    return r.Finish("succeeded", b'["bug"]', None, now, 1)


def fill(path: Path, sender: Sender, count: int) -> None:
    """Put deliveries, and runs that have ended, into a store that nobody has open."""
    with closing(connect(path)) as connection:
        connection.pragma("synchronous", "off")  # of many to a transaction, the sync is not what is measured
        connection.pragma("cache_size", -CACHE_KB)
        connection.pragma("wal_autocheckpoint", 50_000)
        for start in range(0, count, GROUP):
            connection.execute("BEGIN IMMEDIATE")
            for new in sender.mixed(min(GROUP, count - start)):
                _keep(connection, new)
            connection.execute("COMMIT")
        connection.pragma("wal_checkpoint", "truncate")


def _keep(connection: Connection, new: r.NewDelivery) -> None:
    intake._accept(connection, new, pack(new.body))  # pyright: ignore[reportPrivateUsage]
    for event in new.events:
        for run in event.runs:
            row = (
                run.id,
                "/label",
                "succeeded",
                1,
                b'["bug"]',
                None,
                run.due_at,
                run.due_at,
                None,
                run.id,
                0,
            )
            connection.execute(runs._TASK, row)  # pyright: ignore[reportPrivateUsage]
            connection.execute("DELETE FROM queue WHERE run_id = ? AND fence = ?", (run.id, 0))
            end = finish_of(run.due_at)
            runs._insert_finish(connection, run.id, end)  # pyright: ignore[reportPrivateUsage]
