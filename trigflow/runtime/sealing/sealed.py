"""Bodies and payloads with marked fields: sealed before they are stored, opened for the job.

    received ─> packed, sealed ─> store ─> opened ─> job, replay
                                              └────> shown.py

A body is sealed whole: where in it a field stands is known of its events only. What a
handler did not understand is sealed, too, if any event of its source has marked fields.
"""

from __future__ import annotations

import importlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from trigflow.core.jobs import Job
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.triggers import Specification
from trigflow.runtime import records as r
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.integration import Integration

# Without stubs of its own; what it takes and gives is said here once.
_lz4: Any = importlib.import_module("lz4.block")
_compress: Callable[[bytes], bytes] = _lz4.compress
_decompress: Callable[[bytes], bytes] = _lz4.decompress


class Marks:
    """The marked fields of all events that an app knows, by source and name as received."""

    def __init__(self, specifications: Iterable[Specification]) -> None:
        """Collect; what several specifications mark of one event is marked."""
        self._known: dict[str, dict[str, Marked]] = {}
        for one in specifications:
            events = self._known.setdefault(one.source.id, {})
            events[one.name] = events.get(one.name, NOTHING) | one.marked
        self._marking = {source for source, events in self._known.items() if any(events.values())}

    @classmethod
    def of_app(cls, jobs: Mapping[str, Job], integrations: Iterable[Integration]) -> Marks:
        """Collect what an app's integrations declare, and what its triggers come from."""
        declared = (one for integration in integrations for _, one in integration.specifications())
        listened = (listens.trigger.specification for job in jobs.values() for listens in job.listens)
        return cls((*declared, *listened))

    def of(self, source: str, event: str) -> Marked | None:
        """Return the marked fields of an event; None where nothing is known of it."""
        return self._known.get(source, {}).get(event)

    def in_source(self, source: str) -> bool:
        """Tell whether any event of a source has marked fields."""
        return source in self._marking

    def must_seal(self, source: str, events: Sequence[str]) -> bool:
        """Tell whether a delivery with these events is sealed.

        It stays open only if all that it brought is known, and known to have no marked field.
        """
        if source not in self._marking:
            return False
        return not events or any(self.of(source, event) != NOTHING for event in events)


class Sealer:
    """Seals what is stored, and opens it."""

    def __init__(self, vault: Vault, marks: Marks) -> None:
        """Use the key ring of a vault, for what has marked fields."""
        self._vault = vault
        self.marks: Marks = marks

    def seal(self, text: bytes) -> bytes:
        """Pack and encrypt; packed first, for sealed bytes don't compress."""
        return urlsafe_b64decode(self._vault.seal(_compress(text)))

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed; StoreUnusable where no key of the ring fits."""
        return _decompress(self._vault.open(urlsafe_b64encode(sealed)))

    def text(self, text: bytes, *, sealed: bool) -> bytes:
        """Return a stored text as it was; StoreUnusable where it is sealed and no key fits.

        A body that is no longer kept is empty, and sealed ones never are.
        """
        return self.open(text) if sealed and text else text

    def kept(self, new: r.NewDelivery, source: str) -> r.NewDelivery:
        """Return a delivery as it is stored: body and payloads sealed where they must be."""
        if not self.marks.in_source(source):
            return new
        if not self.marks.must_seal(source, [one.name for one in new.events]):
            return new
        events = tuple(
            replace(one, sealed=True, payload=None if one.payload is None else self.seal(one.payload))
            for one in new.events
        )
        return replace(new, sealed=True, body=self.seal(new.body), events=events)
