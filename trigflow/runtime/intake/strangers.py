"""Deliveries that came before their account was known, taken once it is.

    verified, account unknown ─> kept whole, waits ─┬─ account gets a subscription ─> handler, match,
                                                    │      dedupe, runs: one transaction, waits no more
                                                    └─ WAITS is over ─> stays `ignored: unknown-account`

Whether an account is known is asked of the store's rows, not heard: another process, or a
person, may have connected it. A look asks once for each account that is waited for, however
many deliveries wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import anyio
import msgspec

from trigflow.core.errors import Rejected, StoreError
from trigflow.core.http import Request
from trigflow.runtime import records as r, views as v
from trigflow.runtime.boundary import Raised, attempt
from trigflow.runtime.intake.audience import Audience
from trigflow.runtime.intake.receive import Receiver, Understood
from trigflow.runtime.intake.replay import PublicUrl, request_of
from trigflow.runtime.intake.routes import AnySource, Route, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.sealing.sealed import Sealer

logger: logging.Logger = logging.getLogger("trigflow.deliveries")
WAITS = timedelta(days=3)  # as long as GitHub sends again on demand, and most senders by themselves
EVERY = timedelta(seconds=10)  # between two looks: an account may become known in another process
SWEEP = timedelta(hours=1)  # between two times that what has waited too long is looked for
ACCOUNTS = 500  # that are looked at in one read
DELIVERIES = 100  # names that are read at once
FIRST = ("", "")


class Strangers:
    """Takes what waited; for one open app."""

    def __init__(
        self,
        store: Store,
        sources: Mapping[str, AnySource],
        routes: Routes,
        receiver: Receiver,
        audience: Audience,
        sealer: Sealer,
        clock: Clock,
        public_url: PublicUrl,
    ) -> None:
        """Work with the parts of one open app."""
        self._store, self._sources, self._routes, self._receiver = store, sources, routes, receiver
        self._audience, self._sealer, self._clock, self._public_url = audience, sealer, clock, public_url
        self._due = anyio.Event()
        self._swept_at = -SWEEP.total_seconds()

    def look(self) -> None:
        """Hear that an account may be known now."""
        self._due.set()

    async def keep_up(self) -> None:
        """Look until cancelled."""
        if not any(source.account is not None for source in self._sources.values()):
            await anyio.sleep_forever()
        while True:
            self._due = anyio.Event()
            try:
                await self.take()
            except StoreError as error:
                logger.warning("what waits for its account could not be taken now: %s", error)
            await self._clock.wait(self._due, until=self._clock.now() + EVERY.total_seconds())

    async def take(self) -> int:
        """Take all that waits for an account that is known now; return how many deliveries it were.

        What raises for a reason of its own is told and waits on. Raises StoreError where
        nothing can be kept now: what was taken before is kept.
        """
        await self._sweep()
        taken, after = 0, FIRST
        while True:
            found = await self._store.waited_for(after=after, limit=ACCOUNTS)
            for address in found.known:
                taken += await self._take_all(address)
            if found.after is None:
                return taken
            after = found.after

    async def _sweep(self) -> None:
        now = self._clock.now()
        if 0 <= now - self._swept_at < SWEEP.total_seconds():
            return
        before = int((now - WAITS.total_seconds()) * 1000)
        while await self._store.stop_waiting_before(before, limit=DELIVERIES) == DELIVERIES:
            pass
        self._swept_at = now

    async def _take_all(self, address: tuple[str, str]) -> int:
        """Take what waits for one account, in the order in which it came."""
        route = await self._route(address[0])
        if route is None:
            return 0
        # What was remembered may be from before the account was known.
        self._routes.forget(route.endpoint.token)
        taken, after = 0, ""
        while names := await self._store.waiting(address, after=after, limit=DELIVERIES):
            for name in names:
                taken += await self._take(route, address, name)
            after = names[-1]
        if taken:
            logger.info("%d deliveries of %s were taken that had waited", taken, route.source.id)
        return taken

    async def _route(self, endpoint_id: str) -> Route | None:
        """Return where it came in; None where that is gone, or where another app's source sends."""
        token = await self._store.token_of(endpoint_id)
        return None if token is None else await self._routes.find(token)

    async def _take(self, route: Route, address: tuple[str, str], name: str) -> bool:
        found = await self._store.delivery(name)
        if found is None or found[1] is None or self._is_over(found[0]):
            await self._store.stop_waiting(address, name)
            return False
        row, body = found[0], found[1]
        # Read each time: what a delivery says of its subscription counts for the next one.
        subscriptions = (await self._store.receiving([address])).get(address, ())
        opened = attempt(lambda: self._sealer.text(body, sealed=row.sealed))
        if isinstance(opened, Raised):
            logger.error("delivery %s waits on: it can't be opened: %s", name, opened.error)
            return False
        if not subscriptions:
            return False
        request = request_of(row, opened.value, self._public_url)
        return await self._adopt(route, address[1], row, request, subscriptions)

    def _is_over(self, row: v.DeliveryRow) -> bool:
        return row.received_at / 1000 + WAITS.total_seconds() < self._clock.now()

    async def _adopt(
        self,
        route: Route,
        account: str,
        row: v.DeliveryRow,
        request: Request,
        subscriptions: Sequence[r.Subscription],
    ) -> bool:
        behind = await self._audience.of(subscriptions)
        now = row.received_at / 1000

        def read() -> Understood:
            return self._receiver.read(route, request, subscriptions, now, behind=behind, key=row.key_serial)

        understood = _understood(read, route, row)
        new, text = understood.new, understood.text

        def start(accepted: r.Accepted) -> None:
            self._receiver.start(new, accepted, text)

        if await self._store.adopt(account, new, start) is None:
            return False
        await self._receiver.follow(understood)
        return True


def _understood(read: Callable[[], Understood], route: Route, row: v.DeliveryRow) -> Understood:
    """Read a kept delivery; one that can't be read any more has failed, and stays replayable."""
    try:
        understood = read()
    except Rejected as rejected:
        failed = r.NewDelivery(
            row.id, row.endpoint_id, None, row.received_at, "failed", rejected.cause, row.status, row.method,
            row.headers, b"",
        )  # fmt: skip
        return Understood(route, failed, b"", route.source.answer, ())
    return msgspec.structs.replace(understood, new=_as_kept(understood.new, row))


def _as_kept(new: r.NewDelivery, row: v.DeliveryRow) -> r.NewDelivery:
    """Return what was read as what the kept delivery says; its events keep the names of their own."""
    events = tuple(
        # Where the payload is the kept body, it is sealed as that is.
        msgspec.structs.replace(one, sealed=row.sealed) if one.payload is None else one
        for one in new.events
    )
    return msgspec.structs.replace(new, id=row.id, events=events)
