"""Requests to one Stripe account with one key: forms, pages and errors.

It never waits and never tries again by itself: a refused job is tried again by trigflow,
which knows the time that RateLimited names. It follows no redirect: the key goes to
`base_url` only.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import msgspec

from trigflow import ApiError, __version__, api_url
from trigflow_stripe.client.encoding import encoded
from trigflow_stripe.client.refusals import refusal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx

T = TypeVar("T")

TIMEOUT = 30.0  # seconds, for each of connect, write and read
LARGEST_PAGE = 100
FORM = "application/x-www-form-urlencoded"


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


def event_time(event: Mapping[str, Any]) -> datetime | None:
    """Return when an event was created; None where it does not say."""
    created = event.get("created")
    if isinstance(created, bool) or not isinstance(created, int):
        return None
    try:
        return datetime.fromtimestamp(created, UTC)
    except (ValueError, OverflowError, OSError):
        return None


@attrs.frozen
class Answer:
    """A successful answer; names of headers are in lower case."""

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)

    def decode(self, kind: type[T]) -> T:
        """Structure the JSON body; ApiError where it does not fit."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(self.what, self.status, f"the answer can't be read: {error}") from error


class _Page(msgspec.Struct, Generic[T]):
    data: list[T]
    has_more: bool = False


class _HasId(msgspec.Struct):
    id: str


class Connection:
    """Makes requests; `StripeClient` gives them names and types."""

    def __init__(
        self,
        key: str,
        *,
        base_url: str = "https://api.stripe.com",
        api_version: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Connect with a secret or a restricted key.

        api_version: sent as Stripe-Version; None for the account's default version.
        transport: what carries requests instead of the network, for tests.
        """
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError(
                "the Stripe API key is empty or has characters that none has; set STRIPE_API_KEY"
            )
        self.base_url: str = api_url(base_url)
        self.api_version: str | None = api_version
        self.now: Callable[[], datetime] = clock
        self._key = key
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its network connections; it may be used again after that."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        form: Mapping[str, object] | None = None,
        account: str | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Make any request; for what has no method of its own.

        path: such as "/v1/customers/cus_123", quoted.
        query, form: may nest; lists and mappings are written with brackets.
        account: the connected account to act for (`acct_…`).
        idempotency_key: of a POST; a new one is made where it is left out. Give one of your own,
            such as the event's id, where a repeated job must not do the same twice.
        Raises Unauthorized, NotFound, RateLimited or another ApiError.
        """
        import httpx  # noqa: PLC0415 - importing the integration must stay cheap

        what = f"Stripe {method} {path.partition('?')[0]}"
        if not path.startswith("/"):
            raise ValueError(f'{path!r} is not a path; write "/v1/…"')
        headers = _headers(method, account, idempotency_key)
        content = None if form is None else encoded(form)
        if content is not None:
            headers["content-type"] = FORM
        url = self.base_url + path + (f"?{encoded(query)}" if query else "")
        try:
            response = await self._client().request(method, url, content=content, headers=headers)
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise ApiError(what, 0, f"no answer from {self.base_url}: {reason}") from error
        answered = {name.lower(): value for name, value in response.headers.items()}
        if not response.is_success:
            raise refusal(what, response.status_code, answered, response.content, now=self.now())
        return Answer(what, response.status_code, answered, response.content)

    async def paginate(
        self,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, object] | None = None,
        account: str | None = None,
        per_page: int = LARGEST_PAGE,
    ) -> AsyncGenerator[T, None]:
        """Yield what all pages of a list hold, each structured as `kind`; close it when leaving early.

        Raises ApiError where a page ends as the one before did: it would never end.
        """
        last: str | None = None
        while True:
            asked = {**(query or {}), "limit": per_page, "starting_after": last}
            answer = await self.request("GET", path, query=asked, account=account)
            page: _Page[T] = answer.decode(_Page[kind])  # type: ignore[valid-type]  # at run time a class
            for item in page.data:
                yield item
            if not page.has_more or not page.data:
                return
            following = answer.decode(_Page[_HasId]).data[-1].id
            if following == last:
                raise ApiError(f"Stripe GET {path}", 0, "the pages of the list go in a circle")
            last = following

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx  # noqa: PLC0415 - see above

            version = {} if self.api_version is None else {"stripe-version": self.api_version}
            self._http = httpx.AsyncClient(
                transport=self._transport,
                timeout=TIMEOUT,
                follow_redirects=False,
                headers={
                    "accept": "application/json",
                    "authorization": f"Bearer {self._key}",
                    "user-agent": f"trigflow/{__version__}",
                    **version,
                },
            )
        return self._http


def _headers(method: str, account: str | None, idempotency_key: str | None) -> dict[str, str]:
    headers = {} if account is None else {"stripe-account": account}
    if method == "POST":
        headers["idempotency-key"] = idempotency_key or str(uuid.uuid4())
    return headers
