"""The two pages of a consent: they send the browser on, or say in plain words what went wrong.

    GET {mount}/oauth/start?ticket=…           a link of ours
    GET {mount}/oauth/callback?state=…&code=…  the way back from the provider

Nothing that a request holds is shown or logged. What the pages answer may not be kept,
framed, or name where it came from.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlsplit

from trigflow.core.errors import Unauthorized
from trigflow.core.http import Headers, Response
from trigflow.runtime.boundary import Raised, attempt_async
from trigflow.runtime.connections.consent import (
    CALLBACK,
    LIFE,
    START,
    Begun,
    ConsentError,
    Consents,
    Finished,
)
from trigflow.runtime.connections.lifecycle import Connections
from trigflow.runtime.intake.receive import NOT_FOUND
from trigflow.runtime.sealing.discreet import knowing, problem_of
from trigflow.web.answers import Scope

logger: logging.Logger = logging.getLogger("trigflow")
LARGEST_QUERY = 8 * 1024  # bytes
STRICT = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
)
HTML = (("content-type", "text/html; charset=utf-8"), *STRICT)
_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><p>{text}</p>'
)
# By cause: status, title, text. Words of ours alone.
_SAID = {
    "bad-link": (
        400,
        "This link does not work",
        "It is not one of this site, or was cut off. Ask for a new one.",
    ),
    "expired": (400, "This took too long", "The link is over. Ask for a new one."),
    "used": (400, "This link was used already", "Ask for a new one."),
    "other-browser": (
        400,
        "Another browser began this",
        "Start again in this browser, with cookies allowed.",
    ),
    "other-provider": (
        400,
        "Another provider answered",
        "Nothing was kept. Ask for a new link.",
    ),
    "denied": (403, "Not connected", "The provider gave no consent. Nothing was kept."),
    "refused": (502, "Not connected", "The provider refused what it had granted. Ask for a new link."),
    "failed": (502, "Not connected", "Something went wrong on the way to the provider. Ask for a new link."),
}


class OAuthPages:
    """Answers the pages of one open app."""

    def __init__(
        self,
        consents: Consents,
        connections: Connections,
        base_url: str,
        *,
        heard: Callable[[Finished | Exception], object] = lambda _: None,
    ) -> None:
        """Answer below a public URL: its path is the cookie's, https makes the cookie secure.

        heard: hears how each consent ended.
        """
        self._consents, self._connections, self._heard = consents, connections, heard
        parts = urlsplit(base_url)
        self._kept = f"Path={parts.path}/oauth; HttpOnly; SameSite=Lax"
        if parts.scheme == "https":
            self._kept += "; Secure"

    async def answer(self, path: str, scope: Scope) -> Response:
        """Answer a request below /oauth/."""
        query = scope.get("query_string", b"")
        if path not in (START, CALLBACK) or scope["method"] != "GET" or len(query) > LARGEST_QUERY:
            return NOT_FOUND
        told = _once_each(query)
        if path == START:
            begun = await attempt_async(lambda: self._consents.begin(told.get("ticket", "")))
            return self._refused(begun.error) if isinstance(begun, Raised) else self._begun(begun.value)
        cookies = _cookies(Headers(scope["headers"]))
        finished = await attempt_async(lambda: self._consents.finish(told, cookies))
        if isinstance(finished, Raised):
            return self._refused(finished.error)
        return self._done(finished.value)

    def _begun(self, begun: Begun) -> Response:
        cookie = f"{begun.cookie}={begun.value}; Max-Age={int(LIFE.total_seconds())}; {self._kept}"
        return Response(303, b"", (("location", begun.url), ("set-cookie", cookie), *STRICT))

    def _done(self, finished: Finished) -> Response:
        self._heard(finished)
        if finished.then:
            return Response(303, b"", (("location", finished.then), *STRICT))
        return _page(200, "Connected", "You may close this window.")

    def _refused(self, error: Exception) -> Response:
        self._heard(error)
        if isinstance(error, ConsentError):
            return _page(*_SAID[error.cause])
        logger.error("a consent failed: %s", problem_of(error, knowing(self._connections.secrets())))
        return _page(*_SAID["refused" if isinstance(error, Unauthorized) else "failed"])


def _page(status: int, title: str, text: str) -> Response:
    return Response(status, _PAGE.format(title=title, text=text).encode(), HTML)


def _once_each(query: bytes) -> Mapping[str, str]:
    """Read a query; a name that comes twice counts as not given (RFC 6749, 3.1)."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    times = Counter(name for name, _ in pairs)
    return {name: value for name, value in pairs if times[name] == 1}


def _cookies(headers: Headers) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in headers.all("cookie"):
        for part in line.split(";"):  # each alone: one that can't be read must not hide ours
            try:
                found |= {name: one.value for name, one in SimpleCookie(part.strip()).items()}
            except CookieError:
                continue
    return found
