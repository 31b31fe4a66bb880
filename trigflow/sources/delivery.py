"""A verified delivery, as a handler or a job sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

from trigflow.core.http import Headers, Request
from trigflow.sources.decode import Decoded

P = TypeVar("P")
D = TypeVar("D")


@attrs.frozen
class Delivery(Generic[P, D]):
    """A verified delivery, as a handler or a job sees it.

    params, data: of the subscription that it came for; data is None before the
        first registration.
    metadata: what the handler last returned as `Metadata`.
    """

    id: str
    request: Request
    received_at: datetime
    decoded: Decoded = attrs.field(repr=False)
    params: P
    data: D | None
    metadata: Any = None

    @property
    def payload(self) -> Any:
        """The decoded body; DecodeError where it is not JSON. An event that is all of it needs none."""
        return self.decoded.payload

    @property
    def text(self) -> bytes:
        """The JSON text of the payload."""
        return self.decoded.text

    @property
    def headers(self) -> Headers:
        """The header fields; credentials among them are redacted in a job."""
        return self.request.headers

    @property
    def body(self) -> bytes:
        """The body as received."""
        return self.request.body
