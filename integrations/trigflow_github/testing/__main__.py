"""Serve a fake GitHub until it is told to end: `python -m trigflow_github.testing`.

Prints its URL as the first line. What it knows is in memory and outlives its callers.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from types import FrameType

from trigflow_github.testing.control import ServedFake
from trigflow_github.testing.fake import TOKEN


def main() -> None:
    """Serve until SIGTERM, SIGINT or the end of the input, if that was asked for."""
    told = _options().parse_args()
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with ServedFake(told.token, limit=told.limit, port=told.port) as fake:
        print(fake.url, flush=True)  # noqa: T201 - whoever started it reads the port here
        if told.with_parent:
            threading.Thread(target=_end_with_input, args=(ended,), daemon=True).start()
        ended.wait()


def _end_with_input(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trigflow_github.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port to bind on 127.0.0.1; 0: any")
    parser.add_argument("--token", default=TOKEN, help="the token that it knows from the start")
    parser.add_argument("--limit", type=int, default=5000, help="requests that a caller has in an hour")
    parser.add_argument("--with-parent", action="store_true", help="end when the standard input ends")
    return parser


if __name__ == "__main__":
    main()
