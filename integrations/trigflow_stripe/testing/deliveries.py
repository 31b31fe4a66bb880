"""How Stripe delivers: what it signs and sends, and when it tries again.

Certain: an endpoint that does not answer 2xx is tried again for up to 3 days with
exponential backoff in live mode, and 3 times over a few hours in a sandbox; each try has a
time and signature of its own and the event's old id. Not certain: the moments themselves,
which Stripe does not publish, and how long it waits for an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import attrs

TIMEOUT = 10.0  # seconds
# After each failure; doubling, all within 3 days.
LIVE_RETRIES: tuple[timedelta, ...] = tuple(timedelta(hours=2**n) for n in range(6))
SANDBOX_RETRIES: tuple[timedelta, ...] = (timedelta(hours=1), timedelta(hours=2))


@attrs.frozen
class Attempt:
    """One try to deliver an event to one endpoint.

    number: 1 for the first. status: 0 where no answer came; then `error` says why.
    """

    event: str
    type: str
    endpoint: str
    url: str
    number: int
    at: datetime
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    status: int = 0
    answer: bytes = b""
    error: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether Stripe counts it as delivered."""
        return 200 <= self.status < 300


def signature(body: bytes, secrets: Sequence[str], *, at: datetime, decoy: bool) -> str:
    """Return the header field: the time, a v1 for each secret, and in test mode a v0 that means nothing."""
    moment = str(int(at.timestamp()))
    items = [f"t={moment}"]
    items += [f"v1={_mac(secret, moment, body)}" for secret in secrets]
    return ",".join([*items, f"v0={_mac('decoy', moment, body)}"] if decoy else items)


def _mac(secret: str, moment: str, body: bytes) -> str:
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def headers_of(signed: str) -> dict[str, str]:
    """Return the header fields of a delivery."""
    return {
        "Accept": "*/*; q=0.5, application/xml",
        "Cache-Control": "no-cache",
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signed,
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }


def sent(attempt: Attempt) -> Attempt:
    """Send a request and return the attempt with what came of it; follows no redirect."""
    parts = urlsplit(attempt.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    try:
        connection.request("POST", target, attempt.body, dict(attempt.headers))
        answer = connection.getresponse()
        return attrs.evolve(attempt, status=answer.status, answer=answer.read())
    except (OSError, http.client.HTTPException) as error:
        return attrs.evolve(attempt, error=repr(error))
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
