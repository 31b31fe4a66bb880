"""After nobody listened: reading the logs of all providers that have one.

    served here ─ nobody took deliveries for long ─> row "nobody listened" ─> each subscription, paced
                                                                └─ done ─> a row that closes it

Only who serves the intake ends an outage: a process that works, and takes no deliveries, does not.
The row is written before anything is read, so that a stop in the middle is continued by
the next start, or by another process. One process does it at a time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import anyio
import attrs
import msgspec

from trigflow.core.asked import no_more_asked
from trigflow.core.coverage import Reading, open_since
from trigflow.core.ids import Ids
from trigflow.runtime import records as r
from trigflow.runtime.connections.quiet import Quiets
from trigflow.runtime.intake.recover import EVERYONE, MARGIN, Recoverer
from trigflow.runtime.ports import Clock, Store

LEAST_GAP = 60_000  # milliseconds in which nobody took deliveries that count as an outage
AWAY = "nobody listened"
LOOK = 60.0  # seconds until it is looked again whether something is left to read
CLAIM = 900.0  # seconds in which no other process begins the same; reading twice would do no harm
AT_A_TIME = 4  # logs that are read through one connection
LANES = 8  # connections that are read through at a time, each at its own pace
PACE = 0.2  # seconds between two subscriptions of one connection, on average
PAGE = 100


class Found(msgspec.Struct, frozen=True):
    """What came of reading all logs after an outage."""

    subscriptions: int = 0
    recovered: int = 0
    lost: int = 0
    errors: int = 0


class _Total:
    """Sums up."""

    def __init__(self) -> None:
        self.found = Found()

    def add(self, row: r.Recovery) -> None:
        """Add what came of one subscription."""
        was = self.found
        self.found = Found(
            was.subscriptions + 1,
            was.recovered + row.recovered,
            was.lost + row.lost,
            was.errors + bool(row.error),
        )


class Outages:
    """Notices that nobody listened, and has the logs read."""

    def __init__(
        self, recoverer: Recoverer, store: Store, clock: Clock, ids: Ids, chance: Callable[[], float]
    ) -> None:
        """Work with the parts of one open app; `chance` jitters the pace."""
        self._recoverer, self._store, self._clock, self._ids = recoverer, store, clock, ids
        self._chance = chance
        self._quiets = Quiets(store, clock, chance)
        self._asked: set[str] = set()  # subscriptions whose log is to be read, or is being read
        self._to_begin: list[tuple[r.Endpoint, str]] = []
        self._wake: anyio.Event | None = None  # where somebody reads
        self._opened_at = self._ms()
        self._serves = False
        self._served = anyio.Event()
        self.listens: bool = False  # and says so with each beat

    def serve(self) -> None:
        """Hear that deliveries come to this process; an outage ends with that."""
        if not self._serves:
            self._serves = True
            self._served.set()

    async def begin_listening(self) -> None:
        """Keep that somebody listens, and that nobody did where the last one left long ago.

        It has listened since it was opened: who is mounted hears of that with the first request.
        """
        before, at = await self._store.listened(), self._opened_at
        if before is None or at - before.until > LEAST_GAP:
            if before is not None:
                until = before.until
                away = r.Recovery(self._ids.new("rec"), EVERYONE, until, until, 0, 0, 0, AWAY, at)
                await self._store.log_recovery(away)
            await self._store.begin_listening(at=at)
        self.listens = True

    async def keep_up(self) -> None:
        """Read what is left to read, and what is asked for, until cancelled."""
        try:
            async with anyio.create_task_group() as group:
                self._wake = anyio.Event()
                group.start_soon(self._keep_reading_asked)
                while True:
                    self._served = anyio.Event()
                    if self._serves and not self.listens:
                        await self.begin_listening()
                    await self.read_left()
                    await self._clock.wait(self._served, until=self._clock.now() + LOOK)
        finally:
            self._wake = None
            self._asked.clear()
            self._to_begin.clear()  # each is asked for until it is read: the next look tells of it again

    async def read_asked(self, endpoint: r.Endpoint, subscription: str) -> None:
        """Read one log that was asked for: now, or in the background, where that goes on.

        A log may have hours of content, and whoever asks holds a claim for minutes.
        """
        if self._wake is None:
            await self._read_asked(endpoint, subscription)
        elif subscription not in self._asked:
            self._asked.add(subscription)
            self._to_begin.append((endpoint, subscription))
            self._wake.set()

    async def _keep_reading_asked(self) -> None:
        room = anyio.Semaphore(AT_A_TIME)

        async def read(endpoint: r.Endpoint, subscription: str) -> None:
            async with room:
                try:
                    await self._read_asked(endpoint, subscription)
                finally:
                    self._asked.discard(subscription)

        async with anyio.create_task_group() as group:
            while True:
                self._wake = anyio.Event()
                while self._to_begin:
                    group.start_soon(read, *self._to_begin.pop(0))
                await self._wake.wait()

    async def _read_asked(self, endpoint: r.Endpoint, subscription: str) -> None:
        """Read a log; that it was asked for is kept until then, and longer if it is asked for meanwhile."""
        s = await self._store.subscription(subscription)
        if s is None:
            return
        read = await self._recoverer.recover(endpoint, s)
        if not read.error:
            asked = no_more_asked(s.asked, "recover")
            cause = "" if s.state == "active" else s.cause
            await self._store.save_subscription(attrs.evolve(s, asked=asked, cause=cause), was=s)

    async def read_left(self) -> Found | None:
        """Read all logs if an outage is not dealt with yet and no other process does it."""
        rows = [
            Reading(row.since, row.until, row.at, error=row.error)
            for row in reversed(await self._store.recoveries(EVERYONE))
        ]
        since = open_since(rows)
        if since is None:
            return None
        now = self._ms()
        claimed = await self._store.claim_chore("recover", now=now, until=now + int(CLAIM * 1000))
        if not claimed:
            return None
        up_at = max(row.at for row in rows)
        found = await self.after_outage(since, up_at)
        done = r.Recovery(
            self._ids.new("rec"), EVERYONE, since, up_at, 0, found.recovered, found.lost, "", up_at
        )
        await self._store.log_recovery(done)
        now = self._ms()
        await self._store.claim_chore(
            "recover", now=now, until=now
        )  # given back: the next outage may be soon
        return found

    async def after_outage(self, last_beat: int, up_at: int) -> Found:
        """Read the logs of all subscriptions that have one; `up_at` is since when somebody listens again."""
        lanes, total, after = anyio.Semaphore(LANES), _Total(), ""

        async def read(connection: str) -> None:
            try:
                await self._read_through(connection, last_beat, up_at, total)
            finally:
                lanes.release()

        async with anyio.create_task_group() as group:
            while some := await self._store.refs_in_use(after=after, limit=PAGE):
                after = some[-1]
                for connection in some:
                    await lanes.acquire()
                    group.start_soon(read, connection)
        return total.found

    async def _read_through(self, connection: str, last_beat: int, up_at: int, total: _Total) -> None:
        """Read the logs of all that go through one connection, at its own pace."""
        room = anyio.Semaphore(AT_A_TIME)

        async def read(endpoint: r.Endpoint, s: r.Subscription, since: int) -> None:
            async with room:
                row = await self._recoverer.recover(endpoint, s, _moment(since))
                if row.error and await self._quiets.of(connection) is not None:
                    await self._until_not_quiet(connection)
                    row = await self._recoverer.recover(endpoint, s, _moment(since))
                total.add(row)

        found = self._to_read(connection, last_beat, up_at)
        async with anyio.create_task_group() as group, aclosing(found) as some:
            async for endpoint, s, since in some:
                async with room:  # so that no more are begun than can be read
                    await self._until_not_quiet(connection)
                    group.start_soon(read, endpoint, s, since)
                await self._pause()

    async def _until_not_quiet(self, connection: str) -> None:
        while (quiet := await self._quiets.of(connection)) is not None:
            await self._clock.wait(anyio.Event(), until=quiet.until / 1000)

    async def _to_read(
        self, connection: str, last_beat: int, up_at: int
    ) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription, int], None]:
        """Yield what has a log and was there before the outage ended, with the moment to read from."""
        after, which = "", r.Which(connection=connection)
        while page := await self._store.page(after=after, limit=PAGE, which=which):
            after = max(s.id for endpoint in page for s in endpoint.subscriptions)
            for endpoint in page:
                for s in endpoint.subscriptions:
                    if s.created_at >= up_at or not self._recoverer.can(s):
                        continue
                    if await self._recoverer.read_until(s) >= up_at:
                        continue  # by the process that did not come to its end
                    left = await self._recoverer.left(s)
                    since = last_beat - MARGIN if left is None else min(left, last_beat - MARGIN)
                    yield endpoint, s, max(since, 0)

    async def _pause(self) -> None:
        wait = PACE * (0.5 + self._chance())
        await self._clock.wait(anyio.Event(), until=self._clock.now() + wait)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
