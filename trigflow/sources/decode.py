"""From a verified request to its payload, and to the JSON text that is kept of it.

A decoder raises DecodeError alone, and its text never holds content of the body.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import msgspec

from trigflow.core.errors import DecodeError
from trigflow.core.http import Request
from trigflow.sources.parts import FORM, Form


@attrs.frozen
class Decoded:
    """A payload and its JSON text; the very body of the request where that is the text."""

    payload: object
    text: bytes


class Decoder(Protocol):
    """How the requests of a source are read."""

    def __call__(self, request: Request) -> Decoded:
        """Return the payload; DecodeError if there is none to read."""
        ...


def decode_json(request: Request) -> Decoded:
    """Read the body as JSON, whatever its content type says."""
    return _parsed(request.body, "the body")


def no_body(request: Request) -> Decoded:
    """Read nothing: for requests that say all in their headers. Payload: None."""
    return Decoded(None, b"null")


@attrs.frozen
class JsonOrForm:
    """Read JSON from the body, or from a field of it where the body is a form."""

    field: str

    def __call__(self, request: Request) -> Decoded:
        """Read the field if the content type is a form's, else the body."""
        if request.content_type != FORM:
            return decode_json(request)
        found = Form(self.field).values(request)
        if len(found) != 1:
            raise DecodeError("bad-form", f"the form has {len(found)} fields {self.field!r} instead of one")
        return _parsed(found[0], f"the form field {self.field!r}")


def json_or_form(field: str = "payload") -> JsonOrForm:
    """Read JSON, or a form that holds JSON in one field (GitHub)."""
    return JsonOrForm(field)


def _parsed(text: bytes, where: str) -> Decoded:
    if not text:
        raise DecodeError("empty-body", f"{where} is empty")
    try:
        return Decoded(msgspec.json.decode(text), text)
    except msgspec.DecodeError as error:
        # What follows " - at" is a path into the body; msgspec masks its keys today, we do not count on it.
        raise DecodeError("bad-json", f"{where}: {str(error).partition(' - at')[0]}") from None
    except UnicodeDecodeError:
        raise DecodeError("bad-json", f"{where} is not UTF-8") from None
    except (ValueError, RecursionError):
        raise DecodeError("bad-json", f"{where} is nested too deeply or holds a number too long") from None
