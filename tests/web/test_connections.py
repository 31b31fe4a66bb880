"""A connection that does not bring a request in time is closed; one that does is not."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from trigflow.web import connections
from trigflow.web.connections import BoundedH11, bounded_protocol

pytestmark = pytest.mark.anyio
PATIENCE = 20.0  # seconds until something that does not happen is a failure
SOON = 0.2  # seconds instead of the real timeout


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """uvicorn runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(params=["h11", "httptools"], autouse=True)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", SOON)
    if request.param == "h11":
        return BoundedH11
    pytest.importorskip("httptools")
    from trigflow.web import fast_connections

    monkeypatch.setattr(fast_connections, "HEAD_TIMEOUT", SOON)
    assert bounded_protocol() is fast_connections.BoundedHttpTools
    return fast_connections.BoundedHttpTools


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@asynccontextmanager
async def serving(protocol: Any) -> AsyncGenerator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            hello, http=protocol, lifespan="off", log_level="critical", timeout_keep_alive=60
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serves = asyncio.create_task(server.serve([bound]))
        while not server.started:
            await asyncio.sleep(0.005)
        yield bound.getsockname()[1]
        server.should_exit = True
        await serves


async def is_closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1000):
                pass
        return True


@pytest.mark.parametrize("begun", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: h\r\nX-A: b"])
async def test_a_connection_without_a_whole_head_is_closed(protocol: Any, begun: bytes) -> None:
    async with serving(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert await is_closed(reader)
        writer.close()


async def test_a_connection_that_brought_a_request_is_kept(protocol: Any) -> None:
    async with serving(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(SOON * 1.5)  # longer than a head may take: there is nothing to wait on
        writer.close()


async def test_a_second_head_that_does_not_end_is_closed_too(protocol: Any) -> None:
    if protocol is BoundedH11:
        pytest.skip("h11 shows no head before it is whole; it is 64 KiB at most")
    async with serving(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"hi")
        writer.write(b"GET / HTTP/1.1\r\nHost")
        assert await is_closed(reader)
        writer.close()
