"""What of a request and of a message may be shown: names always, values of credentials never."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

HIDDEN = "[redacted]"
_SECRET = re.compile(
    rb"auth|cookie|token|secret|passw|signature|\bsig\b|(api|access|private)[-_]?key|credential|bearer|jwt|hmac|-mac$",
    re.IGNORECASE,
)


# Bounded, and only at the start of a word: whoever writes the message must not choose how long this takes.
_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,20}://)(?P<user>[^\s/?#@'\"<>]*@)?"
    r"(?P<path>[^\s'\"<>?#]*)(?P<more>[^\s'\"<>]*)"
)
_VALUE = re.compile(r"(?P<before>(?:^[?#]|=))(?P<value>[^&;#=?]+)(?=[&;#]|$)")
_RANDOM = re.compile(r"(?=[^/]*[0-9])(?=[^/]*[A-Za-z])[^/]{20,}")  # a segment of a path that nobody made up
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ENDPOINT = re.compile(
    r"(?P<mark>/e/[a-z2-7]{8}/)[a-z2-7]{32}(?![a-z2-7])"
)  # as trigflow.opened.parts mints them
_PAIR = re.compile(r"(?<![\w-])(?P<name>[\w-]{1,80})=(?P<quote>['\"]?)[^\s&;,'\"<>()\[\]{}]+")
_PAIR_NAME = re.compile("token|secret|passw|signature|(api|access|private)[-_]?key", re.IGNORECASE)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


@lru_cache(maxsize=1024)  # senders repeat their names; a flood of invented ones pushes nobody out for long
def _shown(name: bytes) -> tuple[str, bool]:
    """Return a name as text, and whether its value may be shown."""
    return name.decode("latin-1"), _SECRET.search(name) is None


def redacted_headers(raw: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return header fields as JSON pairs in the order received, credentials and signatures hidden."""
    shown: list[tuple[str, str]] = []
    for name, value in raw:
        text, may = _shown(name)
        shown.append((text, value.decode("latin-1") if may else HIDDEN))
    return msgspec.json.encode(shown)


def hidden_values(raw: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Return the values that `redacted_headers` hides; of "scheme value" both, and the value alone."""
    found = [value.decode("latin-1") for name, value in raw if not _shown(name)[1]]
    return [*found, *(value.rpartition(" ")[2] for value in found)]


def redacted_text(text: str) -> str:
    """Return a message without what is likely to be secret in any.

    Of URLs: user names and passwords, values of the query and the fragment, random
    segments of the path (webhooks of some providers are secrets). Endpoints' tokens;
    what stands behind Bearer and Basic, and behind names such as `api_key=`. Errors of
    HTTP clients quote all of that.
    """
    text = _URL.sub(_redacted_url, text)
    text = _PAIR.sub(_redacted_pair, text)
    text = _SCHEME.sub(rf"\g<scheme> {HIDDEN}", text)
    return _ENDPOINT.sub(rf"\g<mark>{HIDDEN}", text)


def _redacted_url(found: re.Match[str]) -> str:
    user = f"{HIDDEN}@" if found["user"] else ""
    host, *segments = found["path"].split("/")
    path = "/".join([host, *map(_redacted_segment, segments)])
    more = _VALUE.sub(rf"\g<before>{HIDDEN}", found["more"])
    return f"{found['scheme']}{user}{path}{more}"


def _redacted_pair(found: re.Match[str]) -> str:
    return f"{found['name']}={found['quote']}{HIDDEN}" if _PAIR_NAME.search(found["name"]) else found[0]


def _redacted_segment(segment: str) -> str:
    return HIDDEN if _RANDOM.fullmatch(segment) and not _UUID.fullmatch(segment) else segment


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets that are known, as they are or quoted in a URL."""
    forms = {
        form for secret in secrets if secret for form in (secret, quote(secret, safe="", errors="replace"))
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text
