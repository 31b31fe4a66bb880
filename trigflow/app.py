"""The app: the only place where all parts meet.

app = App(jobs=[triage])          built: every mistake in the set-up is found here
async with app: ...               opened: per process, never before a fork
uvicorn triage:app                the same, as an ASGI app with its own lifespan
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from trigflow.core.errors import SetupError
from trigflow.core.events import Event
from trigflow.core.jobs import Job, Listens, Mark, build_job, mark_of, trigger
from trigflow.core.plan import GRACE, Step
from trigflow.core.runs import Run
from trigflow.core.settings import Resolved, resolve
from trigflow.runtime.io import IO, SyncIO
from trigflow.sources.credentials import Credentials
from trigflow.sources.external import Delivery, is_webhook
from trigflow.sources.integration import Integration
from trigflow.web.answers import NOT_OPEN, Message, Receive, Scope, Send, send_answer

if TYPE_CHECKING:
    from trigflow.opened import Opened
    from trigflow.runtime.ports import Clock
    from trigflow.runtime.reconcile import Applied

F = TypeVar("F", bound=Callable[..., Any])
JobLike = Callable[..., Any] | ModuleType | str

# What a job may ask for by annotation: True where only plain functions may, False where only async ones.
GIVEN: Mapping[type, bool | None] = {IO: False, SyncIO: True, Event: None, Run: None, Delivery: None}


class App:
    """Jobs, and everything that starts them; an ASGI app."""

    def __init__(
        self,
        jobs: Iterable[JobLike] = (),
        *,
        url: str | None = None,
        store: str | None = None,
        secret_key: str | None = None,
        registration: str | None = None,
        executes: bool | None = None,
        concurrency: int | None = None,
        threads: int | None = None,
        body_limit: int | None = None,
        body_timeout: int | None = None,
        bodies_limit: int | None = None,
        requests_limit: int | None = None,
        rate_limit: int | None = None,
        rate_burst: int | None = None,
        keep_bodies: timedelta | None = None,
        keep_runs: timedelta | None = None,
        keep_deliveries: timedelta | None = None,
        keep_noise: timedelta | None = None,
        keep_registrations: timedelta | None = None,
        keep_dedupe: timedelta | None = None,
        connections: Mapping[Integration, str | Mapping[str, str]] | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Build an app; nothing is opened yet.

        jobs: decorated functions, modules that hold some, or names of such modules.
        connections: credentials by integration; they go before the environment.
        The other keywords are settings, see trigflow.core.settings.Settings.
        Raises SetupError that names function, parameter and remedy.
        """
        self._keywords: dict[str, Any] = {
            "url": url, "store": store, "secret_key": secret_key, "registration": registration,
            "executes": executes, "concurrency": concurrency, "threads": threads, "body_limit": body_limit,
            "body_timeout": body_timeout, "bodies_limit": bodies_limit, "requests_limit": requests_limit,
            "rate_limit": rate_limit, "rate_burst": rate_burst,
            "keep_bodies": keep_bodies, "keep_runs": keep_runs, "keep_deliveries": keep_deliveries,
            "keep_noise": keep_noise, "keep_registrations": keep_registrations, "keep_dedupe": keep_dedupe,
        }  # fmt: skip
        self._given = _credentials(connections or {})
        self._clock, self._chance = clock, chance
        self._jobs: dict[str, Job] = {}
        self._opened: Opened | None = None
        for one in jobs:
            self._collect(one)
        self.resolved()  # a wrong setting is a wrong set-up

    def job(self, first: Listens, /, *more: Listens, **options: Any) -> Callable[[F], F]:
        """Mark a function as a job, as `trigger` does, and add it to this app."""

        def add(function: F) -> F:
            marked = trigger(first, *more, **options)(function)
            self._collect(marked)
            return marked

        return add

    def override(self, **settings: Any) -> None:
        """Replace settings before the app is opened: for whoever serves somebody else's app."""
        if self._opened is not None:
            raise SetupError("the app is open; settings are taken when it opens")
        self._keywords.update({name: value for name, value in settings.items() if value is not None})
        self.resolved()

    def resolved(self) -> Resolved:
        """Return the settings and where each came from."""
        return resolve(self._keywords, os.environ)

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs by id."""
        return dict(self._jobs)

    @property
    def opened(self) -> Opened:
        """The open app; SetupError while it is closed."""
        if self._opened is None:
            raise SetupError(
                "the app is not open; use `async with app:`, or let the server's lifespan open it"
            )
        return self._opened

    # --- opened

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise SetupError("the app is open already")
        self._stack = AsyncExitStack()
        self._opened = await self._stack.enter_async_context(self._parts())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stack.aclose()
        finally:
            self._opened = None

    @asynccontextmanager
    async def inspect(self) -> AsyncGenerator[Self]:
        """Open the app without working: no run is executed here and no webhook registered by itself.

        For the command line and for tests, beside a process that works.
        """
        async with self._parts(works=False) as opened:
            self._opened = opened
            try:
                yield self
            finally:
                self._opened = None

    def _parts(self, *, works: bool = True) -> Opened:
        # Stores, engine, intake and asyncio: half of all that there is to import, and nothing that
        # jobs, settings or a test of a job's function need.
        from trigflow.opened import Opened  # noqa: PLC0415

        settings = self.resolved().settings
        return Opened(self._jobs, settings, self._given, clock=self._clock, chance=self._chance, works=works)

    async def plan(self, *, offline: bool = False, grace: timedelta = GRACE) -> Sequence[Step]:
        """Say what would have to be done at providers; changes nothing there."""
        return await self.opened.reconciler.plan(offline=offline, grace=grace)

    async def apply(self, *, grace: timedelta = GRACE) -> Sequence[Applied]:
        """Bring providers in line with what jobs want."""
        reconciler = self.opened.reconciler
        await reconciler.ensure()
        return await reconciler.apply(await reconciler.plan(grace=grace))

    async def replay(self, delivery: str, *, job: str | None = None) -> Sequence[str]:
        """Start the runs of a kept delivery anew; return their ids."""
        return await self.opened.replay(delivery, job=job)

    async def cancel(self, run: str) -> bool:
        """Stop a run; False where it has ended already."""
        return await self.opened.cancel(run)

    # --- ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            opened = self._opened
            await (send_answer(send, NOT_OPEN) if opened is None else opened.serve(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.__aenter__()
        except Exception as error:  # the protocol's boundary: the server shows the text
            await send(_failed("startup", error))
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    # --- collecting

    def _collect(self, found: JobLike) -> None:
        if isinstance(found, str):
            found = _module(found)
        if isinstance(found, ModuleType):
            self._collect_module(found)
            return
        mark = mark_of(found)
        if mark is None:
            raise SetupError(f"{found!r} is not a job; decorate it with @trigger(...)")
        self._add(found, mark)

    def _collect_module(self, module: ModuleType) -> None:
        found = [value for value in vars(module).values() if mark_of(value) is not None]
        if not found:
            raise SetupError(f"module {module.__name__} holds no job; decorate a function with @trigger(...)")
        for function in found:
            self._collect(function)

    def _add(self, function: Callable[..., Any], mark: Mark) -> None:
        job = build_job(function, mark, given=GIVEN)
        known = self._jobs.get(job.id)
        if known is not None and known.function is not function:
            raise SetupError(
                f"two jobs have the id {job.id!r}: {_place(known.function)} and {_place(function)}; "
                "give one of them another with @trigger(..., id=...)"
            )
        for listens in job.listens:
            if is_webhook(listens.trigger.source):
                listens.trigger.source.check()
        self._jobs.setdefault(job.id, job)


def _failed(phase: str, error: Exception) -> Message:
    return {"type": f"lifespan.{phase}.failed", "message": f"{type(error).__name__}: {error}"}


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SetupError(f"there is no module {name!r}; is it on the path?") from error
        raise


def _credentials(
    connections: Mapping[Integration, str | Mapping[str, str]],
) -> Mapping[Integration, Credentials]:
    found: dict[Integration, Credentials] = {}
    for integration, told in connections.items():
        field = integration.auth[0].fields[0].name if integration.auth else "token"
        given = {field: told} if isinstance(told, str) else told
        if not any(given.values()):
            raise SetupError(f"connections: the credentials of {integration.id} are empty")
        found[integration] = Credentials(given)
    return found


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
