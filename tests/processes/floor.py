"""Real processes on one store, deliveries sent to them, and what came of them."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
import attrs

APP = Path(__file__).with_name("counted.py")
DEADLINE = 60.0  # seconds
CONCURRENCY = 8  # as counted.py says
SENDERS = 8
AGAIN_EVERY = 10  # one of so many deliveries is sent twice
BODY = json.dumps(
    {"action": "opened", "issue": {"number": 1}, "repository": {"full_name": "acme/web"}}
).encode()


@attrs.frozen
class Effect:
    """A line of the job."""

    event: str
    pid: int
    at_once: int
    at: float


class Floor:
    """A folder with a store in it, and the processes that work on it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.store, self.effects = folder / "t.db", folder / "effects.txt"
        self.effects.touch()
        self._env = {
            **os.environ, "TRIGFLOW_STORE": str(self.store), "EFFECTS": str(self.effects), **environment,
        }  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._stack = ExitStack()
        self.processes: list[subprocess.Popen[str]] = []
        self.acknowledged: dict[str, float] = {}
        self.refused: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        self._stack.close()

    # --- processes

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `python -m` something in a process of its own."""
        log = self._stack.enter_context((self.folder / f"log{len(self.processes)}.txt").open("w"))
        process = self._stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=APP.parent, env=self._env, stdout=log, stderr=log, text=True,
            )
        )  # fmt: skip
        self.processes.append(process)
        return process

    def uvicorn(self, workers: int) -> subprocess.Popen[str]:
        return self.start(
            "uvicorn", "counted:app", "--workers", str(workers), "--port", str(self.port),
            "--log-level", "warning",
        )  # fmt: skip

    def serve(self, *options: str) -> subprocess.Popen[str]:
        return self.start("trigflow", "serve", "counted.py", "--port", str(self.port), *options)

    def work(self, *options: str) -> subprocess.Popen[str]:
        return self.start("trigflow", "work", "counted.py", *options)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("log*.txt")))

    # --- asking

    def get(self, path: str, *, method: str = "GET", port: int = 0) -> tuple[int, Any]:
        """Return status and JSON; 0 where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        except OSError:
            return 0, None
        finally:
            connection.close()
        return answer.status, json.loads(body) if body.startswith(b"{") else body

    def until(self, done: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Return as soon as something is so."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    def until_ready(self, port: int = 0) -> None:
        self.until(lambda: self.get("/readyz", port=port)[0] == 200)

    # --- sending

    def find_endpoint(self) -> None:
        """Learn the endpoint's path and key, as a person would."""
        shown = subprocess.run(
            [sys.executable, "-m", "trigflow", "endpoints", "counted.py", "--show-secrets", "--json"],
            cwd=APP.parent, env=self._env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        (endpoint,) = json.loads(shown.stdout)
        self.endpoint_path, key = endpoint["url"], endpoint["secret"].encode()
        self._signature = "sha256=" + hmac.new(key, BODY, hashlib.sha256).hexdigest()

    def send(self, connection: http.client.HTTPConnection, event: str) -> int:
        """Send one delivery; 0 where the connection broke."""
        headers = {
            "content-type": "application/json", "x-github-event": "issues",
            "x-github-delivery": event, "x-hub-signature-256": self._signature,
        }  # fmt: skip
        try:
            connection.request("POST", self.endpoint_path, BODY, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0
        return answer.status

    def deliver(self, count: int) -> None:
        """Send so many deliveries, each until it is acknowledged, as providers do."""
        senders = [threading.Thread(target=self._deliver, args=(count,)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(DEADLINE)
            assert not sender.is_alive(), self.logs()

    def _deliver(self, count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while True:
            with self._lock:
                number = self._sent
                if number >= count:
                    break
                self._sent += 1
            event = f"event-{number}"
            for _ in range(2 if number % AGAIN_EVERY == 0 else 1):
                while (status := self.send(connection, event)) != 200:
                    self.refused[status] += 1
                    assert status in (0, 503), f"{event}: {status}"
                    time.sleep(0.05)
                self.acknowledged.setdefault(event, time.time())
        connection.close()

    # --- looking

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.store), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5_000)
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def done(self) -> bool:
        return self.rows("SELECT (SELECT count(*) FROM runs) - (SELECT count(*) FROM finishes)") == [(0,)]

    def lines(self) -> Sequence[Effect]:
        found: list[Effect] = []
        for line in self.effects.read_text().splitlines():
            event, pid, at_once, at = line.split()
            found.append(Effect(event, int(pid), int(at_once), float(at)))
        return found

    def verdict(self, *, killed: Sequence[int] = ()) -> dict[str, Any]:
        """Say what is wrong with what ran, and how long it took from the answer to the job."""
        effects: defaultdict[str, list[Effect]] = defaultdict(list)
        for line in self.lines():
            effects[line.event].append(line)
        twice = [lines for lines in effects.values() if len(lines) > 1]
        excused = [lines for lines in twice if any(line.pid in killed for line in lines[:-1])]
        waits = sorted(
            effects[event][0].at - at for event, at in self.acknowledged.items() if effects.get(event)
        )
        return {
            "acknowledged": len(self.acknowledged),
            "refused": dict(self.refused),
            "lost": sum(not effects.get(event) for event in self.acknowledged),
            "twice": len(twice) - len(excused),
            "twice_because_killed": len(excused),
            "runs_per_event_over_1": len(
                self.rows("SELECT event FROM runs GROUP BY event HAVING count(*) > 1")
            ),
            "not_succeeded": self.rows("SELECT count(*) FROM finishes WHERE state <> 'succeeded'")[0][0],
            "tasks_missing": self.rows(
                "SELECT count(*) FROM runs WHERE id NOT IN "
                "(SELECT run_id FROM tasks WHERE state = 'succeeded')"
            )[0][0],
            "left_in_queue": self.rows("SELECT count(*) FROM queue")[0][0],
            "most_at_once": max((line.at_once for line in self.lines()), default=0),
            "processes": len({line.pid for line in self.lines()}),
            "wait_p50_ms": round(1000 * waits[len(waits) // 2], 1) if waits else None,
            "wait_p99_ms": round(1000 * waits[len(waits) * 99 // 100], 1) if waits else None,
        }


def wrong(verdict: dict[str, Any]) -> list[str]:
    """Name what no campaign may show."""
    names = ("lost", "twice", "runs_per_event_over_1", "not_succeeded", "tasks_missing", "left_in_queue")
    found = [name for name in names if verdict[name]]
    return found + (["most_at_once"] if verdict["most_at_once"] > CONCURRENCY else [])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
