"""OAuth 2.0, as data: a person's consent for our app, an app's own token, or nothing to be called at all.

    authorize URL --consent--> code --exchange--> token --token()--> token ...

It opens no browser, keeps nothing and checks no `state`: that is trigflow.runtime.connections.consent.
What goes into requests and what answers mean is oauthlib's to know: it is imported when it is
first used, and is the extra `trigflow[oauth]`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import attrs

from trigflow.core.errors import ApiError, SetupError, Unauthorized
from trigflow.sources.credentials import Auth, Credentials, Field, Token
from trigflow.sources.token_endpoint import Answer, ClientAuth, TokenEndpoint, check_url, posted

if TYPE_CHECKING:
    import httpx


def new_verifier() -> str:
    """Make a PKCE verifier: 43 characters of 32 random bytes (RFC 7636, 4.1)."""
    return secrets.token_urlsafe(32)


def client_fields(client_id: str, client_secret: str, *, public: bool = False) -> tuple[Field, ...]:
    """Declare an OAuth client's id and secret by the names of their environment variables."""
    return (
        Field("client_id", client_id, "Client ID", secret=False),
        Field("client_secret", client_secret, "Client secret", required=not public),
    )


class OAuth2(Auth):
    """A person agrees, in a browser, that our app acts for an account (authorization code, RFC 6749, 4.1)."""

    kind = "oauth2"
    mints = True

    def __init__(
        self,
        authorize_url: str,
        token_url: str,
        *,
        client_id: str,
        client_secret: str,
        scopes: Sequence[str] = (),
        pkce: bool = True,
        public: bool = False,
        authorize: Mapping[str, str] | None = None,
        client_auth: ClientAuth = "post",
        separator: str = " ",
        refresh: bool = True,
        revoke_url: str | None = None,
        token_from: Callable[[Answer], Answer] | None = None,
        account_from: Callable[[Answer], str | None] | None = None,
        keeps: Sequence[str] = (),
        later: Sequence[str] = (),
        field: str = "token",
        issuer: str | None = None,
    ) -> None:
        """Declare a provider's OAuth.

        client_id, client_secret: the names of the environment variables of our app's.
        pkce: send a code challenge (S256). public: a client without a secret is enough.
        authorize: further parameters of the authorize URL.
        client_auth: how our app says who it is: "post" in the form, "basic" in a header.
        separator: between scopes in the authorize URL.
        refresh: use refresh tokens; without, a token is good until it is taken back.
        revoke_url: where tokens are given back (RFC 7009).
        token_from, account_from, keeps, later: see TokenEndpoint.
        field: what the access token is called among the credentials.
        issuer: what the provider calls itself in `iss` (RFC 9207); then no other answer is taken, and none
            without it. Name it where the provider sends it: an answer of another one is told by nothing else.
        Raises SetupError for a URL that is neither https nor on this machine.
        """
        for url in filter(None, (authorize_url, token_url, revoke_url)):
            check_url(url)
        self.authorize_url: str = authorize_url
        self.scopes: tuple[str, ...] = tuple(scopes)
        self.pkce: bool = pkce
        self.refreshes: bool = refresh
        self.revoke_url: str | None = revoke_url
        self.issuer: str | None = issuer
        self.app_fields: tuple[Field, ...] = client_fields(client_id, client_secret, public=public)
        self._extra, self._separator = dict(authorize or {}), separator
        self._endpoint = TokenEndpoint(
            token_url, client_auth, field, token_from, account_from, tuple(keeps), frozenset(later)
        )

    def __repr__(self) -> str:
        return f"OAuth2({self.authorize_url!r})"

    def remedy(self) -> str:
        """Say what to do."""
        return "connect it with `trigflow connect`"

    def authorize(self, app: Credentials, *, redirect_url: str, state: str, verifier: str) -> str:
        """Return the URL where a person agrees."""
        more = dict(self._extra)
        client = _client(app)
        if self.pkce:
            challenge = client.create_code_challenge(verifier, "S256")
            more |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        if self.scopes:
            more["scope"] = self._separator.join(self.scopes)
        # oauthlib takes https alone; http was let in for this machine alone, in __init__.
        scheme, _, rest = self.authorize_url.partition("://")
        url: str = client.prepare_request_uri(
            f"https://{rest}", redirect_uri=redirect_url, state=state, **more
        )
        return f"{scheme}://{url.removeprefix('https://')}"

    async def exchange(
        self,
        app: Credentials,
        code: str,
        *,
        redirect_url: str,
        verifier: str,
        http: httpx.AsyncClient,
        now: datetime,
    ) -> Token:
        """Exchange a code for a token; Unauthorized where the provider refuses it."""
        more = {"code_verifier": verifier} if self.pkce else {}
        body: str = _client(app).prepare_request_body(
            code=code, redirect_uri=redirect_url, include_client_id=False, **more
        )
        token = await self._endpoint.ask(body, app, http, now=now, hidden=[code, verifier])
        if self.refreshes:
            return token
        # One that is never used would only be at risk, and have the token renewed before its end.
        return attrs.evolve(
            token, values={name: value for name, value in token.values.items() if name != "refresh_token"}
        )

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        """Make a token from the refresh token; Unauthorized where that is refused, or there is none."""
        refresh = kept.get("refresh_token") if self.refreshes else None
        if refresh is None:
            raise Unauthorized("the token has expired and can't be refreshed; connect the account again")
        body: str = _client(app).prepare_refresh_body(refresh_token=refresh)
        return await self._endpoint.ask(body, app, http, now=now, hidden=[*kept.values()])

    async def revoke(self, app: Credentials, kept: Credentials, http: httpx.AsyncClient) -> None:
        """Give the tokens back, where the provider takes them (RFC 7009); ApiError where it refuses."""
        token = kept.get("refresh_token") or kept.get(self._endpoint.field)
        if self.revoke_url is None or token is None:
            return
        answer = await posted(
            self.revoke_url, urlencode({"token": token}), app, self._endpoint.client_auth, http
        )
        if answer.status_code >= 400:
            host = urlsplit(self.revoke_url).hostname
            raise ApiError(f"revoking at {host}", answer.status_code, "the token was not taken back")


class ClientCredentials(Auth):
    """An app of the account's own: its id and secret are all that is needed (RFC 6749, 4.4)."""

    kind = "client-credentials"
    mints = True

    def __init__(
        self,
        token_url: str,
        *,
        client_id: str,
        client_secret: str,
        scopes: Sequence[str] = (),
        parameters: Mapping[str, str] | None = None,
        client_auth: ClientAuth = "basic",
        token_from: Callable[[Answer], Answer] | None = None,
        account_from: Callable[[Answer], str | None] | None = None,
        keeps: Sequence[str] = (),
        later: Sequence[str] = (),
        field: str = "token",
    ) -> None:
        """Declare a token endpoint; `parameters` are sent beside the grant. The others: see OAuth2."""
        check_url(token_url)
        self.fields: tuple[Field, ...] = client_fields(client_id, client_secret)
        self._scopes, self._parameters = tuple(scopes), dict(parameters or {})
        self._endpoint = TokenEndpoint(
            token_url, client_auth, field, token_from, account_from, tuple(keeps), frozenset(later)
        )

    def __repr__(self) -> str:
        return f"ClientCredentials({self._endpoint.url!r})"

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        """Make a token from the client's id and secret."""
        body: str = _client(kept, "BackendApplicationClient").prepare_request_body(
            scope=list(self._scopes) or None, include_client_id=False, **self._parameters
        )
        return await self._endpoint.ask(body, kept, http, now=now, hidden=[kept["client_secret"]])


class Manual(Auth):
    """A person registers webhooks in the provider's settings: nothing is ever called there."""

    kind = "manual"

    def __init__(self, env: str | None = None, *, label: str = "Webhook secret") -> None:
        """Take the environment variable of the secret that the provider signs with, if it has one."""
        self.fields: tuple[Field, ...] = () if env is None else (Field("secret", env, label),)

    def __repr__(self) -> str:
        return "Manual()"

    def remedy(self) -> str:
        """Say what to do."""
        return "register its webhooks by hand"


def _client(app: Credentials, kind: str = "WebApplicationClient") -> Any:
    """Return one of oauthlib's clients: it makes requests and sends none."""
    try:
        from oauthlib import oauth2  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SetupError("OAuth needs oauthlib; install trigflow[oauth]") from error
    return getattr(oauth2, kind)(app["client_id"])
