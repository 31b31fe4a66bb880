"""An open app: the parts of one process, put together and taken apart.

opening ──> open ──> draining ──> closed
              └── a part fails for good: deliveries are answered 503 until it works again
"""

from __future__ import annotations

import os
import secrets
from base64 import b32encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import anyio

from trigflow.core.alerts import AlertSink
from trigflow.core.errors import StoreError, StoreUnavailable
from trigflow.core.http import Headers, Request, Response
from trigflow.core.ids import Ids
from trigflow.core.jobs import Job
from trigflow.core.settings import Settings
from trigflow.engines.embedded import LEAVE, EmbeddedEngine
from trigflow.runtime import records as r
from trigflow.runtime.activity import Activities
from trigflow.runtime.audience import Audience
from trigflow.runtime.choosing import Choosing
from trigflow.runtime.clients import Clients
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.collect import (
    client_owners,
    identity_of,
    installed,
    integrations_of,
    sources_of,
    wants_of,
)
from trigflow.runtime.connections import Connections
from trigflow.runtime.consent import Consents
from trigflow.runtime.decide import Matching, events_by_topic
from trigflow.runtime.discovery import Discovery
from trigflow.runtime.execute import Executor, Handover
from trigflow.runtime.forks import FORKED, refuse_in_children
from trigflow.runtime.keyring import kept_keys, secret_keys
from trigflow.runtime.known import Known
from trigflow.runtime.limits import Rates, Room
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.receive import NOT_FOUND, UNAVAILABLE, Receiver
from trigflow.runtime.reconcile import Reconciler
from trigflow.runtime.removal import remove_through
from trigflow.runtime.replay import Replayer, kept_delivery
from trigflow.runtime.retention import Retention
from trigflow.runtime.routes import AnySource, Routes
from trigflow.runtime.rows import Rows
from trigflow.runtime.sealed import Marks, Sealer
from trigflow.runtime.steps import Steps
from trigflow.runtime.subscribing import Subscribing
from trigflow.runtime.supervise import Part, State, Supervision
from trigflow.runtime.upkeep import Upkeep
from trigflow.runtime.vault import Vault
from trigflow.runtime.watch import StoreWatch
from trigflow.sources.credentials import Credentials
from trigflow.sources.integration import Integration
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.web.answers import Receive, Scope, Send
from trigflow.web.asgi import serve_http
from trigflow.web.oauth import OAuthPages
from trigflow.web.patience import Patience
from trigflow.web.registering import Registering

MEMORY = "memory:"
MOST_ORIGINS = 10_000  # subscriptions whose connection is remembered
LONGEST_START = 5.0  # seconds that opening waits for the engine; health stays red meanwhile
REMEMBER = 60.0  # seconds between two notes of what this process wants


def random_name(bytes_: int) -> str:
    """Return random text for a URL path: lower-case base32, 8 bits of randomness a byte."""
    return b32encode(secrets.token_bytes(bytes_)).decode().rstrip("=").lower()


class Opened:
    """What exists while an app is open. Entered and left in one task."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        settings: Settings,
        given: Mapping[Integration, Credentials],
        *,
        clock: Clock | None,
        chance: Callable[[], float],
        works: bool = True,
        app_given: Mapping[Integration, Credentials] | None = None,
        alert_sinks: Sequence[AlertSink] = (),
    ) -> None:
        """Put the parts together; nothing is opened yet.

        works: execute runs and register webhooks in the background; without it
            the app can be looked at and told things while another process works.
        """
        self._works = works
        self._alert_sinks = alert_sinks
        self.settings: Settings = settings
        self.jobs: Mapping[str, Job] = jobs
        self.body_limit: int = settings.body_limit
        self.rates: Rates = Rates(per_second=settings.rate_limit, burst=settings.rate_burst)
        self.room: Room = Room(most_bytes=settings.bodies_limit, most_requests=settings.requests_limit)
        self.patience: Patience = Patience(settings.body_timeout)
        self.base_url: str | None = None if settings.url is None else settings.url.rstrip("/")
        self.clock: Clock = clock or SystemClock()
        named = [*given, *(app_given or {})]
        self.integrations: dict[str, Integration] = integrations_of(jobs, named)
        self.sources: dict[str, AnySource] = sources_of(jobs, named)
        self._given = {integration.connection_ref: told for integration, told in given.items()}
        self._app_given = {integration.id: told for integration, told in (app_given or {}).items()}
        self._client_of = client_owners(jobs)
        self._connection_of: dict[str, tuple[type, str]] = {}
        self._chance = chance
        self._loops = Supervision(self.clock, chance, on_failed=self._block)
        self._state: State = "running"
        self._since = self.clock.now()
        self._cause = ""
        self._blocked = False
        self.mounted_at: str | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
        await self._stack.__aexit__(kind, error, trace)

    async def _open(self, stack: AsyncExitStack) -> None:
        self.ids: Ids = Ids(self.clock.now, secrets.token_bytes)
        keys = secret_keys(self.settings, in_memory=self.settings.store == MEMORY)
        in_memory = self.settings.store == MEMORY
        self.vault: Vault = Vault(keys, None if in_memory else lambda: kept_keys(self.settings))
        self.store: Store = await stack.enter_async_context(_store(self.settings))
        self.mark: str = f"/e/{self.store.store_id}/"
        await self._find_left_over()
        owner = self._owner = self.ids.new("ins")
        self.routes: Routes = Routes(self.sources, self.store, self.vault, self.clock)
        self.connections: Connections = Connections(
            Known(self.integrations, self._given, self._app_given, os.environ), self.store, self.vault,
            self.clock, owner=owner, chance=self._chance, alert=self._tell_of_connection,
            remove_subscriptions=self._remove_through,
        )  # fmt: skip
        stack.push_async_callback(self.connections.aclose)
        self.clients: Clients = await stack.enter_async_context(Clients(self.connections, self.clock))
        self.choosing: Choosing = Choosing(self.clients, self.clock)
        base_url = self.base_url or ""
        self.consents: Consents = Consents(
            self.connections, self.store, self.vault, self.clock, keys, base_url=base_url
        )
        self._oauth = OAuthPages(self.consents, self.connections, base_url)
        self.engine: EmbeddedEngine = EmbeddedEngine(self.store, self.clock, owner=owner, loops=self._loops)
        self.sealer: Sealer = Sealer(self.vault, Marks.of_app(self.jobs, self.integrations.values()))
        executor = Executor(
            self.jobs, self.store, self.clock, self, chance=self._chance, threads=self.settings.threads,
            sealer=self.sealer, secrets=self.clients.secrets,
        )  # fmt: skip
        self.matching: Matching = events_by_topic(self.jobs, identity_of)
        self.audience: Audience = Audience(self.jobs, self.store, self.clock)
        self.activities: Activities = Activities(self.store, self.clock)
        self.receiver: Receiver = Receiver(
            self.routes, self.matching, self.audience, self.store, self.store, self.engine,
            executor.handover if self._executes else _Nobody(),
            self.vault, self.sealer, self.clock, self.ids,
            activities=self.activities, on_signal=self._signal, on_stranger=self._stranger,
        )  # fmt: skip
        self.replayer: Replayer = Replayer(
            self.store,
            self.routes,
            self.receiver,
            self.matching,
            self.audience,
            self.sealer,
            self.engine,
            self.clock,
            self.ids,
            self.public_url,
        )
        self.rows: Rows = Rows(
            wants_of(self.jobs), self.sources, self.store, self.routes, self.vault, self.clock, self.ids,
            token=self._token, owner=owner,
        )  # fmt: skip
        steps = Steps(
            self.sources, self.store, self.clients, self.routes, self.vault, self.clock, self.ids,
            chance=self._chance, base_url=self.base_url, mark=self.mark,
        )  # fmt: skip
        self.upkeep: Upkeep = Upkeep(
            self.settings, self.store, self.sources, self.clients, self.routes, self.receiver,
            self.activities, self.clock, self.ids, chance=self._chance, url_of=steps.url_of, mark=self.mark,
            alert_sinks=self._alert_sinks,
        )  # fmt: skip
        self.reconciler: Reconciler = Reconciler(
            self.rows, steps, self.sources, self.store, self.clients, self.routes, self.clock,
            upkeep=self.upkeep, chance=self._chance, check_every=self.settings.check_every, owner=owner,
        )  # fmt: skip
        self.subscribing: Subscribing = Subscribing(
            self.jobs, self.sources, self.store, self.rows, self.reconciler, self.clients, self.routes,
            self.audience, self.clock, limit=self.settings.subscribers_limit, signal=self._signal,
        )  # fmt: skip
        self.registering: Registering = Registering(
            self.reconciler, self.store, self.clock, keys[0], base_url=self.base_url,
            mounted_at=lambda: self.mounted_at, only_plans=self.settings.register == "plan",
        )  # fmt: skip
        self.discovery: Discovery = Discovery(
            self.rows.wants, self.sources, self.integrations, self.connections, self.rows, self.clock,
            signal=self._signal,
        )  # fmt: skip
        self.watch: StoreWatch = StoreWatch(self._beat, self.clock, on_silence=self._block)
        refuse_in_children(self)
        if self._works:
            await self._work(stack, executor)

    async def _work(self, stack: AsyncExitStack, executor: Executor) -> None:
        """Start everything that goes on in the background, each under supervision."""
        await self.upkeep.begin()
        await self.rows.ensure()
        stack.push_async_callback(self._leave)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        keep = self._loops.keep
        group.start_soon(keep, "store", self.watch.watch)
        group.start_soon(keep, "wants", self._remember)
        group.start_soon(keep, "connections", self.connections.keep_fresh)
        for name, loop in self.upkeep.loops().items():
            group.start_soon(keep, name, loop)
        group.start_soon(keep, "retention", Retention(self.store, self.settings, self.clock).keep_up)
        if self._executes:
            ready = anyio.Event()
            group.start_soon(keep, "engine", lambda: self._execute(executor, ready))
            with anyio.move_on_after(LONGEST_START):
                await ready.wait()
        if self._registers:
            group.start_soon(keep, "accounts", self.discovery.keep_up)
            group.start_soon(keep, "registration", self.registering.keep_in_line)

    async def _find_left_over(self) -> None:
        """Find the sources of webhooks whose last job is gone, so that they can be removed."""
        left = set(await self.store.sources()) - set(self.sources)
        if left:
            for integration, source in installed(left):
                self.integrations.setdefault(integration.id, integration)
                self.sources[source.id] = source

    def _signal(self) -> None:
        self.registering.signal()

    def _stranger(self) -> None:
        self.discovery.stranger()

    def _token(self) -> str:
        """Make the random part of a URL; with the time from which anybody may remove the webhook."""
        ttl = self.settings.webhook_ttl.total_seconds()
        return random_name(20) + (f".{int(self.clock.now() + ttl)}" if ttl else "")

    # --- in the background

    async def _execute(self, executor: Executor, ready: anyio.Event) -> None:
        await self.engine.serve(executor.handle, limit=self.settings.concurrency, ready=ready)

    async def _remember(self) -> None:
        while True:
            await self.clock.wait(anyio.Event(), until=self.clock.now() + REMEMBER)
            await self.rows.ensure()

    async def _beat(self) -> None:
        await self.store.beat(self._owner, now=int(self.clock.now() * 1000))

    async def _remove_through(self, ref: str) -> Sequence[str]:
        return await remove_through(ref, self.store, self.reconciler, self.clock)

    async def _tell_of_connection(self, subject: str, cause: str) -> None:
        alerts = self.upkeep.alerts
        if cause:
            await alerts.raise_(subject, cause, "connect it again with `trigflow connect`")
        else:
            await alerts.clear(subject)

    async def _leave(self) -> None:
        """Say that this process has ended; where that can't be kept, silence says it."""
        with anyio.move_on_after(LEAVE, shield=True), suppress(StoreError):
            await self.store.leave(self._owner)

    # --- how it is

    @property
    def _executes(self) -> bool:
        return self._works and self.settings.executes

    @property
    def _registers(self) -> bool:
        return self.settings.register != "off" and self.base_url is not None and bool(self.sources)

    @property
    def problem(self) -> str:
        """Why webhooks are not registered; empty where they are."""
        return self.registering.problem

    def parts(self) -> Sequence[Part]:
        """Tell how each part is."""
        loops = self._loops.parts()
        app = Part("app", self._state, self._since, self._cause)
        others = [part for name, part in loops.items() if name not in ("engine", "store")]
        return [app, self._store_part(loops.get("store")), self._engine_part(loops.get("engine")), *others]

    def _store_part(self, loop: Part | None) -> Part:
        """Return how the store is; while nobody watches it, that is not known."""
        if loop is not None and loop.state in ("restarting", "failed"):
            return loop
        return self.watch.part()

    def _engine_part(self, loop: Part | None) -> Part:
        if loop is None:
            return Part("engine", "off", self._since, "this process executes no runs; another one must")
        if loop.state == "running" and not self.engine.alive:
            return Part("engine", "restarting", loop.since, loop.cause or "it is starting")
        return loop

    def drain(self) -> None:
        """Say that this process is about to end; nothing stops yet."""
        if self._state == "running":
            self._state, self._since, self._cause = "restarting", self.clock.now(), "it is shutting down"

    def forked(self) -> None:
        """Hear, in a child process, that nothing here may be used."""
        self._state, self._cause, self._blocked = "failed", FORKED, True

    def _block(self) -> None:
        self._blocked = True

    def _is_blocked(self) -> bool:
        """Tell whether runs can't be kept or executed for good; that may pass."""
        self._blocked = self._state == "failed" or self._loops.failed("engine") or self.watch.silent
        return self._blocked

    def serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one HTTP request."""
        return serve_http(self, scope, receive, send)

    # --- what the intake asks for

    def knows(self, token: str) -> bool:
        """Tell whether an endpoint was found under this token before; asks nobody."""
        return self.routes.knows(token)

    async def exists(self, token: str) -> bool:
        """Tell whether there is an endpoint; raises StoreError where that can't be known now."""
        if self._blocked and self._is_blocked():
            raise StoreUnavailable("this process can keep or execute nothing now; see /healthz")
        return await self.routes.find(token) is not None

    async def receive(self, token: str, request: Request) -> Response:
        """Answer a request at an endpoint."""
        if self._blocked and self._is_blocked():
            return UNAVAILABLE
        response = await self.receiver.receive(token, request)
        if response is UNAVAILABLE:
            self.watch.note_refusal()
        return response

    def public_url(self, path: str, query: str) -> str:
        """Return the URL as the provider knows it."""
        url = f"{self.base_url or ''}{path}"
        return f"{url}?{query}" if query else url

    def prove(self, nonce: str) -> dict[str, str]:
        """Answer a probe."""
        return self.registering.prove(nonce)

    def prove_body(self, nonce: str, body: bytes, headers: Headers) -> dict[str, str]:
        """Answer a probe that has a body: what arrived of it."""
        return self.registering.prove_body(nonce, body, headers)

    async def consent(self, path: str, scope: Scope) -> Response:
        """Answer the pages of a consent."""
        return NOT_FOUND if self.base_url is None else await self._oauth.answer(path, scope)

    # --- what jobs ask for

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        """Return the client of the connection that a run's event came from."""
        client, connection = await self._origin(run.subscription_id)
        return await self.clients.get(connection if client is annotation else self._client_of[annotation])

    async def _origin(self, subscription_id: str) -> tuple[type | None, str]:
        """Return the client class and the connection of a subscription; they never change."""
        known = self._connection_of.get(subscription_id)
        if known is None:
            found = await self.store.subscription(subscription_id)
            source = None if found is None else self.sources.get(found.source)
            if found is None or source is None or not found.connection:
                return None, ""
            if len(self._connection_of) >= MOST_ORIGINS:
                self._connection_of.clear()
            known = self._connection_of[subscription_id] = source.client, found.connection
        return known

    async def delivery(self, run: r.LoadedRun) -> object:
        """Return the delivery that brought a run's event."""
        return await kept_delivery(
            self.store, self.sources, self.sealer, run.delivery_id, run.subscription_id, self.public_url
        )

    # --- what people ask for

    async def replay(self, delivery: str, *, job: str | None) -> Sequence[str]:
        """Start the runs of a kept delivery anew."""
        return await self.replayer.replay(delivery, job=job)

    async def cancel(self, run: str) -> bool:
        """Stop a run."""
        at = int(self.clock.now() * 1000)
        return await self.store.cancel(run, self.engine.cancel(run), at=at)


def _store(settings: Settings) -> Store:
    if settings.store == MEMORY:
        return MemoryStore(store_id=random_name(5))
    return SqliteStore(settings.store, store_id=lambda: random_name(5))


class _Nobody(Handover):
    """Where no run is executed, no payload waits for one."""

    def put(self, run: r.LoadedRun) -> None:
        """Drop it."""
