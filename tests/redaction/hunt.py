"""Looking for secrets in everything that was written: as they are, and in what disguises them."""

from __future__ import annotations

import base64
import html
import importlib
import json
import logging
import shutil
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, quote_plus

import apsw
import attrs

LEAST = 8  # characters; what is shorter is found by chance
LARGEST = 1 << 26  # bytes of a packed value
SQLITE = b"SQLite format 3\x00"
_lz4: Any = importlib.import_module("lz4.block")


def forms(secret: bytes) -> Mapping[bytes, str]:
    """Return what a secret looks like in a file, a log or a page, each with the name of its disguise."""
    text = secret.decode("utf-8", "backslashreplace")
    every = "".join(f"%{byte:02X}" for byte in secret)
    found = {
        secret: "clear",
        secret.hex().encode(): "hex",
        secret.hex().upper().encode(): "HEX",
        quote(secret, safe="").encode(): "percent",
        quote(secret, safe="").lower().encode(): "percent",
        quote(secret).encode(): "percent",
        quote_plus(secret).encode(): "form",
        every.encode(): "percent",
        every.lower().encode(): "percent",
        json.dumps(text)[1:-1].encode(): "JSON",
        json.dumps(text, ensure_ascii=False)[1:-1].encode(): "JSON",
        json.dumps(json.dumps(text)[1:-1])[1:-1].encode(): "JSON in JSON",
        repr(text)[1:-1].encode("utf-8", "backslashreplace"): "repr",
        repr(secret)[2:-1].encode(): "repr",
        repr(json.dumps(text).encode())[3:-2].encode(): "JSON in repr",
        repr(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))[3:-2].encode(): "JSON in repr",
        repr(f"{text}'\"")[1:-4].encode("utf-8", "backslashreplace"): "repr",
        html.escape(text).encode("utf-8", "backslashreplace"): "HTML",
        text.encode("utf-16-le"): "UTF-16",
    }
    for offset in range(3):  # inside of longer text every third byte starts a new group
        found |= dict.fromkeys(_based(secret, offset), "base64")
    found[secret] = "clear"  # a plain one looks the same in most disguises
    return {form: name for form, name in found.items() if len(form) >= LEAST}


def _based(secret: bytes, offset: int) -> Iterator[bytes]:
    """Return the characters that a secret alone decides, wherever it stands in what is encoded."""
    start = -(-offset * 8 // 6)
    end = (offset + len(secret)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(bytes(offset) + secret)[start:end]


@attrs.frozen
class Found:
    """A secret where none may be; `about` is what stands around it."""

    secret: str
    disguise: str
    place: str
    about: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.disguise}) in {self.place}: {self.about}"


@attrs.define
class Hunt:
    """Secrets by name, and where they were found."""

    secrets: dict[str, bytes] = attrs.field(factory=dict[str, bytes])
    found: list[Found] = attrs.field(factory=list[Found])

    def plant(self, name: str, secret: str | bytes) -> None:
        """Look for this one, too."""
        self.secrets[name] = secret.encode() if isinstance(secret, str) else secret

    def search(self, place: str, *haystacks: bytes | str, but: Iterable[str] = ()) -> None:
        """Look through what was written; `but`: names of secrets that may be there."""
        for haystack in haystacks:
            raw = haystack.encode("utf-8", "backslashreplace") if isinstance(haystack, str) else haystack
            for name, secret in self.secrets.items():
                if name not in but:
                    self._search(name, secret, place, raw)

    def _search(self, name: str, secret: bytes, place: str, haystack: bytes) -> None:
        for form, disguise in forms(secret).items():
            at = haystack.find(form)
            if at >= 0:
                about = haystack[max(0, at - 60) : at + len(form) + 20]
                self.found.append(Found(name, disguise, place, repr(about)))
                return

    def search_file(self, path: Path, *, but: Iterable[str] = ()) -> None:
        """Look through a file; of a SQLite database also through the bodies that are packed in it."""
        raw = path.read_bytes()
        self.search(path.name, raw, but=but)
        if raw.startswith(SQLITE):
            with suppress(apsw.Error):  # some tests damage their database
                for place, value in cells(path):
                    self.search(f"{path.name} {place}", value, *unpacked(value), but=but)

    def search_folder(self, folder: Path, *, but: Iterable[str] = (), ignore: Iterable[str] = ()) -> None:
        """Look through all files of a folder; `ignore`: patterns of names."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not any(path.match(pattern) for pattern in ignore):
                self.search_file(path, but=but)


def cells(path: Path) -> Iterator[tuple[str, bytes]]:
    """Return every value of a database with its table and column; the file itself is left alone."""
    with TemporaryDirectory() as folder:
        for one in path.parent.glob(f"{path.name}*"):
            if one.is_file():
                shutil.copy(one, folder)
        connection: Any = apsw.Connection(str(Path(folder) / path.name))
        try:
            yield from _cells(connection)
        finally:
            connection.close()


def _cells(connection: Any) -> Iterator[tuple[str, bytes]]:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        columns = [str(row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")')]
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            for column, value in zip(columns, row, strict=True):
                if value is not None:
                    yield f"{table}.{column}", value if isinstance(value, bytes) else str(value).encode()


def unpacked(value: bytes) -> list[bytes]:
    """Return what a packed value holds."""
    if int.from_bytes(value[:4], "little") > LARGEST:  # else it is allocated first
        return []
    try:
        return [_lz4.decompress(value)]
    except (_lz4.LZ4BlockError, ValueError):
        return []


class Listener(logging.Handler):
    """Keeps every log record as a file would have it, and what handlers of other kinds read of it."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with its traceback."""
        told = f"{record.name} {record.levelname} {record.getMessage()} {record.args!r}"
        if record.exc_info and record.exc_info[1] is not None:
            told += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        self.lines.append(f"{told}\n{record.exc_text or ''}")
