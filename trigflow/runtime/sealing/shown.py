"""What people are shown of bodies and payloads: marked values hidden, all of it where it can't be told.

Marks are paths in a payload. Where in the body of a delivery they lead is known only if
the payload is the body; a part of it, or a form around it, is hidden whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trigflow.core.errors import PayloadError, StoreUnusable
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.payloads import decode_json_text, encode_json
from trigflow.core.redact import HIDDEN
from trigflow.runtime import views as v
from trigflow.runtime.sealing.sealed import Sealer

GONE = b"[no longer kept]"
CLOSED = b"[sealed; its app is needed to show it]"
UNAVAILABLE = b"[sealed; set TRIGFLOW_SECRET_KEY to the key (or keys) that the store was used with]"


def shown_payload(text: bytes, marked: Marked | None, *, sealed: bool) -> bytes:
    """Return a payload (JSON text, opened) with its marked values hidden.

    marked: None where the event is not known; a sealed one is then hidden whole.
    """
    if not marked:
        return encode_json(HIDDEN) if sealed and marked is None else text
    try:
        return encode_json(marked.hidden(decode_json_text(text)))
    except (PayloadError, RecursionError):
        return encode_json(HIDDEN)


def shown_body(body: bytes, payloads: Sequence[tuple[bytes, Marked | None]], *, sealed: bool) -> bytes:
    """Return the body of a delivery with the marked values of its events hidden.

    payloads: the text of each event, and its marks. Where a payload with marked
    fields is not the very body, nobody knows where in the body they are: all of it is hidden.
    """
    if not sealed and not any(marked for _, marked in payloads):
        return body
    if not payloads or any(marked is None or (marked and text != body) for text, marked in payloads):
        return HIDDEN.encode()
    together = NOTHING
    for _, marked in payloads:
        together |= marked or NOTHING
    return shown_payload(body, together, sealed=sealed)


class Payloads(Protocol):
    """Where payloads are kept."""

    async def payload(self, event_row: str) -> bytes | None:
        """Return an event's JSON text, sealed or not."""
        ...


class Shown:
    """Shows what a store keeps, with the keys and the marks of its app."""

    def __init__(self, payloads: Payloads, sealer: Sealer | None) -> None:
        """Without a sealer, what is sealed stays closed."""
        self._payloads, self._sealer = payloads, sealer

    async def body(self, row: v.DeliveryRow, body: bytes | None, events: Sequence[v.EventRow]) -> bytes:
        """Return the body of a delivery as people may see it, or a remark in its place."""
        if body is None:
            return GONE
        if not body:
            return body  # no longer kept, or never there
        if self._sealer is None:
            return CLOSED if row.sealed else body
        try:
            opened = self._sealer.text(body, sealed=row.sealed)
            payloads = [(await self._opened(event), self._of(row, event)) for event in events]
        except StoreUnusable:
            return UNAVAILABLE
        return shown_body(opened, payloads, sealed=row.sealed)

    async def payload(self, row: v.DeliveryRow, event: v.EventRow) -> bytes:
        """Return an event's payload as people may see it, or a remark in its place."""
        if self._sealer is None and event.sealed:
            return CLOSED
        try:
            if (kept := await self._payloads.payload(event.id)) is None:
                return GONE
            opened = kept if self._sealer is None else self._sealer.text(kept, sealed=event.sealed)
            return shown_payload(opened, self._of(row, event), sealed=event.sealed)
        except StoreUnusable:
            return UNAVAILABLE

    async def _opened(self, event: v.EventRow) -> bytes:
        kept = await self._payloads.payload(event.id)
        if not kept:
            return b"null"  # no longer kept
        return kept if self._sealer is None else self._sealer.text(kept, sealed=event.sealed)

    def _of(self, row: v.DeliveryRow, event: v.EventRow) -> Marked | None:
        return None if self._sealer is None else self._sealer.marks.of(row.source, event.name)
