"""What an app answers about its health. Pure: it is told how the parts are.

healthz    can this process go on by itself?      503: start another one in its place
readyz     should deliveries be sent here now?    503: send them elsewhere, ask again

A process that is merely restarting a part, or whose disk is full, is alive: a
new one would do no better. Nothing here holds an error's text, a path or a
secret; these are in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from trigflow.core.http import Response
from trigflow.runtime.health.supervise import Part

LIVENESS, READINESS = "/healthz", "/readyz"
# Without one of these, runs are not executed or nothing is kept, and only a new process may mend it.
VITAL = ("app", "store", "engine", "engine beat", "engine poll")
NEEDED = ("app", "store", "engine")  # for a delivery to be kept, and its runs to start at once
JSON = (("content-type", "application/json"), ("cache-control", "no-store"))


def health_answer(path: str, parts: Sequence[Part]) -> Response:
    """Answer a probe at LIVENESS or READINESS."""
    wrong = _not_alive(parts) if path == LIVENESS else _not_ready(parts)
    told = {
        "status": "failing" if wrong else "ok",
        "why": [f"{part.name}: {part.cause or part.state}" for part in wrong],
        "parts": {part.name: _told(part) for part in parts},
    }
    return Response(503 if wrong else 200, msgspec.json.encode(told), (*JSON, *_again(wrong)))


def _not_alive(parts: Sequence[Part]) -> Sequence[Part]:
    return [part for part in parts if part.name in VITAL and part.state == "failed"]


def _not_ready(parts: Sequence[Part]) -> Sequence[Part]:
    """Return what stands in the way; an engine that is off by a setting does not."""
    return [part for part in parts if part.name in NEEDED and part.state in ("restarting", "failed")]


def _told(part: Part) -> dict[str, str]:
    since = datetime.fromtimestamp(part.since, UTC).isoformat(timespec="seconds")
    return {"state": part.state, "since": since, "cause": part.cause}


def _again(wrong: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    return (("retry-after", "5"),) if wrong else ()
