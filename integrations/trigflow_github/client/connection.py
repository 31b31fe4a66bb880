"""Requests to one GitHub with one token: headers, pages and errors.

It never waits and never tries again by itself: a refused job is tried again by trigflow,
which knows the time that RateLimited names. It follows no redirect, and no link to
another host: the token goes to `base_url` only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import attrs
import msgspec

from trigflow import ApiError, __version__, api_url
from trigflow_github.client.refusals import refusal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import httpx

T = TypeVar("T")
Actor = Literal["user", "app", "installation"]

API_VERSION = "2022-11-28"
TIMEOUT = 30.0  # seconds, for each of connect, write and read
LARGEST_PAGE = 100
JWT = "eyJ"  # '{"', the start of the header, in base64
INSTALLATION = "ghs_"


def utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


@attrs.frozen
class Answer:
    """A successful answer; names of headers are in lower case.

    next: the URL of the next page, if there is one.
    """

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    next: str | None = None

    def decode(self, kind: type[T]) -> T:
        """Structure the JSON body; ApiError where it does not fit."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(self.what, self.status, f"the answer can't be read: {error}") from error


class Connection:
    """Makes requests; `GitHubClient` gives them names and types."""

    def __init__(
        self,
        token: str,
        *,
        base_url: str = "https://api.github.com",
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], datetime] = utc_now,
        installation: str | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """Connect with a personal, OAuth or installation token, or as a GitHub App with its JWT.

        base_url: for GitHub Enterprise Server "https://HOST/api/v3".
        transport: what carries requests instead of the network, for tests.
        installation: the number of the installation whose token it is, where that is known.
        http: a client to use; it stays open, and its own settings are kept.
        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("the GitHub token is empty or has characters that none has; set GITHUB_TOKEN")
        self.base_url: str = api_url(base_url, example="https://HOST/api/v3")
        self._token = token
        self._transport = transport
        self._clock = clock
        self.installation: str | None = installation
        self._http: httpx.AsyncClient | None = http
        self._borrowed = http is not None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    @property
    def acts_as(self) -> Actor:
        """Tell whose token it is, by its form: a person's, a GitHub App's own or an installation's."""
        if self._token.startswith(JWT):
            return "app"
        return "installation" if self.installation or self._token.startswith(INSTALLATION) else "user"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its network connections; it may be used again after that."""
        if self._http is not None and not self._borrowed:
            http, self._http = self._http, None
            await http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Make any request; for what has no method of its own.

        path: such as "/repos/acme/web", quoted, or a whole URL below `base_url`.
        Raises Unauthorized, NotFound, RateLimited or another ApiError.
        """
        import httpx  # noqa: PLC0415 - importing the integration must stay cheap

        url, what = self._url(path), f"GitHub {method} {path.partition('?')[0]}"
        content = None if json is None else msgspec.json.encode(json)
        headers = self._headers({} if json is None else {"content-type": "application/json"})
        try:
            response = await self._client().request(
                method, url, params=query, content=content, headers=headers, follow_redirects=False
            )
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = f"{type(error).__name__} {error}".strip()
            raise ApiError(what, 0, f"no answer from {self.base_url}: {reason}") from error
        answered = {name.lower(): value for name, value in response.headers.items()}
        if not response.is_success:
            raise refusal(what, response.status_code, answered, response.content, now=self._clock())
        following = response.links.get("next", {}).get("url")
        return Answer(what, response.status_code, answered, response.content, following)

    async def paginate(
        self,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str | int] | None = None,
        per_page: int = LARGEST_PAGE,
    ) -> AsyncGenerator[T, None]:
        """Yield what all pages of a list hold, each structured as `kind`; close it when leaving early.

        Raises ApiError for a next page on another host, or one that was seen before.
        """
        following: str | None = path
        asked: dict[str, str | int] | None = {**(query or {}), "per_page": per_page}
        seen: set[str] = set()
        while following is not None:
            if following in seen:
                raise ApiError(f"GitHub GET {path}", 0, "the pages of the list go in a circle")
            seen.add(following)
            answer = await self.request("GET", following, query=asked)
            for item in answer.decode(list[kind]):  # type: ignore[valid-type]  # a type variable, at run time a class
                yield item
            following, asked = answer.next, None

    def _url(self, path: str) -> str:
        if path.startswith("/"):
            return self.base_url + path
        ours = urlsplit(self.base_url)
        theirs = urlsplit(path)
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc):
            raise ApiError(
                f"GitHub {path.partition('?')[0]}", 0, f"not below {self.base_url}; the token stays there"
            )
        return path

    def _headers(self, more: Mapping[str, str]) -> Mapping[str, str]:
        return {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {self._token}",
            "user-agent": f"trigflow/{__version__}",
            "x-github-api-version": API_VERSION,
            **more,
        }

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx  # noqa: PLC0415 - see above

            self._http = httpx.AsyncClient(transport=self._transport, timeout=TIMEOUT)
        return self._http
