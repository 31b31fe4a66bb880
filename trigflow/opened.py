"""An open app: the parts of one process, put together and taken apart."""

from __future__ import annotations

import logging
import os
import secrets
from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from trigflow.core.errors import SetupError
from trigflow.core.http import Request, Response
from trigflow.core.ids import Ids
from trigflow.core.jobs import Job
from trigflow.core.settings import Settings
from trigflow.engines.embedded import EmbeddedEngine
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt_async
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
from trigflow.runtime.execute import Executor
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.receive import Matching, Receiver, events_by_topic
from trigflow.runtime.reconcile import Reconciler
from trigflow.runtime.replay import Replayer, kept_delivery
from trigflow.runtime.routes import AnySource, Routes
from trigflow.runtime.vault import Vault
from trigflow.sources.credentials import Credentials
from trigflow.sources.integration import Integration
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

logger: logging.Logger = logging.getLogger("trigflow")
MEMORY = "memory:"
LONGEST_START = 5.0  # seconds that opening waits for the engine; health stays red meanwhile
FIRST_PROBE = 0.2  # seconds; an ASGI server listens only after start-up
LONGEST_PROBE = 60.0
AGAIN = 15.0  # seconds until registrations that failed are looked at again
DRIFT = timedelta(minutes=15)  # how often providers are asked what they have
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
    ) -> None:
        """Put the parts together; nothing is opened yet.

        works: execute runs and register webhooks in the background; without it
            the app can be looked at and told things while another process works.
        """
        self._works = works
        self.settings: Settings = settings
        self.jobs: Mapping[str, Job] = jobs
        self.body_limit: int = settings.body_limit
        self.base_url: str | None = None if settings.url is None else settings.url.rstrip("/")
        self.clock: Clock = clock or SystemClock()
        self.integrations: dict[str, Integration] = integrations_of(jobs, given)
        self.sources: dict[str, AnySource] = sources_of(jobs, given)
        credentials = {integration.id: told for integration, told in given.items()}
        self.clients: Clients = Clients(self.integrations, credentials, os.environ)
        self._client_of = client_owners(jobs)
        self._chance = chance
        self.problem: str = ""
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
        await self._stack.__aexit__(kind, error, trace)

    async def _open(self, stack: AsyncExitStack) -> None:
        self.ids: Ids = Ids(self.clock.now, secrets.token_bytes)
        keys = _secret_keys(self.settings)
        self.vault: Vault = Vault(keys)
        self._secret = keys[0]
        self.store: Store = await stack.enter_async_context(_store(self.settings))
        self.mark: str = f"/e/{self.store.store_id}/"
        await self._find_left_over()
        owner = self.ids.new("ins")
        self.routes: Routes = Routes(self.sources, self.store, self.vault, self.clock)
        await stack.enter_async_context(self.clients)
        self.engine: EmbeddedEngine = EmbeddedEngine(self.store, self.clock, owner=owner)
        executor = Executor(
            self.jobs, self.store, self.clock, self, chance=self._chance, threads=self.settings.threads
        )
        self.matching: Matching = events_by_topic(self.jobs, identity_of)
        self.receiver: Receiver = Receiver(
            self.routes, self.matching, self.store, self.store, self.engine, executor.handover,
            self.vault, self.clock, self.ids,
        )  # fmt: skip
        self.replayer: Replayer = Replayer(
            self.store,
            self.routes,
            self.receiver,
            self.matching,
            self.engine,
            self.clock,
            self.ids,
            self.public_url,
        )
        self.reconciler: Reconciler = Reconciler(
            wants_of(self.jobs), self.sources, self.store, self.clients, self.routes, self.vault, self.clock,
            self.ids, token=lambda: random_name(20), base_url=self.base_url, mark=self.mark, owner=owner,
        )  # fmt: skip
        if not self._works:
            return
        await self.reconciler.ensure()
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        ready = anyio.Event()
        group.start_soon(self._execute, executor, ready)
        with anyio.move_on_after(LONGEST_START):
            await ready.wait()
        group.start_soon(self._remember)
        if self.settings.registration == "auto":
            group.start_soon(self._register)

    async def _find_left_over(self) -> None:
        """Find the sources of webhooks whose last job is gone, so that they can be removed."""
        left = {endpoint.source for endpoint in await self.store.endpoints()} - set(self.sources)
        if left:
            for integration, source in installed(left):
                self.integrations.setdefault(integration.id, integration)
                self.sources[source.id] = source

    # --- in the background

    async def _execute(self, executor: Executor, ready: anyio.Event) -> None:
        """Serve runs; an engine that dies is started again, and meanwhile health is red."""
        while True:
            ended = await attempt_async(
                lambda: self.engine.serve(executor.handle, limit=self.settings.concurrency, ready=ready)
            )
            if isinstance(ended, Raised):
                logger.critical("the engine died and is started again", exc_info=ended.error)
            await anyio.sleep(1)

    async def _remember(self) -> None:
        while True:
            await anyio.sleep(REMEMBER)
            ended = await attempt_async(self.reconciler.ensure)
            if isinstance(ended, Raised):
                logger.error("what the jobs want could not be kept", exc_info=ended.error)

    async def _register(self) -> None:
        """Register webhooks once the public URL leads here, and keep them in line."""
        if self.base_url is None or not self.sources:
            return
        wait = FIRST_PROBE
        while True:
            ended = await attempt_async(self.register_if_reachable)
            if isinstance(ended, Raised):
                self._tell(str(ended.error))
                wait = min(wait * 2, LONGEST_PROBE)
            else:
                self.problem = ""
                wait = DRIFT.total_seconds() if ended.value else AGAIN
            await anyio.sleep(wait)

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            logger.warning("webhooks are not registered: %s", problem)
        self.problem = problem

    async def register_if_reachable(self) -> bool:
        """Probe the public URL, then do what has to be done; tell whether all of it worked."""
        await self.probe()
        applied = await self.reconciler.apply(await self.reconciler.plan(), respect_waits=True)
        return not any(one.error for one in applied)

    async def probe(self) -> None:
        """Return if the public URL leads here; raises trigflow.web.probe.Unreachable."""
        import httpx  # noqa: PLC0415 - 100 ms to import; the intake does not need it

        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        if self.base_url is None:
            raise SetupError("the public URL is not known; set url= or TRIGFLOW_URL")
        async with httpx.AsyncClient() as client:
            await Prober(self._secret).check(
                self.base_url, self.store.store_id, client, lambda: self.mounted_at
            )

    # --- what the intake asks for

    async def receive(self, token: str, request: Request) -> Response:
        """Answer a request at an endpoint."""
        return await self.receiver.receive(token, request)

    def public_url(self, path: str, query: str) -> str:
        """Return the URL as the provider knows it."""
        url = f"{self.base_url or ''}{path}"
        return f"{url}?{query}" if query else url

    def prove(self, nonce: str, root: str) -> dict[str, str]:
        """Answer a probe."""
        from trigflow.web.probe import Prober  # noqa: PLC0415 - imports httpx

        return Prober(self._secret).prove(nonce, root, self.store.store_id)

    @property
    def healthy(self) -> bool:
        """Tell whether runs are executed."""
        return self.engine.alive

    # --- what jobs ask for

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        """Return the client of the connection that a run's event came from."""
        return await self.clients.get(self._client_of[annotation])

    async def delivery(self, run: r.LoadedRun) -> object:
        """Return the delivery that brought a run's event."""
        return await kept_delivery(self.store, self.sources, run.delivery_id, self.public_url)

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


def _secret_keys(settings: Settings) -> Sequence[str]:
    """Return the ring; without one, a key is made beside the store, readable by its owner alone."""
    if settings.secret_keys:
        return settings.secret_keys
    if settings.store == MEMORY:
        return [Vault.new_key()]
    path = Path(f"{settings.store}.key")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:  # noqa: PTH123 - mode
            file.write(Vault.new_key())
        logger.info(
            "made a secret key beside the store: %s (set TRIGFLOW_SECRET_KEY to keep it elsewhere)", path
        )
    return [path.read_text().strip()]
