"""The app: the only place where all parts meet.

app = App(jobs=[triage])          built: every mistake in the set-up is found here
async with app: ...               opened: per process, never before a fork
uvicorn triage:app                the same, as an ASGI app with its own lifespan
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from trigflow.core.alerts import AlertSink
from trigflow.core.dynamic import Dynamic, Wish
from trigflow.core.errors import SetupError
from trigflow.core.jobs import Job, Listens, trigger
from trigflow.core.plan import GRACE, Step
from trigflow.core.runs import Failure
from trigflow.core.settings import Keywords, Resolved, resolve
from trigflow.runtime.connections.known import ref_of
from trigflow.runtime.gather import (
    Gathered,
    JobLike,
    app_credentials_given,
    check_jobs,
    credentials_given,
    integration_given,
)
from trigflow.sources.integration import Integration
from trigflow.sources.registration import Choices
from trigflow.web.answers import NOT_OPEN, Receive, Scope, Send, send_answer

if TYPE_CHECKING:
    from trigflow.opened import Opened
    from trigflow.runtime.connections.holding import Listed
    from trigflow.runtime.ports import Clock
    from trigflow.runtime.registration.steps import Applied
    from trigflow.runtime.registration.subscribing import Subscribed

F = TypeVar("F", bound=Callable[..., Any])
# A dict of GitHub is no Mapping of Integration: keys are invariant.
ConnectedT = TypeVar("ConnectedT", bound=Integration)
OfAppT = TypeVar("OfAppT", bound=Integration)
AlertSinkT = TypeVar("AlertSinkT", bound=AlertSink)


class App:
    """Jobs, and everything that starts them; an ASGI app."""

    def __init__(
        self,
        jobs: Iterable[JobLike] = (),
        *,
        connections: Mapping[ConnectedT, str | Mapping[str, str]] | None = None,
        app_credentials: Mapping[OfAppT, Mapping[str, str]] | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        **settings: Unpack[Keywords],
    ) -> None:
        """Build an app; nothing is opened yet.

        jobs: decorated functions, modules that hold some, or names of such modules.
        connections: credentials by integration; they go before the environment.
        app_credentials: of our own app at a provider, such as an OAuth client's id and secret.
        settings: see trigflow.core.settings.Settings.
        Raises SetupError that names function, parameter and remedy.
        """
        self._keywords: dict[str, Any] = dict(settings)
        self._given = credentials_given((connections or {}).items())
        self._app_given = app_credentials_given((app_credentials or {}).items())
        self._clock, self._chance = clock, chance
        self._gathered = Gathered()
        self._alert_sinks: list[AlertSink] = []
        self._opened: Opened | None = None
        check_jobs(jobs)
        for one in jobs:
            self._gathered.add(one)
        self.resolved()  # a wrong setting is a wrong set-up

    def job(self, first: Listens, /, *more: Listens, **options: Any) -> Callable[[F], F]:
        """Mark a function as a job, as `trigger` does, and add it to this app."""

        def add(function: F) -> F:
            marked = trigger(first, *more, **options)(function)
            self._gathered.add(marked)
            return marked

        return add

    def on_alert(self, sink: AlertSinkT) -> AlertSinkT:
        """Have a function, async or plain, called with each `Alert`: what is unhealthy or needs a person."""
        self._alert_sinks.append(sink)
        return sink

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
        return dict(self._gathered.jobs)

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
        self._refuse_if_open()
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
        self._refuse_if_open()
        async with self._parts(works=False) as opened:
            self._opened = opened
            try:
                yield self
            finally:
                self._opened = None

    def _refuse_if_open(self) -> None:
        if self._opened is not None:
            raise SetupError("the app is open already")

    def _parts(self, *, works: bool = True) -> Opened:
        # Stores, engine, intake and asyncio: half of all that there is to import, and nothing that
        # jobs, settings or a test of a job's function need.
        from trigflow.opened import Opened  # noqa: PLC0415

        settings = self.resolved().settings
        return Opened(
            self._gathered.jobs,
            settings,
            self._given,
            clock=self._clock,
            chance=self._chance,
            works=works,
            app_given=self._app_given,
            alert_sinks=self._alert_sinks,
        )

    async def plan(
        self, *, offline: bool = False, grace: timedelta = GRACE, only: str | None = None
    ) -> Sequence[Step]:
        """Say what would have to be done at providers; changes nothing there."""
        return await self.opened.reconciler.plan(offline=offline, grace=grace, only=only)

    async def apply(
        self, *, grace: timedelta = GRACE, only: str | None = None, may_remove: bool = True
    ) -> Sequence[Applied]:
        """Bring providers in line with what jobs want.

        only: a subscription's key or id. may_remove: also remove what no job wants.
        """
        await self.opened.rows.ensure()
        return await self.opened.reconciler.apply(grace=grace, only=only, may_remove=may_remove)

    async def replay(self, delivery: str, *, job: str | None = None) -> Sequence[str]:
        """Start the runs of a kept delivery anew; return their ids."""
        return await self.opened.replay(delivery, job=job)

    async def cancel(self, run: str) -> bool:
        """Stop a run; False where it has ended already."""
        return await self.opened.cancel(run)

    # --- who subscribes at run time

    async def subscribe(
        self,
        wish: Wish[object],
        *,
        key: str,
        connection: str | None = None,
        metadata: object = None,
        expect_every: timedelta | None = None,
        wait: bool = False,
    ) -> None:
        """Subscribe somebody to a dynamic trigger: `repos(repo="u/r")`; the same key again replaces it.

        key: whose it is, such as your user's id. metadata: JSON-able, up to 16 kB; events carry it.
        connection: a ref such as "github/user-42"; left out, the default one of the integration.
        expect_every: the time in which something must come; the shortest of all who share a webhook counts.
        Returns once that is committed, with `wait` once the provider has it, too.
        Raises LimitReached, SetupError for what can't be subscribed to, and with `wait`
        RegistrationError where the provider refuses: it is kept, and tried again, all the same.
        """
        await self.opened.subscribing.subscribe(
            wish, key=key, connection=connection, metadata=metadata, expect_every=expect_every, wait=wait
        )

    async def unsubscribe(self, dynamic: Dynamic[..., object] | str, *, key: str) -> bool:
        """End a subscription; False where there is none. The last one's webhook is removed."""
        return await self.opened.subscribing.unsubscribe(dynamic, key=key)

    async def subscribers(
        self, dynamic: Dynamic[..., object] | str, *, after: str = "", limit: int = 100
    ) -> Sequence[Subscribed]:
        """Return who subscribed, by key, after one of them; a dynamic trigger or its id."""
        return await self.opened.subscribing.subscribers(dynamic, after=after, limit=limit)

    # --- connections

    async def connect(
        self,
        integration: Integration,
        name: str,
        credentials: Mapping[str, str],
        *,
        kind: str | None = None,
        who: str = "",
    ) -> str:
        """Check credentials with the provider and keep them, sealed; return the connection's ref.

        name: of the connection, such as a user of yours; "" for the default one.
        kind: of the Auth that they are for, where several have these fields. who: for the audit.
        Raises SetupError for fields that do not fit, Unauthorized where the provider refuses.
        """
        integration = integration_given(integration, "connect")
        return await self.opened.connections.add(integration, name, credentials, kind=kind, who=who)

    async def disconnect(self, ref: str, *, who: str = "") -> Sequence[str]:
        """Remove a connection's subscriptions at the provider and shred it; return what failed there."""
        return await self.opened.connections.remove(ref, who=who)

    async def connections(self, integration: Integration | None = None) -> Sequence[Listed]:
        """Return the connections that there are, wherever their credentials come from."""
        only = None if integration is None else integration_given(integration, "connections").id
        return await self.opened.connections.listed(only)

    def authorize_url(self, integration: Integration, name: str = "", *, then: str = "") -> str:
        """Return a link by which one person, in one browser, connects an account; good once, for 10 minutes.

        Send the person there at once. then: a path of the same site for the end.
        """
        if self.opened.base_url is None:
            raise SetupError("the public URL is not known; set url= or TRIGFLOW_URL")
        return self.opened.consents.link(integration_given(integration, "authorize_url"), name, then=then)

    async def options(
        self, integration: Integration, param: str, *, connection: str = "", page: str | None = None
    ) -> Choices:
        """Return a page of the values that a param may have, as an account sees them.

        connection: a name, or a ref. page: `next` of the page before.
        """
        integration = integration_given(integration, "options")
        is_ref = "/" in connection or connection == integration.id
        ref = connection if is_ref else ref_of(integration, connection or integration.connection)
        return await self.opened.choosing.page(integration, param, ref, page)

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
            self.opened.upkeep.outages.serve()
        except Exception as error:  # the protocol's boundary: the server shows the text
            await send({"type": "lifespan.startup.failed", "message": str(Failure.of(error))})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})
