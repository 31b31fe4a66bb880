"""What a signature covers, and where a signature, token or time stands: parts of a request.

A part reads bytes and never raises: what is missing, malformed or of another type has no values.
Whoever asks decides what none or several values mean; for a signature both are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import attrs
import msgspec

from trigflow.core.errors import SetupError
from trigflow.core.http import Request

FORM = "application/x-www-form-urlencoded"
# What anybody may make us read, before a signature is checked, must stay cheap.
MOST_FIELDS = 10_000  # of a form or query string; beyond, it counts as malformed
LARGEST_LISTS = 4 * 1024 * 1024  # bytes of a body in whose lists is looked
LARGEST_FORM = 4 * 1024 * 1024  # bytes


class Part(Protocol):
    """Where bytes stand in a request. Give a custom one a `__str__`: plans and logs show it."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return what stands there, in order; empty if missing. Must not raise."""
        ...


def octets(text: str) -> bytes:
    """Encode text that came from outside; lone surrogates, which UTF-8 refuses, are kept."""
    return text.encode("utf-8", "surrogatepass")


def has_too_many(encoded: bytes) -> bool:
    """Tell whether a form or query string has more fields than anybody sends."""
    return encoded.count(b"&") >= MOST_FIELDS


def fields(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """Decode a form or query string, byte for byte; blank values are kept. Too many give none."""
    if has_too_many(encoded):
        return []
    pairs = (item.partition(b"=") for item in encoded.split(b"&") if item)
    return [(_plain(name), _plain(value)) for name, _, value in pairs]


# A run at a time, for urllib makes an object of each; ++, for + remembers where each began.
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})++")


def _plain(encoded: bytes) -> bytes:
    spaced = encoded.replace(b"+", b" ")
    return _ESCAPES.sub(_unescaped, spaced) if b"%" in spaced else spaced


def _unescaped(run: re.Match[bytes]) -> bytes:
    return bytes.fromhex(run[0].replace(b"%", b"").decode())


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


class Query(msgspec.Struct, frozen=True):
    """A parameter of the query string, decoded."""

    name: str

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the decoded values."""
        wanted = octets(self.name)
        return [value for name, value in fields(octets(request.query)) if name == wanted]

    def __str__(self) -> str:
        return f"query parameter {self.name}"


def form_values(request: Request, name: str) -> Sequence[bytes]:
    """Return the values of a field of a form of any size."""
    if request.content_type != FORM:
        return ()
    wanted = octets(name)
    return [value for found, value in fields(request.body) if found == wanted]


class Form(msgspec.Struct, frozen=True):
    """A field of a urlencoded body, decoded; missing where the content type is another."""

    name: str

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the decoded values."""
        return () if len(request.body) > LARGEST_FORM else form_values(request, self.name)

    def __str__(self) -> str:
        return f"form field {self.name}"


class KeyValue(msgspec.Struct, frozen=True):
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
    r"""\.?(?:(?P<name>[^.\[\]"\\\x00-\x1f]+)|\["(?P<quoted>[^"\\\x00-\x1f]+)"\]|\[(?P<index>[0-9]{1,6})\]|(?P<each>\[\*\]))"""
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


def _parsed(part: Json) -> _Reader:
    steps = tuple(_steps(part.path))
    if not steps:
        raise SetupError("the path into JSON is empty; name a key as in json('id')")
    return _reader(steps)


@attrs.frozen
class Json:
    """A value in a JSON body.

    Text is taken decoded, whole numbers and booleans as JSON writes them. Anything else counts as
    missing: the sender's spelling of 1e3 or of an object is not kept. With [*], one element without
    the value makes all of them missing: each must hold it. What the path does not lead to is not
    decoded: whoever sends it need not have signed anything.
    """

    path: str
    reader: _Reader = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_parsed, takes_self=True)
    )

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the values as text."""
        if self.reader.lists and len(request.body) > LARGEST_LISTS:
            return ()
        try:
            if not request.body.isascii():
                request.body.decode()  # what is passed over below is not looked at so closely
            return [_text(raw) for raw in self.reader.leaves(request.body)]
        except (ValueError, LookupError, RecursionError):  # no JSON, or not there
            return ()

    def __str__(self) -> str:
        return f"JSON {self.path}"


class _Reader(msgspec.Struct, frozen=True):
    """Finds what stands at a path, up to its first index; `rest` goes on from that element."""

    steps: tuple[str | int, ...]
    decode: Callable[[bytes], Any]
    rest: _Reader | None
    lists: bool  # it makes an object of each element of a list

    def leaves(self, text: bytes) -> Iterator[bytes]:
        """Return the JSON text at each place; raises ValueError or LookupError where one is missing."""
        return self._along(self.decode(text), 0)

    def _along(self, value: Any, at: int) -> Iterator[bytes]:
        if at == len(self.steps):
            yield bytes(value)
        elif self.steps[at] is EACH:
            for element in value:
                yield from self._along(element, at + 1)
        elif isinstance(step := self.steps[at], int) and self.rest is not None:
            yield from self.rest.leaves(value[step])
        else:
            yield from self._along(value.at, at + 1)


def _reader(steps: tuple[str | int, ...]) -> _Reader:
    number = next((at for at, step in enumerate(steps) if isinstance(step, int)), None)
    if number is None:
        decode = msgspec.json.Decoder(_type_along(steps, msgspec.Raw)).decode
        return _Reader(steps, decode, None, EACH in steps)
    decode = msgspec.json.Decoder(_type_along(steps[:number], list[msgspec.Raw])).decode
    return _Reader(steps[: number + 1], decode, _reader(steps[number + 1 :]), True)


def _type_along(steps: Sequence[str | int], leaf: Any) -> Any:
    """Return the type of a JSON value that has a leaf at the end of these steps."""
    for step in reversed(steps):
        leaf = list[leaf] if step is EACH else _object_with(str(step), leaf)
    return leaf


def _object_with(key: str, inner: Any) -> type[msgspec.Struct]:
    # A struct, not a TypedDict: there msgspec does not know Raw.
    return msgspec.defstruct("Seen", [("at", inner)], rename={"at": key}, gc=False)


_WHOLE = re.compile(rb"-?[0-9]{1,4300}")  # more digits are nobody's id or time


def _text(raw: bytes) -> bytes:
    """Return a JSON scalar as text; raises ValueError for any other value."""
    if raw[:1] == b'"':
        return octets(msgspec.json.decode(raw, type=str))
    if raw in (b"true", b"false") or _WHOLE.fullmatch(raw):
        return b"0" if raw == b"-0" else raw
    raise ValueError("not a text, a whole number or a boolean")


class Body(msgspec.Struct, frozen=True):
    """The body, byte for byte."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the one body; an empty body is a value."""
        return (request.body,)

    def __str__(self) -> str:
        return "the body"


class Url(msgspec.Struct, frozen=True):
    """The public URL as registered, with its query string."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return the one URL."""
        return (octets(request.url),)

    def __str__(self) -> str:
        return "the URL"


class Method(msgspec.Struct, frozen=True):
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
