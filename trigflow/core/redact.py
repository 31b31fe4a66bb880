"""What of a request may be shown: names of header fields always, values of credentials never."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

HIDDEN = "[redacted]"
_SECRET = re.compile(
    rb"auth|cookie|token|secret|passw|signature|\bsig\b|(api|access|private)[-_]?key|credential|bearer|jwt|hmac|-mac$",
    re.IGNORECASE,
)


def redacted_headers(raw: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as JSON pairs in the order received, credentials and signatures hidden."""
    return msgspec.json.encode(
        [
            (name.decode("latin-1"), HIDDEN if _SECRET.search(name) else value.decode("latin-1"))
            for name, value in raw
        ]
    )
