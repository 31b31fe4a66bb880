"""Posting alerts to a URL, signed with Standard Webhooks (github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trigflow.core.alerts import Alert
from trigflow.core.errors import ApiError
from trigflow.core.http import Headers, Request
from trigflow.core.payloads import encode_json
from trigflow.runtime.health.alerts import told
from trigflow.runtime.ports import Clock
from trigflow.sources.keys import Key
from trigflow.sources.verify import standard_webhooks

if TYPE_CHECKING:
    import httpx

TIMEOUT = 15.0  # seconds, as Standard Webhooks advises
TYPE = "alert.raised"


class AlertWebhook:
    """Posts alerts to one URL."""

    def __init__(
        self, url: str, secret: str | None, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take a URL and, to sign with, a `whsec_` secret; without one nothing is signed."""
        self._url, self._clock, self._transport = url, clock, transport
        self._key = None if secret is None else Key(secret.encode())
        self._scheme = standard_webhooks()

    async def post(self, alert: Alert, id: str) -> None:  # noqa: A002 - the header's word
        """Post an alert; raises ApiError for any answer but 2xx, httpx.HTTPError where none came."""
        import httpx  # noqa: PLC0415 - 100 ms to import, and most apps post nothing

        body = encode_json({"type": TYPE, "timestamp": told(alert)["at"], "data": told(alert)})
        headers = {"content-type": "application/json", "webhook-id": id}
        if self._key is not None:
            request = Request("POST", self._url, Headers.of(headers), body)
            headers |= dict(self._scheme.sign(request, self._key, now=self._clock.now()))
        async with httpx.AsyncClient(timeout=TIMEOUT, transport=self._transport) as client:
            answer = await client.post(self._url, content=body, headers=headers)
        if not answer.is_success:  # a redirect is not followed: it is no receiver's answer
            raise ApiError(f"alert_url at {urlsplit(self._url).hostname}", answer.status_code, "not taken")
