"""From a verified request to the JSON text that is kept of it, decoded as far as somebody looks.

A decoder raises DecodeError alone, and its text never holds content of the body.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from trigflow.core.errors import DecodeError
from trigflow.core.http import Request
from trigflow.core.views import View, view_of
from trigflow.sources.parts import FORM, form_values

_UNREAD: Final = object()
_whole: View = view_of(None)
_nothing: View = view_of({})


class Decoded:
    """The JSON text of a payload.

    text: the very body of the request where that is the text.
    Nothing is decoded before it is asked for; each way of asking raises DecodeError
    for a text that is not JSON.
    """

    __slots__ = ("_checked", "_payload", "_where", "text")

    def __init__(self, text: bytes, where: str) -> None:
        """Take a text; `where` names it in errors."""
        self.text: bytes = text
        self._where = where
        self._payload: Any = _UNREAD
        self._checked = False

    @property
    def payload(self) -> Any:
        """The whole payload, decoded once."""
        if self._payload is _UNREAD:
            self._payload = self._read(_whole)
        return self._payload

    def is_payload(self, value: object) -> bool:
        """Tell whether this is the object that `payload` has given."""
        return value is self._payload

    def seen(self, view: View) -> Any:
        """Return as much of the payload as a view shows; the whole where it is decoded already."""
        return self._read(view) if self._payload is _UNREAD else self._payload

    def check(self) -> None:
        """Return if the text is JSON."""
        if not self._checked:
            self._read(_nothing)

    def _read(self, view: View) -> Any:
        if not self.text:
            raise DecodeError("empty-body", f"{self._where} is empty")
        try:
            if not self._checked and not self.text.isascii():
                self.text.decode()  # a view passes over what it does not show
            found = view(self.text)
        except msgspec.DecodeError as error:
            # What follows " - at" is a path into the body; msgspec masks keys today, we do not count on it.
            raise DecodeError("bad-json", f"{self._where}: {str(error).partition(' - at')[0]}") from None
        except UnicodeDecodeError:
            raise DecodeError("bad-json", f"{self._where} is not UTF-8") from None
        except (ValueError, RecursionError):
            raise DecodeError(
                "bad-json", f"{self._where} is nested too deeply or holds a number too long"
            ) from None
        self._checked = True
        return found


class Decoder(Protocol):
    """How the requests of a source are read."""

    def __call__(self, request: Request) -> Decoded:
        """Return where the payload stands in a request; DecodeError where there is none."""
        ...


def decode_json(request: Request) -> Decoded:
    """Read the body as JSON, whatever its content type says."""
    return Decoded(request.body, "the body")


def no_body(request: Request) -> Decoded:
    """Read nothing: for requests that say all in their headers. Payload: None."""
    return Decoded(b"null", "nothing")


class JsonOrForm(msgspec.Struct, frozen=True):
    """Read JSON from the body, or from a field of it where the body is a form."""

    field: str

    def __call__(self, request: Request) -> Decoded:
        """Read the field if the content type is a form's, else the body."""
        if request.content_type != FORM:
            return decode_json(request)
        found = form_values(request, self.field)
        if len(found) != 1:
            raise DecodeError("bad-form", f"the form has {len(found)} fields {self.field!r} instead of one")
        return Decoded(found[0], f"the form field {self.field!r}")


def json_or_form(field: str = "payload") -> JsonOrForm:
    """Read JSON, or a form that holds JSON in one field (GitHub)."""
    return JsonOrForm(field)
