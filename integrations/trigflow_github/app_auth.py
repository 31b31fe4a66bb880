"""How a GitHub App gets its tokens: a JWT for itself, an installation token for each installation.

    App id, private key ─> JWT, good for minutes ─> the App itself
                                                ╰─> POST …/access_tokens ─> one installation, for an hour

Facts: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App" and
"Generating an installation access token for a GitHub App".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trigflow import Auth, Credentials, Field, NotFound, SetupError, Token, Unauthorized
from trigflow_github.client import GitHubClient

if TYPE_CHECKING:
    import httpx

PRIVATE_KEY = "GITHUB_APP_PRIVATE_KEY"
PRIVATE_KEY_PATH = "GITHUB_APP_PRIVATE_KEY_PATH"
_NUMBER = re.compile("[0-9]{1,20}")
DEFAULT_URL = "https://api.github.com"
# GitHub takes ten minutes at most, by its own clock: ours may be a minute off either way.
LIVES = timedelta(minutes=9)
CLOCKS_DIFFER = timedelta(minutes=1)


class GitHubApp(Auth):
    """A GitHub App: with the number of an installation its credentials act for that, without as the App.

    Needs the extra `trigflow[github-app]`, which signs the App's tokens.
    """

    kind = "github-app"
    mints = True
    fields: tuple[Field, ...] = (
        Field(
            "installation_id",
            "GITHUB_APP_INSTALLATION_ID",
            "Installation",
            help="the number at the end of the installation's settings URL; none: the App itself",
            secret=False,
            required=False,
        ),
    )
    app_fields: tuple[Field, ...] = (
        Field("app_id", "GITHUB_APP_ID", "App ID", help="or its client ID", secret=False),
        Field("private_key", PRIVATE_KEY, "Private key", help=f"PEM; {PRIVATE_KEY_PATH} may name its file"),
    )

    def __init__(self, base_url: str | None = None) -> None:
        """Ask for tokens at the API of `base_url`; default as in `api_url`."""
        self._base_url = base_url

    def from_environment(self, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """Read the installation; empty credentials are the App's own; None where there is no App."""
        if self.app_from_environment(environ) is None:
            return None
        return super().from_environment(environ) or Credentials({})

    def app_set_in(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Read the App, its private key from the variable or from the file that another one names.

        Raises SetupError where that file can't be read.
        """
        path = environ.get(PRIVATE_KEY_PATH)
        if path and not environ.get(PRIVATE_KEY):
            environ = {**environ, PRIVATE_KEY: _read(path)}
        return super().app_set_in(environ)

    def remedy(self) -> str:
        """Say what to set."""
        return f"set GITHUB_APP_ID and {PRIVATE_KEY}"

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        """Make the App's JWT or, with an installation_id, ask for a token of that installation.

        Raises Unauthorized where the App or the installation is gone or suspended.
        """
        signed, expires_at = app_token(app, now=now)
        installation = kept.get("installation_id")
        if not installation:
            return Token({"token": signed}, expires_at, app["app_id"])
        if not _NUMBER.fullmatch(installation):  # not quoted: it may be a token that was meant for ApiKey
            raise SetupError(
                "installation_id of a GitHub App's connection is no number; give a token as {'token': ...}"
            )
        hub = GitHubClient(signed, base_url=api_url(self._base_url), http=http, clock=lambda: now)
        try:
            made = await hub.installation_token(installation)
        except NotFound as error:
            raise Unauthorized(
                f"the App {app['app_id']} has no installation {installation} any more; install it again, or "
                "remove the connection"
            ) from error
        return Token({"token": made.token}, made.expires_at, installation)


def api_url(base_url: str | None) -> str:
    """Return the URL of the API: as given, else GITHUB_API_URL, else that of github.com."""
    return base_url or os.environ.get("GITHUB_API_URL") or DEFAULT_URL


def website_url(base_url: str | None) -> str:
    """Return where people log in: GITHUB_SERVER_URL, else as it follows from the API's URL.

    A base_url that is given goes before both variables: its secret goes to no other server.
    """
    told = None if base_url else os.environ.get("GITHUB_SERVER_URL")
    if told:
        return told.rstrip("/")
    parts = urlsplit(api_url(base_url))
    return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"


def app_token(app: Credentials, *, now: datetime) -> tuple[str, datetime]:
    """Sign the JWT of an App; returns it and when it ends (aware)."""
    try:
        import jwt  # noqa: PLC0415 - an extra: only who has an App needs it
    except ImportError as error:
        raise SetupError(
            "a GitHub App's tokens are signed with PyJWT, which is not installed; "
            "run pip install 'trigflow[github-app]'"
        ) from error

    made, ends = int((now - CLOCKS_DIFFER).timestamp()), now.replace(microsecond=0) + LIVES
    claims = {"iat": made, "exp": int(ends.timestamp()), "iss": app["app_id"]}
    # Environment files can't hold lines: there people write \n.
    pem = app["private_key"].replace("\\n", "\n")
    try:
        return jwt.encode(claims, pem, algorithm="RS256"), ends
    except (jwt.PyJWTError, ValueError, TypeError):
        # Without the cause: it may quote the key.
        raise SetupError(
            f"the private key of the GitHub App is no RSA key in PEM; set {PRIVATE_KEY} to the whole file "
            f"that GitHub gave, with its BEGIN and END lines, or {PRIVATE_KEY_PATH} to its path"
        ) from None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{PRIVATE_KEY_PATH}: {path} can't be read ({type(error).__name__}); "
            "name the .pem file that GitHub gave"
        ) from None
