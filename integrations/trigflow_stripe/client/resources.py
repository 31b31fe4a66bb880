"""What only the client answers with; resources that events carry too are in `payloads`."""

from __future__ import annotations

from typing import Any

from trigflow import Payload, payload


@payload
class WebhookEndpoint(Payload):
    """A webhook endpoint.

    secret: only in the answer that made it. status: "enabled" or "disabled".
    application: the Connect application that it belongs to, if it does.
    """

    id: str
    url: str
    enabled_events: list[str]
    status: str
    created: int = 0
    livemode: bool = False
    api_version: str | None = None
    application: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return (
            f"WebhookEndpoint(id={self.id!r}, status={self.status!r}, enabled_events={self.enabled_events!r})"
        )
