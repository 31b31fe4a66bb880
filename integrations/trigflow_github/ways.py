"""The ways to get credentials of GitHub: a token, a GitHub App, a person's consent.

Facts: docs.github.com, "Authorizing OAuth apps" and "Scopes for OAuth apps"; PKCE with S256 since July 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

from trigflow import ApiKey, Auth, OAuth2
from trigflow_github.app_auth import GitHubApp, website_url

SCOPES = ("admin:repo_hook",)  # what webhooks of repositories need, and no more


def ways(base_url: str | None = None, *, app: bool = False, scopes: Sequence[str] = SCOPES) -> Sequence[Auth]:
    """Return the ways to get credentials at the server whose API `base_url` is, the first choice first.

    app: a GitHub App goes before a token. scopes: what a person is asked to agree to.
    """
    token = ApiKey("GITHUB_TOKEN", label="Token", help="personal access token that may write webhooks")
    of_app = GitHubApp(base_url)
    web = website_url(base_url)
    # A GitHub App's client takes no scopes and gives tokens of 8 hours with a refresh token; an OAuth
    # app's tokens stay good until they are taken back. Whose id and secret are set decides.
    consent = OAuth2(
        f"{web}/login/oauth/authorize",
        f"{web}/login/oauth/access_token",
        client_id="GITHUB_CLIENT_ID",
        client_secret="GITHUB_CLIENT_SECRET",  # noqa: S106 - the variable's name
        scopes=scopes,
    )
    return (of_app, token, consent) if app else (token, of_app, consent)
