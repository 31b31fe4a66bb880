"""The HTTP around a fake provider: a server in threads of its own, bound to loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs


class Dropped(Exception):
    """The connection ends without an answer."""


@attrs.frozen
class Reply:
    """An answer; `afterwards` starts what happens in the background, maybe before the answer arrives.

    body: bytes, or what is written as JSON; None where there is none.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = attrs.Factory(dict[str, str])
    afterwards: Callable[[], object] | None = None


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@attrs.frozen
class Call:
    """A request that was made to the fake, and how it was answered; `path` has no query."""

    method: str
    path: str
    status: int


@attrs.frozen
class Received:
    """A request as it came in; names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Serves until closed; what answers runs in the thread of each connection.

    `answer` raises Dropped to end a connection without an answer.
    """

    def __init__(self, answer: Callable[[Received], Reply], *, port: int = 0) -> None:
        class Handler(_Handler):
            respond = staticmethod(answer)

        self._server = _Listener(("127.0.0.1", port), Handler)
        self._server.daemon_threads = False  # so that closing waits for answers under way
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url: str = f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def drop(self) -> None:
        """End every connection but the one whose thread calls."""
        self._server.drop()

    def close(self) -> None:
        """Stop serving and wait for the answers under way."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    """Knows its open connections."""

    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: dict[socket.socket, int] = {}  # with the thread that answers
        self._guard = threading.Lock()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in this thread, and remember which."""
        with self._guard:
            self._open[request] = threading.get_ident()
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def drop(self) -> None:
        """End all connections but the caller's own."""
        with self._guard:
            others = [open_ for open_, thread in self._open.items() if thread != threading.get_ident()]
        for one in others:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that ended, by the caller's death or our wish."""
        if not isinstance(sys.exception(), Dropped | OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    respond: Callable[[Received], Reply]
    timeout = 30  # seconds for a client that says nothing

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, self.rfile.read(length))
        reply = type(self).respond(received)
        self._write(reply)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _write(self, reply: Reply) -> None:
        body = b"" if reply.body is None else _encoded(reply.body)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            if "Content-Type" not in reply.headers:
                self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keep quiet; the fake keeps its calls."""


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
