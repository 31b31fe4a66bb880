"""Web login: a code for a browser that always agrees, tokens for the code.

    authorize --code, 10 min, once--> access token (--8 h--> refresh token, rotated)

Certain: an error of the token endpoint is an HTTP 200 with `error`; the answer is a
form unless JSON is asked for; PKCE is S256 only; a GitHub App's user token lives for
8 hours, and a refresh makes the old refresh and access token useless; an OAuth app's
token does neither expire nor refresh. Not certain: the life of a refresh token, taken
for 184 days, and what a wrong code_verifier is told: here `bad_verification_code`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

import attrs

from trigflow.testing.fake_server import Refused, Reply
from trigflow_github.testing.access import Caller, Tokens
from trigflow_github.testing.answers import Asked, Json, refused
from trigflow_github.testing.apps import new_token

CODE_LIFE = timedelta(minutes=10)
ACCESS_LIFE = timedelta(hours=8)
REFRESH_LIFE = timedelta(seconds=15897600)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@attrs.frozen
class Client:
    """An OAuth app, or a GitHub App as one; expiring: its tokens are refreshed (a GitHub App's)."""

    id: str
    secret: str = attrs.field(repr=False)
    callbacks: tuple[str, ...]
    expiring: bool


@attrs.frozen
class _Code:
    client: str
    scopes: tuple[str, ...]
    redirect: str
    challenge: str | None
    expires_at: datetime


@attrs.frozen
class _Refresh:
    client: str
    access: str = attrs.field(repr=False)
    expires_at: datetime


class Problem(Exception):
    """The token endpoint answers with an error, as HTTP 200."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error: str = error
        self.description: str = description


class Login:
    """What the login knows: clients, codes not yet used, refresh tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self.clients: dict[str, Client] = {}
        self.refusing: int = 0  # how many of the next browsers say no
        self._tokens = tokens
        self._codes: dict[str, _Code] = {}
        self._refreshes: dict[str, _Refresh] = {}

    def authorize(self, asked: Asked, *, now: datetime) -> Reply:
        """Send the browser back with a code, or with an error."""
        query = asked.query
        client = self.clients.get(query.get("client_id", ""))
        if client is None:
            raise refused(404, "Not Found")
        redirect = query.get("redirect_uri") or client.callbacks[0]
        if not any(_within(redirect, callback) for callback in client.callbacks):
            return _back(client.callbacks[0], query, error="redirect_uri_mismatch")
        if self.refusing:
            self.refusing -= 1
            return _back(redirect, query, error="access_denied")
        challenge = query.get("code_challenge")
        if challenge is not None and query.get("code_challenge_method") != "S256":
            return _back(redirect, query, error="invalid_request")
        code = new_token("code").removeprefix("code_")
        scopes = tuple(query.get("scope", "").replace(",", " ").split())
        self._codes[code] = _Code(client.id, scopes, redirect, challenge, now + CODE_LIFE)
        return _back(redirect, query, code=code)

    def token(self, form: Mapping[str, str], accept: str, *, now: datetime) -> Reply:
        """Answer the token endpoint."""
        try:
            told = self._token(form, now=now)
        except Problem as problem:
            told = {"error": problem.error, "error_description": problem.description}
            told["error_uri"] = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting"
        if "json" in accept:
            return Reply(200, told)
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return Reply(200, urlencode(told).encode(), kind)

    def _token(self, form: Mapping[str, str], *, now: datetime) -> Json:
        client = self.clients.get(form.get("client_id", ""))
        given = form.get("client_secret", "").encode()
        if client is None or not hmac.compare_digest(client.secret.encode(), given):
            raise Problem("incorrect_client_credentials", "The client_id and/or client_secret are wrong.")
        grant = form.get("grant_type", "authorization_code")
        if grant == "refresh_token":
            return self._refreshed(client, form.get("refresh_token", ""), now=now)
        if grant != "authorization_code":
            raise Problem("unsupported_grant_type", f"{grant} is not supported.")
        return self._granted(client, self._scopes(client, form, now=now), now=now)

    def _scopes(self, client: Client, form: Mapping[str, str], *, now: datetime) -> tuple[str, ...]:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.client != client.id or code.expires_at <= now:
            raise Problem("bad_verification_code", "The code passed is incorrect or expired.")
        if form.get("redirect_uri", code.redirect) != code.redirect:
            raise Problem("redirect_uri_mismatch", "The redirect_uri is not the one the code was made for.")
        if code.challenge is not None and challenge_of(form.get("code_verifier", "")) != code.challenge:
            raise Problem("bad_verification_code", "The code_verifier does not match the code_challenge.")
        return code.scopes

    def _refreshed(self, client: Client, token: str, *, now: datetime) -> Json:
        old = self._refreshes.get(token)
        if old is None or old.client != client.id or old.expires_at <= now or not client.expiring:
            raise Problem("bad_refresh_token", "The refresh token passed is incorrect or expired.")
        del self._refreshes[token]
        self._tokens.revoke(old.access)
        return self._granted(client, (), now=now)

    def _granted(self, client: Client, scopes: tuple[str, ...], *, now: datetime) -> Json:
        if not client.expiring:
            access = new_token("gho")
            self._tokens.grant(access, Caller("oauth", "user 583231", scopes, client=client.id))
            return {"access_token": access, "scope": ",".join(scopes), "token_type": "bearer"}
        access, refresh = new_token("ghu"), new_token("ghr")
        self._tokens.grant(access, Caller("user", "user 583231"), expires_at=now + ACCESS_LIFE)
        self._refreshes[refresh] = _Refresh(client.id, access, now + REFRESH_LIFE)
        return {
            "access_token": access,
            "expires_in": int(ACCESS_LIFE.total_seconds()),
            "refresh_token": refresh,
            "refresh_token_expires_in": int(REFRESH_LIFE.total_seconds()),
            "scope": "",
            "token_type": "bearer",
        }


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def answer_login(login: Login, asked: Asked, path: str, *, now: datetime) -> Reply:
    """Answer a request to a path under /login; Refused with 404 where there is none."""
    if (asked.method, path) == ("GET", "/login/oauth/authorize"):
        return login.authorize(asked, now=now)
    if (asked.method, path) == ("POST", "/login/oauth/access_token"):
        form = {name: str(value) for name, value in {**asked.query, **asked.body}.items()}
        return login.token(form, asked.headers.get("accept", ""), now=now)
    raise Refused(Reply(404, {"error": "Not Found"}))


def _back(redirect: str, query: Mapping[str, str], **told: str) -> Reply:
    state = {"state": query["state"]} if "state" in query else {}
    mark = "&" if urlsplit(redirect).query else "?"
    return Reply(302, b"", {"Location": f"{redirect}{mark}{urlencode({**told, **state})}"})


def _within(redirect: str, callback: str) -> bool:
    """Tell whether a redirect goes to a callback or below it; on this machine any port will do."""
    there, known = urlsplit(redirect), urlsplit(callback)
    same_host = there.hostname == known.hostname
    same_port = there.port == known.port or there.hostname in _LOOPBACK
    below = there.path == known.path or there.path.startswith(known.path.rstrip("/") + "/")
    return there.scheme == known.scheme and same_host and same_port and below
