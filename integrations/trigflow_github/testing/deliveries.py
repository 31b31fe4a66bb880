"""How GitHub delivers: what it signs and sends, and what it remembers of it.

Certain: nothing is tried again by itself; every attempt has a number of its own, and a
redelivery keeps the GUID; an attempt may be redelivered for 3 days (documentation since
2024). Not certain: that the log of the API goes back 30 days, what a late redelivery is
told (here 422), and what the log shows where no answer came (here 502).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

import attrs

from trigflow_github.testing.answers import Json
from trigflow_github.testing.hooks import FakeHook, written

TIMEOUT = 10.0  # seconds; as long as GitHub waits
KEPT = timedelta(days=30)
REDELIVERABLE = timedelta(days=3)
_FORM = "application/x-www-form-urlencoded"
_TARGETS = {"Repository": "repository", "Organization": "organization", "App": "integration"}
UNREACHABLE = 502  # what GitHub's list of deliveries shows where no answer came


@attrs.frozen
class Attempt:
    """One attempt to deliver an event to one hook.

    id: its own number; delivery: the GUID, the same for every attempt at an event.
    status: 0 where no answer came; then `error` says why. duration: seconds.
    throttled_at: when GitHub held it back, if it did.
    """

    id: int
    delivery: str
    hook_id: int
    event: str
    url: str
    payload: bytes = attrs.field(repr=False)
    request_headers: Mapping[str, str] = attrs.field(repr=False)
    request_body: bytes = attrs.field(repr=False)
    delivered_at: datetime
    redelivery: bool = False
    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    body: bytes = b""
    duration: float = 0.0
    error: str = ""
    throttled_at: datetime | None = None

    @property
    def ok(self) -> bool:
        """Tell whether GitHub counts it as delivered."""
        return 200 <= self.status < 300

    def shown(self) -> Json:
        """Show it as an entry of GitHub's list of deliveries."""
        payload: Json = json.loads(self.payload) or {}
        repository: Json = payload.get("repository") or {}
        installation: Json = payload.get("installation") or {}
        return {
            "id": self.id,
            "guid": self.delivery,
            "delivered_at": written(self.delivered_at),
            "redelivery": self.redelivery,
            "duration": round(self.duration, 2),
            "status": self._outcome(),
            "status_code": self.status or UNREACHABLE,
            "event": self.event,
            "action": payload.get("action"),
            "installation_id": installation.get("id"),
            "repository_id": repository.get("id"),
            "throttled_at": written(self.throttled_at) if self.throttled_at else None,
        }

    def shown_whole(self) -> Json:
        """Show it with request and response."""
        answered = {"headers": dict(self.headers), "payload": self.body.decode("utf-8", "replace")}
        sent = {"headers": dict(self.request_headers), "payload": json.loads(self.payload)}
        return self.shown() | {"url": self.url, "request": sent, "response": answered}

    def _outcome(self) -> str:
        if self.ok:
            return "OK"
        return f"Invalid HTTP Response: {self.status}" if self.status else "failed to connect"


def prepared(
    hook: FakeHook,
    event: str,
    payload: bytes,
    *,
    number: int,
    delivery: str,
    now: datetime,
    key: str | None,
    content_type: str | None = None,
    redelivery: bool = False,
    throttled_at: datetime | None = None,
) -> Attempt:
    """Make the signed request for one hook; key: the secret to sign with, None: unsigned."""
    kind = content_type or ("application/json" if hook.content_type == "json" else _FORM)
    body = urlencode({"payload": payload}).encode() if kind == _FORM else payload
    headers = {
        "Accept": "*/*",
        "Content-Type": kind,
        "User-Agent": "GitHub-Hookshot/0000000",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": str(hook.id),
        "X-GitHub-Hook-Installation-Target-ID": str(hook.target_id),
        "X-GitHub-Hook-Installation-Target-Type": _TARGETS[hook.kind],
        **_signatures(key, body),
    }
    return Attempt(
        number,
        delivery,
        hook.id,
        event,
        hook.url,
        payload,
        headers,
        body,
        now,
        redelivery=redelivery,
        throttled_at=throttled_at,
    )


def _signatures(key: str | None, body: bytes) -> dict[str, str]:
    if key is None:
        return {}
    return {
        "X-Hub-Signature": "sha1=" + hmac.new(key.encode(), body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest(),
    }


def sent(attempt: Attempt, *, verify: bool = True) -> Attempt:
    """Send a request and return the attempt with what came of it; follows no redirect."""
    parts = urlsplit(attempt.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started = time.perf_counter()
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, verify=verify)
    try:
        connection.request("POST", target, attempt.request_body, dict(attempt.request_headers))
        answer = connection.getresponse()
        body, status, headers = answer.read(), answer.status, dict(answer.getheaders())
    except (OSError, http.client.HTTPException) as error:
        return attrs.evolve(attempt, duration=time.perf_counter() - started, error=repr(error))
    finally:
        connection.close()
    took = time.perf_counter() - started
    return attrs.evolve(attempt, status=status, headers=headers, body=body, duration=took)


def _connection(scheme: str, host: str, port: int | None, *, verify: bool) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
