"""What of a request may be shown: names of header fields always, values of credentials never."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

HIDDEN = "[redacted]"
_SECRET = re.compile(
    rb"auth|cookie|token|secret|passw|signature|\bsig\b|(api|access|private)[-_]?key|credential|bearer|jwt|hmac|-mac$",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)  # senders repeat their names; a flood of invented ones pushes nobody out for long
def _shown(name: bytes) -> tuple[str, bool]:
    """Return a name as text, and whether its value may be shown."""
    return name.decode("latin-1"), _SECRET.search(name) is None


def redacted_headers(raw: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as JSON pairs in the order received, credentials and signatures hidden."""
    return msgspec.json.encode(
        [
            (text, value.decode("latin-1") if may else HIDDEN)
            for (text, may), value in ((_shown(name), value) for name, value in raw)
        ]
    )
