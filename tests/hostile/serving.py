"""A server in a process of its own, and a sender that writes to its socket whatever it likes."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

KEY = "s3cr3t-of-the-server-0123456789"
SERVER = Path(__file__).with_name("server.py")
ROOT = SERVER.parents[2]
PATIENCE = 30.0  # seconds until something that does not happen is a failure
MB = 1024 * 1024
GROWTH = 150 * MB  # of memory, at most, whatever is sent


@attrs.frozen
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    port: int
    path: str

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def head(self, *fields: str, path: str | None = None, method: str = "POST") -> bytes:
        lines = [f"{method} {path or self.path} HTTP/1.1", "Host: h", *fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def delivery(self, id: str, more: bytes = b"") -> bytes:  # noqa: A002
        """Return a genuine delivery, byte for byte."""
        body = b'{"id":"%s","more":"%s"}' % (id.encode(), more)
        signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        return self.head(f"X-Sig: {signature}", f"Content-Length: {len(body)}") + body

    def works(self) -> bool:
        """Tell whether a genuine delivery is accepted."""
        return self.answer_to(self.delivery(f"works{time.monotonic_ns()}")).status == 200

    def answer_to(self, *pieces: bytes) -> Answer:
        with closing(self.connect()) as sender:
            send(sender, *pieces)
            return answer(sender)


@attrs.frozen
class Answer:
    """What came back: status 0 where the server hung up without a word."""

    status: int
    headers: dict[str, str]


def send(sender: socket.socket, *pieces: bytes) -> None:
    """Send as far as the server listens."""
    try:
        for piece in pieces:
            sender.sendall(piece)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        pass


def done(sender: socket.socket) -> None:
    """Say that nothing more is sent."""
    with suppress(OSError):  # the server may have hung up
        sender.shutdown(socket.SHUT_WR)


def answer(sender: socket.socket) -> Answer:
    """Read one answer."""
    received = b""
    with suppress(ConnectionResetError):
        while not _is_whole(received) and (more := sender.recv(65536)):
            received += more
    if not received:
        return Answer(0, {})
    head, _, _ = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return Answer(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields})


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return bool(end) and (length is None or len(body) >= int(length[1]))


@contextmanager
def serving(http: str, **settings: Any) -> Iterator[Server]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    told = json.dumps({"store": "memory:", **settings})
    command = [sys.executable, str(SERVER), str(port), http, KEY, told]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            server = Server(process, port, json.loads(process.stdout.readline())["path"])
            until(lambda: listens(server))
            yield server
            assert process.poll() is None, "the server has died"
        finally:
            process.kill()


def listens(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)  # another process: there is nothing to wait on
