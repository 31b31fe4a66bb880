"""Parts made of other parts, for providers that sign something other than what they send."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

from trigflow.core.http import Request
from trigflow.sources.parts import FORM, LARGEST_FORM, Part, fields, has_too_many, octets


class Unescaped(msgspec.Struct, frozen=True):
    """A part with the percent-escapes of some ASCII characters decoded, and no others (HubSpot v3)."""

    part: Part
    characters: str = ":/?@!$'()*,;"

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values of the part, unescaped."""
        codes = "|".join(f"{ord(character):02X}" for character in self.characters)
        escape = re.compile(rf"%({codes})".encode(), re.IGNORECASE)
        return [
            escape.sub(lambda found: bytes.fromhex(found[1].decode()), value)
            for value in self.part.values(request)
        ]

    def __str__(self) -> str:
        return f"{self.part}, {self.characters} unescaped"


class SortedForm(msgspec.Struct, frozen=True):
    """The form's fields by name, each name followed by each distinct value, with nothing between (Twilio).

    A body that is no form must be vouched for by the URL, which the signature covers: its hex SHA-256
    stands in the query parameter `body_hash`. A body that neither covers makes the part missing.
    """

    body_hash: str = "bodySHA256"

    def values(self, request: Request) -> Sequence[bytes]:
        """Return one value, empty for a vouched body."""
        if len(request.body) > LARGEST_FORM or has_too_many(request.body):
            return ()
        wanted = octets(self.body_hash)
        query = octets(request.url).partition(b"?")[2]
        hashes = [value for name, value in fields(query) if name == wanted]
        actual = hashlib.sha256(request.body).hexdigest().encode()
        # Checked beside a form too: otherwise a signed JSON request could be replayed as an empty form.
        if not all(hmac.compare_digest(given, actual) for given in hashes):
            return ()
        if request.content_type == FORM:
            return (b"".join(name + value for name, value in sorted(set(fields(request.body)))),)
        return (b"",) if hashes or not request.body else ()

    def __str__(self) -> str:
        return "the sorted form"


class Either(msgspec.Struct, frozen=True):
    """The first part that is there, as where a sender uses JSON or a form."""

    parts: tuple[Part, ...]

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values of the first part that has any."""
        return next((found for part in self.parts if (found := part.values(request))), ())

    def __str__(self) -> str:
        return " or ".join(str(part) for part in self.parts)


SORTED_FORM = SortedForm()


def unescaped(part: Part, characters: str = ":/?@!$'()*,;") -> Unescaped:
    """Decode the percent-escapes of these ASCII characters only; the default is HubSpot's set."""
    return Unescaped(part, characters)


def either(*parts: Part) -> Either:
    """Read the first of these parts that is there."""
    return Either(parts)
