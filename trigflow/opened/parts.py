"""Everything that an open app consists of, made in the order in which one needs the other.

store ─> connections, clients ─> intake: engine, receiver, replayer ─> registration: rows, steps, reconciler
"""

from __future__ import annotations

import os
import secrets
from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from trigflow.core.alerts import AlertSink
from trigflow.core.ids import Ids
from trigflow.core.jobs import Job
from trigflow.core.settings import Settings
from trigflow.engines.embedded import EmbeddedEngine
from trigflow.runtime import records as r
from trigflow.runtime.clock import SystemClock
from trigflow.runtime.connections.choosing import Choosing
from trigflow.runtime.connections.clients import Clients, Lent
from trigflow.runtime.connections.consent import Consents
from trigflow.runtime.connections.known import Known
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.execution.execute import Executor, Handover
from trigflow.runtime.health.activity import Activities
from trigflow.runtime.health.standing import Standing
from trigflow.runtime.health.watch import StoreWatch
from trigflow.runtime.intake.audience import Audience
from trigflow.runtime.intake.decide import Matching, events_by_topic
from trigflow.runtime.intake.limits import Rates, Room
from trigflow.runtime.intake.origins import Origins
from trigflow.runtime.intake.receive import Receiver
from trigflow.runtime.intake.replay import Replayer
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.intake.strangers import Strangers
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.collect import (
    client_owners,
    expectations_of,
    identity_of,
    installed,
    integrations_of,
    sources_of,
    wants_of,
)
from trigflow.runtime.registration.discovery import Discovery
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.removal import remove_through
from trigflow.runtime.registration.rows import Rows
from trigflow.runtime.registration.steps import Steps
from trigflow.runtime.registration.subscribing import Subscribing
from trigflow.runtime.registration.upkeep import Upkeep
from trigflow.runtime.sealing.keyring import kept_keys, secret_keys
from trigflow.runtime.sealing.sealed import Marks, Sealer
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.credentials import Credentials
from trigflow.sources.integration import Integration
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.web.oauth import OAuthPages
from trigflow.web.patience import Patience
from trigflow.web.registering import Registering

MEMORY = "memory:"


def random_name(bytes_: int) -> str:
    """Return random text for a URL path: lower-case base32, 8 bits of randomness a byte."""
    return b32encode(secrets.token_bytes(bytes_)).decode().rstrip("=").lower()


class Parts:
    """The parts of one process's app; `Opened` starts and stops them."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        settings: Settings,
        given: Mapping[Integration, Credentials],
        *,
        clock: Clock | None,
        chance: Callable[[], float],
        works: bool,
        app_given: Mapping[Integration, Credentials],
        alert_sinks: Sequence[AlertSink],
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
        named = [*given, *app_given]
        self.integrations: dict[str, Integration] = integrations_of(jobs, named)
        self.sources: dict[str, AnySource] = sources_of(jobs, named)
        self._given = {integration.connection_ref: told for integration, told in given.items()}
        self._app_given = {integration.id: told for integration, told in app_given.items()}
        self._chance = chance
        self._standing = Standing(
            self.clock, chance, executes=lambda: self.engine.alive, watch=lambda: self.watch
        )
        self._loops = self._standing.loops
        self.mounted_at: str | None = None
        self._stack = AsyncExitStack()

    async def _assemble(self, stack: AsyncExitStack) -> None:
        """Put everything together; what has to be closed goes on the stack."""
        self.ids: Ids = Ids(self.clock.now, secrets.token_bytes)
        in_memory = self.settings.store == MEMORY
        kept_keys(self.settings)  # a key file that can't be used is told before a store is made
        self.store: Store = await stack.enter_async_context(_store(self.settings))
        keys = await secret_keys(self.settings, self.store, in_memory=in_memory)
        self.vault: Vault = Vault(keys, None if in_memory else lambda: kept_keys(self.settings))
        self.mark: str = f"/e/{self.store.store_id}/"
        await self._find_left_over()
        self._owner: str = self.ids.new("ins")
        self.routes: Routes = Routes(self.sources, self.store, self.vault, self.clock)
        self._make_connections()
        stack.push_async_callback(self.connections.aclose)
        await stack.enter_async_context(self.clients)
        self._make_intake()
        self._make_registration()
        self.watch: StoreWatch = StoreWatch(self._beat, self.clock, on_silence=self._standing.block)

    def _make_connections(self) -> None:
        self.connections: Connections = Connections(
            Known(self.integrations, self._given, self._app_given, os.environ), self.store, self.vault,
            self.clock, owner=self._owner, chance=self._chance, alert=self._tell_of_connection,
            remove_subscriptions=self._remove_through,
        )  # fmt: skip
        self.clients: Clients = Clients(self.connections, self.clock)
        self.choosing: Choosing = Choosing(self.clients, self.clock)
        base_url = self.base_url or ""
        self.consents: Consents = Consents(
            self.connections, self.store, self.vault, self.clock, base_url=base_url
        )
        self._oauth = OAuthPages(self.consents, self.connections, base_url)

    def _make_intake(self) -> None:
        self.engine: EmbeddedEngine = EmbeddedEngine(
            self.store, self.clock, owner=self._owner, loops=self._loops
        )
        self.sealer: Sealer = Sealer(self.vault, Marks.of_app(self.jobs, self.integrations.values()))
        origins = Origins(
            self.store, self.sources, self.clients, client_owners(self.jobs), self.sealer, self.public_url
        )
        self.executor: Executor = Executor(
            self.jobs, self.store, self.clock, origins, chance=self._chance, threads=self.settings.threads,
            sealer=self.sealer, secrets=self.clients.secrets, lending=lambda: Lent(self.clients),
        )  # fmt: skip
        self.matching: Matching = events_by_topic(self.jobs, identity_of)
        self.audience: Audience = Audience(self.jobs, self.store, self.clock)
        self.activities: Activities = Activities(self.store, self.clock)
        self.receiver: Receiver = Receiver(
            self.routes, self.matching, self.audience, self.store, self.store, self.engine,
            self.executor.handover if self._executes else _Nobody(),
            self.vault, self.sealer, self.clock, self.ids,
            activities=self.activities, on_signal=self._signal, on_stranger=self._stranger,
            on_accounts=self._accounts_told,
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
        self.strangers: Strangers = Strangers(
            self.store, self.sources, self.routes, self.receiver, self.audience, self.sealer, self.clock,
            self.public_url,
        )  # fmt: skip

    def _make_registration(self) -> None:
        self.rows: Rows = Rows(
            wants_of(self.jobs), self.sources, self.store, self.routes, self.vault, self.clock, self.ids,
            token=self._token, owner=self._owner, expects=expectations_of(self.jobs),
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
            upkeep=self.upkeep, chance=self._chance, check_every=self.settings.check_every, owner=self._owner,
        )  # fmt: skip
        self.subscribing: Subscribing = Subscribing(
            self.jobs, self.sources, self.store, self.rows, self.reconciler, self.clients, self.routes,
            self.audience, self.clock, limit=self.settings.subscribers_limit, signal=self._signal,
        )  # fmt: skip
        self.registering: Registering = Registering(
            self.reconciler, self.store, self.clock, self.vault, base_url=self.base_url,
            mounted_at=lambda: self.mounted_at,
            heed=self.upkeep.heed if self.settings.register == "plan" else None,
        )  # fmt: skip
        self.discovery: Discovery = Discovery(
            self.rows.wants, self.sources, self.integrations, self.connections, self.rows, self.clock,
            signal=self._accounts_known,
        )  # fmt: skip

    async def _find_left_over(self) -> None:
        """Find the sources of webhooks whose last job is gone, so that they can be removed."""
        left = set(await self.store.sources()) - set(self.sources)
        if left:
            for integration, source in installed(left):
                self.integrations.setdefault(integration.id, integration)
                self.sources[source.id] = source

    async def _beat(self) -> None:
        listens = self.upkeep.outages.listens
        await self.store.beat(self._owner, now=int(self.clock.now() * 1000), listens=listens)

    def _signal(self) -> None:
        self.registering.signal()

    def _accounts_known(self) -> None:
        self._signal()
        self.strangers.look()

    def _accounts_told(self) -> None:
        self.discovery.told()

    def _stranger(self) -> None:
        self.discovery.stranger()

    def _token(self) -> str:
        """Make the random part of a URL; with the time from which anybody may remove the webhook."""
        ttl = self.settings.webhook_ttl.total_seconds()
        return random_name(20) + (f".{int(self.clock.now() + ttl)}" if ttl else "")

    async def _remove_through(self, ref: str) -> Sequence[str]:
        return await remove_through(ref, self.store, self.reconciler, self.clock)

    async def _tell_of_connection(self, subject: str, cause: str) -> None:
        alerts = self.upkeep.alerts
        if cause:
            await alerts.raise_(subject, cause, "connect it again with `trigflow connect`")
        else:
            await alerts.clear(subject)
            self._signal()  # what waited for it is due

    @property
    def _executes(self) -> bool:
        return self._works and self.settings.executes

    def public_url(self, path: str, query: str) -> str:
        """Return the URL as the provider knows it."""
        url = f"{self.base_url or ''}{path}"
        return f"{url}?{query}" if query else url


def _store(settings: Settings) -> Store:
    if settings.store == MEMORY:
        return MemoryStore(store_id=random_name(5))
    return SqliteStore(settings.store, store_id=lambda: random_name(5))


class _Nobody(Handover):
    """Where no run is executed, no payload waits for one."""

    def put(self, run: r.LoadedRun) -> None:
        """Drop it."""
