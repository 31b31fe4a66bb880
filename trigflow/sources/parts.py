"""What a signature covers, and where a signature, token or time stands: parts of a request.

A part reads bytes and never raises: what is missing, malformed or of another type has no values.
Whoever asks decides what none or several values mean; for a signature both are refused.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Sequence
from typing import Protocol, cast
from urllib.parse import unquote_to_bytes

import attrs
import msgspec

from trigflow.core.errors import SetupError
from trigflow.core.http import Request

FORM = "application/x-www-form-urlencoded"


class Part(Protocol):
    """Where bytes stand in a request. Give a custom one a `__str__`: plans and logs show it."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return what stands there, in order; empty if missing. Must not raise."""
        ...


def octets(text: str) -> bytes:
    """Encode text that came from outside; lone surrogates, which UTF-8 refuses, are kept."""
    return text.encode("utf-8", "surrogatepass")


def fields(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """Decode a form or query string, byte for byte; blank values are kept."""
    pairs = (item.partition(b"=") for item in encoded.split(b"&") if item)
    return [(_plain(name), _plain(value)) for name, _, value in pairs]


def _plain(encoded: bytes) -> bytes:
    return unquote_to_bytes(encoded.replace(b"+", b" "))


def _raw_name(part: Header) -> bytes:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", part.name):
        raise SetupError(f"{part.name!r} is not a header name; write it as in header('X-Signature')")
    return part.name.lower().encode()


@attrs.frozen
class Header:
    """A header; every repeat of it is a value."""

    name: str = attrs.field(eq=str.lower)
    raw_name: bytes = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_raw_name, takes_self=True)
    )

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values as received."""
        wanted = self.raw_name
        return [value for name, value in request.headers.raw if name == wanted]

    def __str__(self) -> str:
        return f"header {self.name}"


@attrs.frozen
class Query:
    """A parameter of the query string, decoded."""

    name: str

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the decoded values."""
        wanted = octets(self.name)
        return [value for name, value in fields(octets(request.query)) if name == wanted]

    def __str__(self) -> str:
        return f"query parameter {self.name}"


@attrs.frozen
class Form:
    """A field of a urlencoded body, decoded; missing where the content type is another."""

    name: str

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the decoded values."""
        if request.content_type != FORM:
            return ()
        wanted = octets(self.name)
        return [value for name, value in fields(request.body) if name == wanted]

    def __str__(self) -> str:
        return f"form field {self.name}"


@attrs.frozen
class KeyValue:
    """An item of a header such as `t=12,v1=ab,v1=cd`; a key may stand there several times."""

    header: Header
    key: str
    separator: str = ","

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values of the key, without white space around them."""
        separator, wanted = octets(self.separator), octets(self.key)
        items = (item for text in self.header.values(request) for item in text.split(separator))
        pairs = (item.partition(b"=") for item in items)
        return [value.strip() for key, _, value in pairs if key.strip() == wanted]

    def __str__(self) -> str:
        return f"{self.key} in {self.header}"


EACH = "[*]"
_STEP = re.compile(
    r"""\.?(?:(?P<name>[^.\[\]"]+)|\["(?P<quoted>[^"]+)"\]|\[(?P<index>[0-9]{1,6})\]|(?P<each>\[\*\]))"""
)


def _steps(path: str) -> Iterator[str | int]:
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or (path[at] == ".") != (at > 0 and step["name"] is not None):
            raise SetupError(
                f"{path!r} is not a path into JSON; "
                'write it as in a.b, items[0].id, value[*].id or a["dotted.key"]'
            )
        at = step.end()
        yield int(step["index"]) if step["index"] else step["name"] or step["quoted"] or EACH


def _parsed(part: Json) -> tuple[str | int, ...]:
    found = tuple(_steps(part.path))
    if not found:
        raise SetupError("the path into JSON is empty; name a key as in json('id')")
    return found


@attrs.frozen
class Json:
    """A value in a JSON body.

    Text is taken decoded, whole numbers and booleans as JSON writes them. Anything else counts as
    missing: the sender's spelling of 1e3 or of an object is not known once it is decoded.
    With [*], one element without the value makes all of them missing: each must hold it.
    """

    path: str
    steps: tuple[str | int, ...] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_parsed, takes_self=True)
    )

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values as text."""
        reached: list[object] = [json_body(request)]
        for step in self.steps:
            reached = [after for value in reached for after in _after(value, step)]
        texts = [_text(value) for value in reached]
        found = [text for text in texts if text is not None]
        return found if len(found) == len(texts) else ()

    def __str__(self) -> str:
        return f"JSON {self.path}"


_ABSENT = object()


def _after(value: object, step: str | int) -> Sequence[object]:
    if isinstance(value, dict):
        found = cast("dict[object, object]", value)
        return (found.get(step, _ABSENT),) if step is not EACH else (_ABSENT,)
    if not isinstance(value, list):
        return (_ABSENT,)
    items = cast("list[object]", value)
    if step is EACH:
        return items
    return (items[step],) if isinstance(step, int) and step < len(items) else (_ABSENT,)


def _text(value: object) -> bytes | None:
    if isinstance(value, str):
        return octets(value)
    if isinstance(value, int):
        # Not str(): it refuses more than 4300 digits; msgspec refuses them while decoding.
        return msgspec.json.encode(value)
    return None


# Decoded once, however many parts look into the body; an entry goes when its request goes.
# Requests are told apart by identity: hashing one would hash its whole body.
_decoded: dict[int, tuple[weakref.ref[Request], object]] = {}


def json_body(request: Request) -> object:
    """Return the decoded body of a request; of a malformed one, an object that no path leads into."""
    key = id(request)
    kept = _decoded.get(key)
    if kept is not None and kept[0]() is request:
        return kept[1]

    try:
        payload: object = msgspec.json.decode(request.body)
    except (ValueError, RecursionError):
        payload = _ABSENT
    _decoded[key] = (weakref.ref(request, lambda _: _decoded.pop(key, None)), payload)
    return payload


@attrs.frozen
class Body:
    """The body, byte for byte."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the one body; an empty body is a value."""
        return (request.body,)

    def __str__(self) -> str:
        return "the body"


@attrs.frozen
class Url:
    """The public URL as registered, with its query string."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the one URL."""
        return (octets(request.url),)

    def __str__(self) -> str:
        return "the URL"


@attrs.frozen
class Method:
    """The HTTP method, such as POST."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the one method."""
        return (octets(request.method),)

    def __str__(self) -> str:
        return "the method"


BODY = Body()
URL = Url()
METHOD = Method()


def header(name: str) -> Header:
    """Read a header."""
    return Header(name)


def query(name: str) -> Query:
    """Read a query parameter; the name is taken as it is, dots and all."""
    return Query(name)


def json(path: str) -> Json:
    """Read from the JSON body: `a.b`, `items[0].id`, `value[*].id`, `a["dotted.key"]`."""
    return Json(path)


def form(name: str) -> Form:
    """Read a field of a urlencoded body."""
    return Form(name)


def kv(name: str, key: str, *, separator: str = ",") -> KeyValue:
    """Read a key of a `k=v` list header."""
    return KeyValue(Header(name), key, separator)
