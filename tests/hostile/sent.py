"""A request as a sender writes it, and plain code to read and sign one: nothing of ours in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import attrs

HOST = "https://hooks.example.com"
Field = tuple[bytes, bytes]


@attrs.frozen
class Sent:
    """One request; `path` is where its endpoint is."""

    method: str = "POST"
    path: str = "/e/test/token"
    query: bytes = b""
    headers: tuple[Field, ...] = ()
    body: bytes = b""

    @property
    def url(self) -> str:
        query = self.query.decode("latin-1")
        return f"{HOST}{self.path}?{query}" if query else f"{HOST}{self.path}"

    def one(self, name: str) -> bytes | None:
        """Return the value of a header that is there exactly once."""
        found = [value for key, value in self.headers if key == name.lower().encode()]
        return found[0] if len(found) == 1 else None

    def with_headers(self, **fields: str | bytes) -> Sent:
        """Put headers in place of those of the same name; underscores stand for hyphens."""
        new = [
            (name.replace("_", "-").lower().encode(), value.encode() if isinstance(value, str) else value)
            for name, value in fields.items()
        ]
        names = {name for name, _ in new}
        kept = [field for field in self.headers if field[0] not in names]
        return attrs.evolve(self, headers=(*kept, *new))

    @property
    def media_type(self) -> str:
        found = [value for key, value in self.headers if key == b"content-type"]
        return found[0].decode("latin-1").partition(";")[0].strip().lower() if found else ""

    def json(self) -> Any:
        """Return the body as JSON, None if it is not."""
        try:
            # Python refuses to read numbers of more than 4,300 digits; JSON does not.
            return json.loads(self.body.decode(), parse_int=lambda text: int(text[:4300]))
        except (ValueError, RecursionError):
            return None

    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")


def mac(algorithm: str, key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, algorithm).digest()


def hex_mac(algorithm: str, key: bytes, message: bytes) -> bytes:
    return mac(algorithm, key, message).hex().encode()


def b64(raw: bytes) -> bytes:
    return base64.b64encode(raw)


def hex_hash(message: bytes) -> bytes:
    return hashlib.sha256(message).hexdigest().encode()


def fresh(text: bytes | None, now: float, *, unit: float = 1.0) -> bool:
    """Tell whether a text is a time within five minutes."""
    if text is None or not text.isdigit() or len(text) > 15:
        return False
    return abs(now - int(text) / unit) <= 300


def items(text: bytes | None, key: bytes) -> list[bytes]:
    """Return the values of a key in `k=v,k=v`."""
    pairs = [item.partition(b"=") for item in (text or b"").split(b",")]
    return [value.strip() for name, _, value in pairs if name.strip() == key]


Signer = Callable[[Sent, bytes, float], Sent]
Oracle = Callable[[Sent, bytes, float], bool]
