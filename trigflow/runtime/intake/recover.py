"""What a provider's own log has that never arrived, taken like a delivery.

    since ─> recover hook ─> Missed ─ same handler, match, dedupe, commit ─> recovered | known
                 │              Lost ──────────────────────────────────────> lost
                 └─ row "begun" first, row "complete" last: a stop in between is continued

Only a reading that came to its end moves what is certain: some providers tell the newest
first. What could not be taken is read again, for a day. Everything streams: what is
held is one page of the provider's and one item.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from trigflow.core.coverage import Reading, Stretch, coverage, open_since
from trigflow.core.http import Request
from trigflow.core.ids import Ids
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt, attempt_async
from trigflow.runtime.connections.quiet import Quiets
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.sealing.discreet import Scrubber, knowing, log_failure, problem_of
from trigflow.sources.credentials import Credentials
from trigflow.sources.keys import Key
from trigflow.sources.registration import Events, Lost, Missed, Registration

logger: logging.Logger = logging.getLogger("trigflow.recovery")
MARGIN = 300_000  # milliseconds before: what was under way then, and clocks that differ
REMEMBERED = 20_000  # requests of logs that this process took; 2 MB or so
AGAIN_FOR = 86_400_000  # milliseconds for which what could not be taken is read again
BEGUN = "it was begun and did not come to its end"
KEPT = 100  # readings that a store returns, the newest
EVERYONE = "*"  # whose stretches are those of all: nobody was there
Taken = Literal["recovered", "known", "failed"]


class Taking(Protocol):
    """The path of a delivery, for what did not come by itself."""

    async def take_recovered(self, token: str, request: Request, at: float) -> Taken:
        """Take it unless its events are known; `at`: when it was first sent (unix seconds)."""
        ...


class Calling(Protocol):
    """Whoever has clients."""

    async def get(self, connection: str, /) -> Any:
        """Return the client of a connection."""
        ...

    def credentials(self, connection: str, /) -> Credentials | None:
        """Return a connection's credentials, if there are any."""
        ...


class Telling(Protocol):
    """Whoever tells people what is wrong."""

    async def raise_(self, subject: str, cause: str, action: str, about: str = "") -> None:
        """Tell it, once."""
        ...

    async def clear(self, subject: str) -> None:
        """Say that it is over."""
        ...


class _Count:
    """What came of a reading so far; `told` are the readings of before that came to their end."""

    def __init__(self, told: Sequence[Reading]) -> None:
        self.told = [one for one in told if one.is_complete]
        self.recovered = self.lost = self.failed = 0
        self.earliest_failed: int | None = None

    def lose(self, at: int) -> None:
        """Count something lost, unless a reading of before has told of it."""
        self.lost += not any(one.since <= at < one.until for one in self.told)

    def problem(self) -> str:
        """Say what could not be taken."""
        if not self.failed:
            return ""
        return f"{self.failed} could not be taken: not readable, or their handler raises; the log tells more"


class Recoverer:
    """Reads providers' logs for one open app."""

    def __init__(
        self,
        store: Store,
        sources: Mapping[str, AnySource],
        clients: Calling,
        receiver: Taking,
        clock: Clock,
        ids: Ids,
        *,
        keys_of: Callable[[r.Endpoint], Sequence[Key]],
        url_of: Callable[[r.Endpoint], str],
        mark: str,
        alerts: Telling | None = None,
    ) -> None:
        """Work with the parts of one open app. keys_of: opens an endpoint's keys."""
        self._alerts = alerts
        self._store, self._sources, self._clients, self._receiver = store, sources, clients, receiver
        self._clock, self._ids, self._mark = clock, ids, mark
        self._keys_of, self._url_of = keys_of, url_of
        self._quiets = Quiets(store, clock, lambda: 0.5)
        self._taken: dict[bytes, None] = {}  # oldest first

    def can(self, subscription: r.Subscription) -> bool:
        """Tell whether its provider has a log that can be read."""
        source = self._sources.get(subscription.source)
        return (
            source is not None
            and source.recover_hook is not None
            and subscription.state not in r.TAKES_NOTHING
        )

    async def recover(
        self,
        endpoint: r.Endpoint,
        subscription: r.Subscription,
        since: datetime | None = None,
        *,
        keep: bool = True,
    ) -> r.Recovery:
        """Read a provider's log since a moment (aware) and take what never arrived.

        since: None goes on where the last complete reading ended.
        keep: False keeps a row only where something was recovered, lost or wrong.
        An error of the provider, or of one item, is told in the result and raises nothing;
        a store that can't be used raises StoreError, and the reading is begun anew later.
        """
        begun = self._ms()
        readings = await self._readings(subscription.id)
        start = _since(readings, subscription) if since is None else int(since.timestamp() * 1000)
        start = max(min(start, begun), 0)
        if keep:
            await self._store.log_recovery(self._row(subscription, start, start, begun, error=BEGUN))
        # Before anything is taken: what was recovered is kept with the time at which it was first sent.
        received = await self._store.received(subscription.id, since=start, until=begun)
        count = _Count(readings)

        def scrub(text: str) -> str:
            return self._scrubber(endpoint, subscription)(
                text
            )  # made late: credentials may be loaded meanwhile

        read = await attempt_async(lambda: self._read(endpoint, subscription, start, count, scrub))
        error = problem_of(read.error, scrub) if isinstance(read, Raised) else ""
        if isinstance(read, Raised):
            await self._quiets.begin_if_asked(subscription.connection, read.error)
            log_failure(
                logger, "the log of %s (%s) could not be read whole", subscription.source, subscription.id,
                error=read.error, scrub=scrub,
            )  # fmt: skip
        until = start if error else _certain(count, start, begun)
        row = msgspec.structs.replace(
            self._row(subscription, start, until, begun, error=error or count.problem()),
            received=received,
            recovered=count.recovered,
            lost=count.lost,
        )
        if keep or row.error or row.recovered or row.lost:
            await self._store.log_recovery(row)
            await self._tell(subscription, row)
        return row

    async def _tell(self, s: r.Subscription, row: r.Recovery) -> None:
        if self._alerts is None:
            return
        subject = f"recovery of {s.id}"
        if row.lost:
            action = f"`trigflow subscriptions show {s.id}` tells when; fetch what you need at the provider"
            cause = "events were sent while nobody listened, and the provider's log has no content of them"
            await self._alerts.raise_(subject, cause, action, f"{s.source} {s.key}")
        elif not row.error:
            await self._alerts.clear(subject)

    async def _read(
        self, endpoint: r.Endpoint, s: r.Subscription, start: int, count: _Count, scrub: Scrubber
    ) -> None:
        source = self._sources[s.source]
        assert source.recover_hook is not None  # noqa: S101 - asked by the caller
        client = await self._clients.get(s.connection)
        reg = self._registration(source, endpoint, s)
        found = source.recover_hook(reg, datetime.fromtimestamp(start / 1000, UTC), client)
        try:
            async for item in found:
                await self._take(endpoint, item, count, scrub)
        finally:
            close = getattr(found, "aclose", None)
            if close is not None:
                await close()

    async def _take(self, endpoint: r.Endpoint, item: Missed | Lost, count: _Count, scrub: Scrubber) -> None:
        if isinstance(item, Lost):
            count.lose(int(item.at.timestamp() * 1000))
            logger.warning("lost at %s, sent %s: %s", endpoint.source, item.at, scrub(item.because))
            return
        request = Request("POST", self._url_of(endpoint), item.headers, item.body)
        mark = _mark_of(endpoint.token, request)
        if mark in self._taken:  # a log that is read every few seconds would fill ours with duplicates
            return
        taken = await self._receiver.take_recovered(endpoint.token, request, item.at.timestamp())
        if taken == "recovered":
            count.recovered += 1
        elif taken == "failed":
            at = int(item.at.timestamp() * 1000)
            count.failed += 1
            count.earliest_failed = min(at, count.earliest_failed or at)
        if taken != "failed":
            self._remember(mark)

    def _remember(self, mark: bytes) -> None:
        self._taken[mark] = None
        if len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]

    def _registration(
        self, source: AnySource, endpoint: r.Endpoint, s: r.Subscription
    ) -> Registration[Any, Any]:
        keys = self._keys_of(endpoint)
        return Registration(
            self._url_of(endpoint), source.load_params(s.params), Events(s.registered, s.registered),
            keys[0].secret.decode() if keys else "", source.load_data(s.data), self._mark,
        )  # fmt: skip

    def _scrubber(self, endpoint: r.Endpoint, s: r.Subscription) -> Scrubber:
        """Return what takes out of errors what the provider was called with."""
        keys = attempt(lambda: self._keys_of(endpoint))
        known = (
            [] if isinstance(keys, Raised) else [one.secret.decode(errors="replace") for one in keys.value]
        )
        credentials = self._clients.credentials(s.connection)
        return knowing([*known, *(credentials.values() if credentials else ()), endpoint.token])

    # --- what is known

    async def left(self, subscription: r.Subscription) -> int | None:
        """Return from where on a reading that did not come to its end must go on (unix ms)."""
        return open_since(await self._readings(subscription.id))

    async def read_until(self, subscription: r.Subscription) -> int:
        """Return until when everything is known of what was sent (unix ms); 0 where nothing was read."""
        done = [one.until for one in await self._readings(subscription.id) if one.is_complete]
        return max(done, default=0)

    async def coverage(self, subscription: r.Subscription) -> Sequence[Stretch]:
        """Return what is known to have come since it was registered, as far as kept; the oldest first."""
        away = [one for one in await self._readings(EVERYONE) if not one.is_complete]
        own = await self._readings(subscription.id)
        # Of what is older than the readings that are kept, nothing is claimed.
        since = subscription.created_at if len(own) < KEPT else max(own[0].since, subscription.created_at)
        return coverage([*away, *own], since=since, until=self._ms())

    async def _readings(self, subscription_id: str) -> Sequence[Reading]:
        rows = await self._store.recoveries(subscription_id)
        return [
            Reading(row.since, row.until, row.at, row.received, row.recovered, row.lost, row.error)
            for row in reversed(rows)
        ]

    def _row(self, s: r.Subscription, since: int, until: int, at: int, *, error: str) -> r.Recovery:
        return r.Recovery(self._ids.new("rec"), s.id, since, until, 0, 0, 0, error, at)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def _certain(count: _Count, start: int, begun: int) -> int:
    """Return until when all that was sent is here or lost, after a reading that came to its end."""
    if count.earliest_failed is None or count.earliest_failed < begun - AGAIN_FOR:
        return begun
    return max(start, count.earliest_failed)


def _since(readings: Sequence[Reading], s: r.Subscription) -> int:
    """Return from where on a provider's log is to be read (unix ms)."""
    left = open_since(readings)
    if left is not None:
        return left  # the margin is in it
    last = [one.until for one in readings] + ([] if s.last_at is None else [s.last_at])
    return max(last) - MARGIN if last else s.created_at


def _mark_of(token: str, request: Request) -> bytes:
    """Return what a request of a log is known by: where it goes, its header fields and its body."""
    told = msgspec.json.encode([token, [[name, value] for name, value in request.headers]])
    return hashlib.sha256(told + b"\0" + request.body).digest()
