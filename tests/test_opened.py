"""An open app on its own: it registers once its URL leads here, and keeps at it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
import uvicorn

from trigflow import App, trigger
from trigflow_github import GitHub
from trigflow_github.payloads import Issues
from trigflow_github.testing import FakeGitHub

PATIENCE = 15


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(app: App, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def app_at(fake: FakeGitHub, url: str, store: Path) -> App:
    hub = GitHub(base_url=fake.url)

    @trigger(hub.issues(repo="acme/web"), id="job")
    async def job(payload: Issues) -> None: ...

    return App([job], url=url, store=str(store), connections={hub: "token"})


async def until(found: object) -> None:
    assert callable(found)
    with anyio.fail_after(PATIENCE):
        while not found():
            await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_the_webhook_is_there_soon_after_the_server_listens(tmp_path: Path) -> None:
    port = free_port()
    with FakeGitHub(token="token") as fake:
        app = app_at(fake, f"http://127.0.0.1:{port}", tmp_path / "t.db")
        with served(app, port):
            await until(lambda: fake.hooks("acme/web"))
            await until(lambda: app.opened.engine.alive and not app.opened.problem)


@pytest.mark.anyio
async def test_a_url_that_does_not_lead_here_registers_nothing_and_the_problem_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeGitHub(token="token") as fake:
        app = app_at(fake, f"http://127.0.0.1:{free_port()}", tmp_path / "t.db")
        async with app:
            await until(lambda: app.opened.problem)
            assert "can't be reached" in app.opened.problem
        assert fake.hooks("acme/web") == []
    assert caplog.text.count("webhooks are not registered") == 1
