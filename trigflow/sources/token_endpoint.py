"""A token endpoint: what is sent to it, and what its answers mean (RFC 6749, 4.1.3 to 5.2).

An answer is a token, a refusal for good (Unauthorized), or something that may pass
(RateLimited, ApiError). No error quotes what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import attrs
import msgspec

from trigflow.core.errors import ApiError, RateLimited, SetupError, Unauthorized
from trigflow.core.local import is_local
from trigflow.core.redact import redacted_text, without
from trigflow.sources.credentials import Credentials, Token

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Answer: TypeAlias = Mapping[str, Any]
ClientAuth: TypeAlias = Literal["post", "basic"]

TIMEOUT = 20.0  # seconds for a whole call; a process holds the right to refresh for longer
LONGEST_TOLD = 200  # characters of a provider's own words
LONGEST_LIFE = timedelta(days=3650)
TOO_MANY_WAIT = timedelta(minutes=1)  # where a 429 names no time
LARGEST_ANSWER = 256 * 1024  # bytes
# RFC 6749, 4.1.2.1 and 5.2: what may pass by itself, and what is wrong with our app rather than with the
# account. GitHub's own name for the latter is in its documentation of the web flow's errors.
LATER = frozenset({"server_error", "temporarily_unavailable"})
OUR_APP = frozenset({"invalid_client", "unauthorized_client", "incorrect_client_credentials"})
_CODE = re.compile(r"[A-Za-z0-9_.:/-]{1,80}")


@attrs.frozen
class TokenEndpoint:
    """Where tokens are made, and how its answers are read.

    token_from: makes an odd answer a plain one, with access_token, refresh_token, expires_in
        (seconds) and, of a refusal, error. account_from: the provider's id of the account.
    keeps: further fields of the answer that are kept with the credentials.
    later: names of errors, beside those of the RFC, that may pass by themselves.
    """

    url: str
    client_auth: ClientAuth
    field: str
    token_from: Callable[[Answer], Answer] | None
    account_from: Callable[[Answer], str | None] | None
    keeps: tuple[str, ...]
    later: frozenset[str]

    async def ask(
        self, body: str, app: Credentials, http: httpx.AsyncClient, *, now: datetime, hidden: Sequence[str]
    ) -> Token:
        """Ask for a token with a form; `hidden` is what no error may quote.

        Raises Unauthorized where the account is refused for good, RateLimited or ApiError otherwise.
        """
        answer = await posted(self.url, body, app, self.client_auth, http)
        known = [*hidden, *(value for name, value in app.items() if name != "client_id")]
        return self._token(answer, now=now, hidden=known)

    def _token(self, answer: httpx.Response, *, now: datetime, hidden: Sequence[str]) -> Token:
        if answer.status_code == 429:
            raise RateLimited(self._what, 429, "too many requests", _until(answer, now))
        if answer.status_code >= 500:
            raise ApiError(self._what, answer.status_code, "the provider failed")
        raw = _read(answer, self._what)
        told = raw if self.token_from is None else self._read_by(self.token_from, raw, answer.status_code)
        if told.get("error"):
            raise self._refusal(answer.status_code, told, hidden)
        access = told.get("access_token")
        if answer.status_code >= 400 or not isinstance(access, str) or not access:
            raise ApiError(self._what, answer.status_code, "the answer holds neither a token nor an error")
        account = self.account_from and self._read_by(self.account_from, raw, answer.status_code)
        return Token(
            self._values(access, told),
            _expiry(told.get("expires_in"), now),
            None if account is None else str(account),  # many providers' ids are numbers
        )

    def _read_by(self, reads: Callable[[Answer], T], raw: Answer, status: int) -> T:
        """Have a provider's own function read an answer; what it raises may quote new tokens."""
        try:
            return reads(raw)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            problem = f"the answer is not as expected: {type(error).__name__}"
        raise ApiError(self._what, status, problem)

    def _values(self, access: str, told: Answer) -> dict[str, str]:
        values = {self.field: access}
        if isinstance(refresh := told.get("refresh_token"), str) and refresh:
            values["refresh_token"] = refresh
        found = {name: told.get(name) for name in self.keeps}
        return values | {name: str(value) for name, value in found.items() if value is not None}

    def _refusal(self, status: int, told: Answer, hidden: Sequence[str]) -> Exception:
        error, description = str(told["error"]), told.get("error_description")
        code = error if _CODE.fullmatch(error) else "an error without a name"
        known = [*hidden, *(value for value in told.values() if isinstance(value, str) and len(value) > 80)]
        more = redacted_text(without(description, known)) if isinstance(description, str) else ""
        problem = f"{code} ({more[:LONGEST_TOLD]})" if more.isprintable() and more else code
        if code in LATER | self.later:
            return ApiError(self._what, status, problem)
        if code in OUR_APP:
            return ApiError(
                self._what, status, f"our app is refused: {problem}; check its client id and secret"
            )
        return Unauthorized(f"{self._what}: {problem}; connect the account again")

    @property
    def _what(self) -> str:
        return f"token endpoint of {urlsplit(self.url).hostname}"


def check_url(url: str) -> None:
    """Refuse a URL that is neither https nor on this machine; SetupError."""
    try:
        parts = urlsplit(url)
        is_private = parts.scheme == "https" or (parts.scheme == "http" and is_local(url))
        can_be_used = is_private and bool(parts.hostname)
    except ValueError:  # [ without ]
        can_be_used = False
    if not can_be_used:
        raise SetupError(f"OAuth: {url!r} can't be used; give an https:// URL")


async def posted(
    url: str, body: str, app: Credentials, client_auth: ClientAuth, http: httpx.AsyncClient
) -> httpx.Response:
    """Send a form as our app; ApiError where no answer comes."""
    import httpx  # noqa: PLC0415 - 100 ms to import; a declaration needs none

    form = dict(parse_qsl(body, keep_blank_values=True))
    secret = app.get("client_secret", "")
    basic = httpx.BasicAuth(app["client_id"], secret) if client_auth == "basic" and secret else None
    if basic is None:
        form |= {"client_id": app["client_id"]} | ({"client_secret": secret} if secret else {})
    host = urlsplit(url).hostname
    try:
        return await http.post(
            url,
            data=form,
            auth=basic or httpx.USE_CLIENT_DEFAULT,
            headers={"accept": "application/json"},
            timeout=TIMEOUT,
            follow_redirects=False,  # the secret goes to this host alone
        )
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise ApiError(f"token endpoint of {host}", 0, f"no answer: {type(error).__name__}") from error


def _read(answer: httpx.Response, what: str) -> dict[str, Any]:
    """Read an answer as JSON, or as a form as some providers send it; ApiError where it is neither."""
    content = answer.content
    if len(content) > LARGEST_ANSWER:
        raise ApiError(what, answer.status_code, "the answer is too large")
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = dict(parse_qsl(content.decode("utf-8", "replace")))
    if not isinstance(found, dict) or not found:
        raise ApiError(what, answer.status_code, "the answer can't be read")
    return cast("dict[str, Any]", found)


def _expiry(seconds: object, now: datetime) -> datetime | None:
    """Return when a token ends: `expires_in` is a number, and sometimes text of one."""
    if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", seconds):
        seconds = float(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        return None
    return now + min(timedelta(seconds=seconds), LONGEST_LIFE)


def _until(answer: httpx.Response, now: datetime) -> datetime:
    told = answer.headers.get("retry-after", "")
    wait = timedelta(seconds=int(told)) if re.fullmatch("[0-9]{1,6}", told) else TOO_MANY_WAIT
    return (now + wait).astimezone(UTC)
