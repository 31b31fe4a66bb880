"""Examples in a real server: uvicorn in a thread of its own, on a free port, with a fake GitHub."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import anyio
import attrs
import uvicorn

from trigflow import App

T = TypeVar("T")
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 20  # seconds until something that does not happen is a failure


def load(name: str) -> ModuleType:
    """Import an example anew, as a server would."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@attrs.frozen
class Served:
    """A server that runs; `call` runs a coroutine function on its loop."""

    url: str
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run something where the app lives, and return what it returns."""

        async def run() -> T:
            with anyio.fail_after(PATIENCE):
                return await function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE + 5)


class _Loud(uvicorn.Server):
    """Tells when it has started, or ended before."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.known = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.known.set()


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    """Hold a free port and tell its URL before anything serves there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held, f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def serving(app: Any, held: socket.socket, url: str) -> Iterator[Served]:
    """Serve an ASGI app on a port that is held."""
    server = _Loud(uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=5))

    def serve() -> None:
        try:
            asyncio.run(server.serve([held]))
        finally:
            server.known.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert server.known.wait(PATIENCE)
        assert server.loop is not None, "the app did not start"
        yield Served(url, server.loop)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


async def ended(app: App, job: str) -> list[str]:
    """Wait until every run of a job has ended, at least one; return their states."""
    while True:
        runs = await app.opened.store.runs(limit=10, job=job)
        if runs and all(run.ended_at is not None for run in runs):
            return [run.state for run in runs]
        await anyio.sleep(0.01)  # a real server's own time: there is nothing to wait on from outside
