"""Subscribing at run time: who wants which events of which account, kept before a provider is called.

    subscribe ──> subscriber, endpoint, key, subscription: one commit ──> looked at at once ──> registered
    unsubscribe ──> forgotten ──> looked at: the last one's webhook is removed, others' events stay

Several subscribers, and the triggers in code, share one webhook with the union of their events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import anyio
import attrs

from trigflow.core.dynamic import Dynamic, Wish, is_wish
from trigflow.core.errors import LimitReached, PayloadError, RegistrationError, SetupError
from trigflow.core.filters import compile_filter
from trigflow.core.jobs import Job
from trigflow.core.payloads import decode_json_text, encode_json
from trigflow.core.silence import check_expected
from trigflow.core.triggers import Trigger
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt
from trigflow.runtime.connections.clients import Clients
from trigflow.runtime.intake.audience import Audience
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.collect import connection_of, dynamics_of
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.rows import Rows

LONGEST_KEY = 200  # characters
MOST_METADATA = 16_384  # bytes of JSON; a copy is kept with each event
WAIT = 60.0  # seconds that a provider may take where the caller waits for it
AGAIN = 0.1  # seconds between two looks at what another process is registering


@attrs.frozen
class Subscribed:
    """One who subscribed at run time, as kept. created_at: unix milliseconds.

    state, cause: of the subscription that its events come from, such as "active" or "failing".
    """

    dynamic: str
    key: str
    connection: str
    params: Any
    events: tuple[str, ...]
    metadata: Any
    created_at: int
    state: r.SubscriptionState
    cause: str


class Subscribing:
    """Takes and ends the subscriptions of an open app's users."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        sources: Mapping[str, AnySource],
        store: Store,
        rows: Rows,
        reconciler: Reconciler,
        clients: Clients,
        routes: Routes,
        audience: Audience,
        clock: Clock,
        *,
        limit: int,
        signal: Callable[[], object],
    ) -> None:
        """Work for one open app. limit: subscribers of one connection; 0: any number.

        signal: hears that something is to be registered.
        """
        self._dynamics, self._sources = dynamics_of(jobs), sources
        self._store, self._rows, self._reconciler = store, rows, reconciler
        self._clients, self._routes, self._audience, self._clock = clients, routes, audience, clock
        self._limit, self._signal = limit, signal

    async def subscribe(
        self,
        wish: Wish[object],
        *,
        key: str,
        connection: str | None,
        metadata: object,
        expect_every: timedelta | None,
        wait: bool,
    ) -> None:
        """Keep a subscriber, in place of one of the same key; see `App.subscribe`."""
        self._check_known(wish)
        trigger = wish.trigger
        ref = await self._held(trigger, connection)
        want = r.Want(
            trigger.source.id, _key_of(wish), ref, encode_json(trigger.params),
            tuple(sorted(trigger.specification.registers)),
        )  # fmt: skip
        new = r.Subscriber(
            wish.dynamic, _checked_key(key), *want.identity, want.params, want.events,
            _metadata(metadata, key), int(self._clock.now() * 1000), _filter(wish),
            _milliseconds(expect_every),
        )  # fmt: skip
        before = await self._store.subscriber(new.dynamic, new.key)
        is_shared = self._sources[want.source].is_shared(trigger.params)
        endpoint, subscription = self._rows.row_of(want, await self._account(ref) if is_shared else "")
        if not await self._store.subscribe(new, endpoint, subscription, most=self._limit):
            raise LimitReached(ref, self._limit)
        await self._changed(new, *([before] if before is not None else []))
        if wait:
            await self._registered(want)

    async def unsubscribe(self, dynamic: Dynamic[..., object] | str, *, key: str) -> bool:
        """Forget a subscriber; False where there is none."""
        gone = await self._store.unsubscribe(_id_of(dynamic), key)
        if gone is not None:
            await self._changed(gone)
        return gone is not None

    async def subscribers(
        self, dynamic: Dynamic[..., object] | str, *, after: str, limit: int
    ) -> Sequence[Subscribed]:
        """Return those of one dynamic trigger by key, after one of them."""
        rows = await self._store.subscribers(_id_of(dynamic), after=after, limit=limit)
        endpoints = await self._store.endpoints_for({one.identity for one in rows})
        behind = {s.identity: s for endpoint in endpoints.values() for s in endpoint.subscriptions}
        return [_subscribed(one, behind.get(one.identity)) for one in rows]

    # --- what is refused

    def _check_known(self, wish: object) -> None:
        if not is_wish(wish):
            raise SetupError(
                f"{wish!r:.100} can't be subscribed to; call a dynamic trigger with the params of its event, "
                'such as repos(repo="u/r")'
            )
        known = self._dynamics.get(wish.dynamic)
        if known is None or known.trigger.specification is not wish.trigger.specification:
            raise SetupError(
                f"no job of this app listens to the dynamic trigger {wish.dynamic!r}: nothing would come of "
                f"its events; decorate one with @trigger(...)"
            )

    async def _held(self, trigger: Trigger[object], connection: str | None) -> str:
        """Return the ref of a connection that there is; without one named, that of the trigger."""
        own = connection_of(trigger)
        if connection is None:
            return own
        integration = own.partition("/")[0]
        is_text = isinstance(connection, str)  # pyright: ignore[reportUnnecessaryIsInstance] - a user's
        if not is_text or connection.partition("/")[0] != integration:
            raise SetupError(
                f"connection {connection!r} is not one of {integration}; "
                f'use a ref such as "{integration}/name", as `trigflow connections list` shows them'
            )
        await self._clients.load([connection])
        if self._clients.credentials(connection) is None and await self._store.connection(connection) is None:
            raise SetupError(f"connection {connection!r} has {self._clients.missing(connection)}")
        return connection

    async def _account(self, ref: str) -> str:
        """Return whose deliveries at an endpoint for all accounts a connection takes."""
        found = await self._store.connection(ref)
        return "" if found is None or found.account is None else found.account

    # --- once it is committed

    async def _changed(self, *subscribers: r.Subscriber) -> None:
        """Have what has changed looked at, and read anew by the next delivery here."""
        for one in subscribers:
            self._audience.forget(one.identity)
            if self._shares(one):
                for endpoint in (await self._store.endpoints_for([one.identity])).values():
                    self._routes.forget(endpoint.token)  # the account may be new there
        self._signal()

    def _shares(self, one: r.Subscriber) -> bool:
        source = self._sources.get(one.source)
        return source is not None and source.is_shared(source.load_params(one.params))

    async def _registered(self, want: r.Want) -> None:
        """Return once the provider has it; RegistrationError with the cause where it can't be had."""
        what, until = " ".join(want.identity), self._clock.now() + WAIT
        while True:
            applied = await self._reconciler.look(want.identity)
            cause = next((one.error for one in applied if one.error), "")
            if cause:
                raise RegistrationError(
                    f"{what} is kept, and not registered yet: {cause}; it is tried again, "
                    "`trigflow subscriptions show` tells of it"
                )
            if await self._is_registered(want):
                return
            if self._clock.now() >= until:
                raise RegistrationError(
                    f"{what} is kept, but was not registered in {WAIT:.0f} s; it is tried again"
                )
            await self._clock.wait(anyio.Event(), until=self._clock.now() + AGAIN)

    async def _is_registered(self, want: r.Want) -> bool:
        return any(
            s.state in ("active", "silent")
            and (s.coverage != "events" or bool(s.account) or set(want.events) <= set(s.registered))
            for endpoint in (await self._store.endpoints_for([want.identity])).values()
            for s in endpoint.subscriptions
        )


def _id_of(dynamic: Dynamic[..., object] | str) -> str:
    return dynamic if isinstance(dynamic, str) else dynamic.id


def _key_of(wish: Wish[object]) -> str:
    try:
        return wish.trigger.source.key_of(wish.trigger.params)
    except SetupError as error:
        raise SetupError(f"dynamic {wish.dynamic!r}, {wish.trigger.name}: {error}") from error


def _is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable()


def _checked_key(key: str) -> str:
    if not _is_key(key):
        raise SetupError(
            f"key {key!r:.40}: use text of 1 to {LONGEST_KEY} printable characters, such as your user's id"
        )
    return key


def _metadata(value: object, key: str) -> bytes:
    encoded = attempt(lambda: encode_json(value))
    if isinstance(encoded, Raised):
        raise SetupError(f"metadata of {key!r} is not JSON: {encoded.error}") from encoded.error
    if len(encoded.value) > MOST_METADATA:
        raise SetupError(
            f"metadata of {key!r} has {len(encoded.value)} bytes of JSON, more than {MOST_METADATA}; "
            "keep it in your own database, under the key"
        )
    return encoded.value


def _filter(wish: Wish[object]) -> bytes | None:
    """Return what a subscriber's params narrow, checked."""
    written = wish.trigger.filter
    if not written:
        return None
    compile_filter(written, where=f"dynamic {wish.dynamic}, {wish.trigger.name}, filter")
    return encode_json(written)


def _milliseconds(expect_every: timedelta | None) -> int | None:
    """Return the time in which something must come, checked as that of a job."""
    if expect_every is None:
        return None
    check_expected(expect_every)
    return int(expect_every.total_seconds() * 1000)


def _subscribed(one: r.Subscriber, s: r.Subscription | None) -> Subscribed:
    try:
        params, metadata = decode_json_text(one.params), decode_json_text(one.metadata)
    except PayloadError:
        params = metadata = None  # damaged; `trigflow db check` tells of it
    return Subscribed(
        one.dynamic, one.key, one.connection, params, one.events, metadata, one.created_at,
        "pending" if s is None else s.state, "" if s is None else s.cause,
    )  # fmt: skip
