"""An open app: the parts of one process, put together and taken apart.

opening ──> open ──> draining ──> closed
              └── a part fails for good: deliveries are answered 503 until it works again
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self

import anyio

from trigflow.core.errors import StoreError, StoreUnavailable
from trigflow.core.http import Headers, Request, Response
from trigflow.engines.embedded import LEAVE
from trigflow.opened.parts import MEMORY, Parts, random_name
from trigflow.runtime.forks import refuse_in_children
from trigflow.runtime.health.supervise import Part
from trigflow.runtime.intake.receive import NOT_FOUND, UNAVAILABLE
from trigflow.runtime.retention import Retention
from trigflow.web.answers import Receive, Scope, Send
from trigflow.web.asgi import serve_http

__all__ = ["MEMORY", "REMEMBER", "Opened", "random_name"]

LONGEST_START = 5.0  # seconds that opening waits for the engine; health stays red meanwhile
REMEMBER = 60.0  # seconds between two notes of what this process wants


class Opened(Parts):
    """What exists while an app is open. Entered and left in one task."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._assemble(stack)
            refuse_in_children(self)
            if self._works:
                await self._work(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
        await self._stack.__aexit__(kind, error, trace)

    async def _work(self, stack: AsyncExitStack) -> None:
        """Start everything that goes on in the background, each under supervision."""
        await self.rows.ensure()
        stack.push_async_callback(self._leave)
        group = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(group.cancel_scope.cancel)
        keep = self._loops.keep
        group.start_soon(keep, "store", self.watch.watch)
        group.start_soon(keep, "wants", self._remember)
        group.start_soon(keep, "connections", self.clients.keep_fresh)
        group.start_soon(keep, "strangers", self.strangers.keep_up)
        for name, loop in self.upkeep.loops().items():
            group.start_soon(keep, name, loop)
        group.start_soon(keep, "retention", Retention(self.store, self.settings, self.clock).keep_up)
        if self._executes:
            ready = anyio.Event()
            group.start_soon(keep, "engine", lambda: self._execute(ready))
            with anyio.move_on_after(LONGEST_START):
                await ready.wait()
        if self._registers:
            group.start_soon(keep, "accounts", self.discovery.keep_up)
            group.start_soon(keep, "registration", self.registering.keep_in_line)

    # --- in the background

    async def _execute(self, ready: anyio.Event) -> None:
        await self.engine.serve(self.executor.handle, limit=self.settings.concurrency, ready=ready)

    async def _remember(self) -> None:
        while True:
            await self.clock.wait(anyio.Event(), until=self.clock.now() + REMEMBER)
            await self.rows.ensure()

    async def _leave(self) -> None:
        """Say that this process has ended; where that can't be kept, silence says it."""
        with anyio.move_on_after(LEAVE, shield=True), suppress(StoreError):
            await self.store.leave(self._owner)

    # --- how it is

    @property
    def _registers(self) -> bool:
        return self.settings.register != "off" and self.base_url is not None and bool(self.sources)

    @property
    def problem(self) -> str:
        """Why webhooks are not registered; empty where they are."""
        return self.registering.problem

    def parts(self) -> Sequence[Part]:
        """Tell how each part is."""
        return self._standing.parts()

    def drain(self) -> None:
        """Say that this process is about to end; nothing stops yet."""
        self._standing.drain()

    def forked(self) -> None:
        """Hear, in a child process, that nothing here may be used."""
        self._standing.forked()

    def serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one HTTP request."""
        self.upkeep.outages.serve()
        return serve_http(self, scope, receive, send)

    # --- what the intake asks for

    def knows(self, token: str) -> bool:
        """Tell whether an endpoint was found under this token before; asks nobody."""
        return self.routes.knows(token)

    async def exists(self, token: str) -> bool:
        """Tell whether there is an endpoint; raises StoreError where that can't be known now."""
        if self._standing.is_blocked:
            raise StoreUnavailable("this process can keep or execute nothing now; see /healthz")
        return await self.routes.find(token) is not None

    async def receive(self, token: str, request: Request) -> Response:
        """Answer a request at an endpoint."""
        if self._standing.is_blocked:
            return UNAVAILABLE
        response = await self.receiver.receive(token, request)
        if response is UNAVAILABLE:
            self.watch.note_refusal()
        return response

    def prove(self, nonce: str) -> dict[str, str]:
        """Answer a probe."""
        return self.registering.prober.prove(nonce, self.store.store_id)

    def prove_body(self, nonce: str, body: bytes, headers: Headers) -> dict[str, str]:
        """Answer a probe that has a body: what arrived of it."""
        return self.registering.prober.prove_body(nonce, self.store.store_id, body, headers)

    async def consent(self, path: str, scope: Scope) -> Response:
        """Answer the pages of a consent."""
        return NOT_FOUND if self.base_url is None else await self._oauth.answer(path, scope)

    # --- what people ask for

    async def replay(self, delivery: str, *, job: str | None) -> Sequence[str]:
        """Start the runs of a kept delivery anew."""
        return await self.replayer.replay(delivery, job=job)

    async def cancel(self, run: str) -> bool:
        """Stop a run."""
        at = int(self.clock.now() * 1000)
        return await self.store.cancel(run, self.engine.cancel(run), at=at)
