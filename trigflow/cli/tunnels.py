"""A public URL for a port of this machine: through cloudflared or ngrok, if one is installed.

start ─> read its output until it names a URL ─> serve ─> stop it
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from time import monotonic

import attrs

from trigflow.core.errors import SetupError

PATIENCE = 30.0  # seconds until a tunnel must have named its URL
ENDING = 5.0  # seconds that it gets to stop


@attrs.frozen
class Tunnel:
    """A program that makes a tunnel, and what its URL looks like in its output."""

    program: str
    arguments: Callable[[int], Sequence[str]]
    url: re.Pattern[str]


TUNNELS = (
    Tunnel(
        "cloudflared",
        lambda port: ("tunnel", "--no-autoupdate", "--url", f"http://127.0.0.1:{port}"),
        re.compile(r"https://[a-z0-9-]+\.trycloudflare\.com"),
    ),
    Tunnel(
        "ngrok",
        lambda port: ("http", str(port), "--log", "stdout", "--log-format", "logfmt"),
        re.compile(r"(?<=url=)https://[^\s\"]+"),
    ),
)
INSTALL = (
    "--tunnel needs cloudflared (developers.cloudflare.com/cloudflare-one, needs no account) or ngrok "
    "(ngrok.com/download) on the PATH; install one, or run any other tunnel and pass its address: --url https://…"
)


@contextmanager
def opened(port: int) -> Generator[str, None, None]:
    """Run the first tunnel that is installed and yield its public URL; SetupError where there is none."""
    from shutil import which  # with what it imports 1 MB, which `serve` would keep

    found = next(((tunnel, path) for tunnel in TUNNELS if (path := which(tunnel.program))), None)
    if found is None:
        raise SetupError(INSTALL)
    tunnel, path = found
    process = subprocess.Popen(  # noqa: S603 - found on the PATH, arguments are ours
        [path, *tunnel.arguments(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    reader = _Reader(process)
    try:
        yield _url(tunnel, process, reader.lines)
    finally:
        _stop(process)
        reader.thread.join(ENDING)


class _Reader:
    """Reads a tunnel's output for as long as it runs: a full pipe would stop it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: Queue[str | None] = Queue()
        self._process = process
        self.thread = threading.Thread(target=self._read, name="tunnel", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for
        with self._process.stdout as output:
            for line in output:
                self.lines.put(line)
        self.lines.put(None)


def _url(tunnel: Tunnel, process: subprocess.Popen[str], lines: Queue[str | None]) -> str:
    deadline, last = monotonic() + PATIENCE, ""
    while True:
        try:
            line = lines.get(timeout=max(deadline - monotonic(), 0))
        except Empty:
            raise SetupError(
                f"{tunnel.program} named no URL within {PATIENCE:g} s; it said: {last}"
            ) from None
        if line is None:
            raise SetupError(f"{tunnel.program} ended with {process.wait()}; it said: {last}")
        found = tunnel.url.search(line)
        if found:
            return found[0]
        last = line.strip() or last


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
