"""A fake provider in a process of its own: starting it, telling it things, and being it.

FakeProcess ──starts──> python -m trigflow_….testing ──first line──> its URL
     └──ends, or dies──> the input of that ends, and so does it
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from trigflow.testing.fake_control import PREFIX

LONGEST = 60.0  # seconds that a fake may take to do what it is told


class FakeProcess:
    """Starts a fake, tells it things, and ends it; it ends with this process too."""

    def __init__(self, module: str, *options: str) -> None:
        """Prepare; module: that which serves the fake alone."""
        self.url: str = ""
        self._command = [sys.executable, "-m", module, "--with-parent", *options]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the fake did not start; its error is above")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Tell the fake something, see its ServedFake; ValueError where it does not understand."""
        return call(self.url, name, **arguments)


def call(url: str, name: str, /, **arguments: Any) -> Any:
    """Tell a fake that is served at `url` something, and return its result."""
    body = json.dumps(arguments).encode()
    request = Request(f"{url}{PREFIX}{name}", body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urlopen(request, timeout=LONGEST) as answer:  # noqa: S310 - our own
            return json.load(answer)["result"]
    except HTTPError as error:
        with error:
            raise ValueError(f"{name}: {json.load(error)['error']}") from None


class Served(Protocol):
    """A fake that serves."""

    @property
    def url(self) -> str:
        """Where it serves."""
        ...


def options(module: str, about: str | None) -> argparse.ArgumentParser:
    """Return the options that every fake has when it is served alone."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--port", type=int, default=0, help="the port to bind on 127.0.0.1; 0: any")
    parser.add_argument("--with-parent", action="store_true", help="end when the standard input ends")
    return parser


def serve_alone(fake: AbstractContextManager[Served], *, with_parent: bool) -> None:
    """Serve until SIGTERM, SIGINT or the end of the input, if that was asked for."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with fake as served:
        print(served.url, flush=True)  # noqa: T201 - whoever started it reads the port here
        if with_parent:
            threading.Thread(target=_end_with_input, args=(ended,), daemon=True).start()
        ended.wait()


def _end_with_input(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()
