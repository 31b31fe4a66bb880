"""What one delivery costs the processor, inside one process: no server, no sockets, no load generator.

    JOB=1 python -m benchmarks.budget [deliveries a round] [rounds]

Real signed deliveries go straight into the ASGI app, 32 at a time, on uvloop. Processor time
is noisy on a machine that others use, too: compare two trees by starting them in turns, with
PYTHONPATH, and believe the least of many rounds. Calls of Python functions are exact.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from types import FrameType
from typing import Any

import anyio
import attrs

from benchmarks.load import PAYLOAD, signature_of

IN_FLIGHT = 32
DEFAULTS = ("1280", "7")  # deliveries a round, rounds
WARM_UP, COUNTED = 640, 320  # deliveries
LOOK = 0.005  # seconds between two looks whether all runs have ended
NEWEST = 2 * IN_FLIGHT  # runs that are looked at: those before them began, and ended, earlier


@attrs.frozen
class Cost:
    """What a delivery costs: processor time in µs, and calls of Python functions."""

    least: float
    median: float
    calls: float

    def __str__(self) -> str:
        return f"µs per event: {self.least:.1f} at least, {self.median:.1f} median; {self.calls:.0f} calls"


async def measure(hooks: Any, target: dict[str, str], *, deliveries: int, rounds: int) -> Cost:
    """Send rounds of deliveries into an open app."""
    sender = _Sender(hooks, target["path"], target["secret"])
    await sender.round(WARM_UP)
    calls = await _calls(sender)
    times = sorted([await sender.round(deliveries) for _ in range(rounds)])
    return Cost(times[0], times[len(times) // 2], calls)


async def _calls(sender: _Sender) -> float:
    count = 0

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        await sender.round(COUNTED)
    finally:
        sys.setprofile(None)
    return count / COUNTED


class _Sender:
    def __init__(self, hooks: Any, path: str, secret: str) -> None:
        self._hooks, self._path, self._sent = hooks, path, 0
        self._body = PAYLOAD.read_bytes()
        fields = {
            "host": "127.0.0.1",
            "content-type": "application/json",
            "content-length": str(len(self._body)),
            "user-agent": "GitHub-Hookshot/044aadd",
            "x-github-event": "issues",
            "x-hub-signature-256": f"sha256={signature_of(secret, self._body)}",
        }
        self._fields = [(name.encode(), value.encode()) for name, value in fields.items()]

    async def round(self, deliveries: int) -> float:
        """Return the µs that each took, from the request to the end of its run."""
        before = time.process_time()
        await asyncio.gather(*(self._some(deliveries // IN_FLIGHT) for _ in range(IN_FLIGHT)))
        while not await self._all_ended():  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(LOOK)
        return (time.process_time() - before) / deliveries * 1e6

    async def _all_ended(self) -> bool:
        runs = await self._hooks.opened.store.runs(limit=NEWEST)
        return all(run.state == "succeeded" for run in runs)

    async def _some(self, deliveries: int) -> None:
        for _ in range(deliveries):
            await asyncio.create_task(self._one())  # as a server does it

    async def _one(self) -> None:
        self._sent += 1
        name = (b"x-github-delivery", b"%032x" % self._sent)
        scope = {
            "type": "http", "method": "POST", "path": self._path, "raw_path": self._path.encode(),
            "query_string": b"", "headers": [*self._fields, name],
        }  # fmt: skip
        await self._hooks(scope, self._receive, _accepted)

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}


async def _accepted(message: Any) -> None:
    if message.get("status", 200) != 200:
        raise SystemExit(f"a delivery was answered {message['status']}")


async def _main(deliveries: int, rounds: int) -> Cost:
    from benchmarks.peers.trigflow_job import hooks, tell

    async with hooks:
        await tell()
        target = json.loads(await anyio.Path(os.environ["ENDPOINT"]).read_text())
        # As `trigflow serve` does it: what is there for good is not walked over again and again.
        gc.collect()
        gc.freeze()
        return await measure(hooks, target, deliveries=deliveries, rounds=rounds)


def main() -> None:
    """Measure in a folder that goes away."""
    import uvloop

    deliveries, rounds = (int(given) for given in (*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]))
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        os.environ |= {"DB": f"{folder}/bench.db", "ENDPOINT": f"{folder}/endpoint"}
        print(runner.run(_main(deliveries, rounds)))


if __name__ == "__main__":
    main()
