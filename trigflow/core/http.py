"""What arrives over HTTP and what is answered, free of any server or framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import attrs


@lru_cache(maxsize=256)  # code asks for the same few, again and again
def _raw(name: str) -> bytes:
    return name.lower().encode("latin-1")


class Headers:
    """Header fields as received: names are case-insensitive, repeats are kept.

    Values are decoded as Latin-1, which maps every byte (RFC 9110, 5.5).
    """

    __slots__ = ("raw",)

    def __init__(self, raw: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Wrap `raw`: pairs of lower-case name and value, as ASGI gives them."""
        self.raw: Sequence[tuple[bytes, bytes]] = raw

    @classmethod
    def of(cls, pairs: dict[str, str] | Sequence[tuple[str, str]]) -> Headers:
        """Make headers from text; names are lower-cased."""
        items = pairs.items() if isinstance(pairs, dict) else pairs
        return cls([(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in items])

    def get(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        wanted = _raw(name)
        for key, value in self.raw:
            if key == wanted:
                return value.decode("latin-1")
        return None

    def all(self, name: str) -> list[str]:
        """Return every value of a header, in the order received."""
        wanted = _raw(name)
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((key.decode("latin-1"), value.decode("latin-1")) for key, value in self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and list(self.raw) == list(other.raw)

    def __hash__(self) -> int:
        return hash(tuple(self.raw))

    def __repr__(self) -> str:
        # Names only: values may hold credentials.
        return f"Headers({', '.join(key.decode('latin-1') for key, _ in self.raw)})"


TRIED = "x-trigflow-tried"  # a header field of deliveries that trigflow sends itself, to try an app


@attrs.frozen
class Request:
    """One HTTP request, whole.

    url: the public URL as the provider knows it, with the query string.
    query: the raw query string, without "?".
    """

    method: str
    url: str
    headers: Headers
    body: bytes = b""
    query: str = ""

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters; "" if there is none."""
        return (self.headers.get("content-type") or "").partition(";")[0].strip().lower()


@attrs.frozen
class Response:
    """What is answered to a request."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
