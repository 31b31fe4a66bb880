"""The load: wrk, which sends one signed delivery after another, each with an id of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import attrs

HERE = Path(__file__).parent
PAYLOAD = HERE / "payloads" / "issues.opened.json"
SECRET = "trigflow-bench-secret"


@attrs.frozen
class Target:
    """Where deliveries are sent and how they are signed."""

    port: int
    path: str = "/webhook"
    secret: str = attrs.field(default=SECRET, repr=False)

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"http://127.0.0.1:{self.port}{self.path}"


@attrs.frozen
class Answered:
    """What came back: deliveries answered 2xx, in seconds; times in milliseconds."""

    accepted: int
    errors: int
    seconds: float
    p50: float
    p99: float
    longest: float


def signature_of(secret: str, body: bytes) -> str:
    """Return GitHub's signature, in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(target: Target, *, forged: bool = False, delivery: str) -> int:
    """Send one delivery; return the status of the answer."""
    body = PAYLOAD.read_bytes()
    headers = {
        "content-type": "application/json",
        "x-github-event": "issues",
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={signature_of('forged' if forged else target.secret, body)}",
    }
    request = urllib.request.Request(target.url, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def send(target: Target, *, connections: int, seconds: int, series: int, core: int) -> Answered:
    """Keep connections busy for some seconds.

    series: makes the ids of the deliveries unique among loads, below 16**8.
    """
    env = {
        "PAYLOAD": str(PAYLOAD),
        "EVENT": "issues",
        "SIG": signature_of(target.secret, PAYLOAD.read_bytes()),
        "WPATH": target.path,
        "RUNID": f"{series:08x}",
    }
    command = [
        "taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
        "-s", str(HERE / "github.lua"), target.url,
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("WRKJSON ")]
    told = json.loads(line.removeprefix("WRKJSON "))
    lost = sum(told[f"err_{kind}"] for kind in ("connect", "read", "write", "timeout"))
    return Answered(
        accepted=told["requests"] - told["err_status"],
        errors=lost + told["err_status"],
        seconds=told["duration_us"] / 1e6,
        p50=told["p50"] / 1e3,
        p99=told["p99"] / 1e3,
        longest=told["max"] / 1e3,
    )
