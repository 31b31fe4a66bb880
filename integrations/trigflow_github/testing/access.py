"""Who asks, and what they may see: tokens, scopes, permissions.

    personal      a classic token: scopes, never expires
    oauth         of an OAuth app: scopes, never expires, sees only the webhooks of its app
    user          of a person through a GitHub App: 8 hours, a refresh token renews it
    installation  of a GitHub App on one account: 1 hour, the repositories of the installation
    app           a JWT: the App itself, for paths under /app

Certain: which kind is accepted under /app, /installation and /user, that a missing
scope looks like a 404, and that a missing permission of an App is a 403 that names it.
Not certain: what a JWT is told elsewhere; it is refused here as bad credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from trigflow.testing.fake_server import Refused, Reply
from trigflow_github.testing.answers import not_found, refused

CallerKind = Literal["personal", "oauth", "user", "installation", "app"]
_HOOKS = re.compile(r"/(repos|orgs)/.+/hooks(/.*)?")
_OF_APPS = re.compile(r"/app(/.*)?|/repos/[^/]+/[^/]+/installation|/orgs/[^/]+/installation")
_READING = ("GET", "HEAD")


@attrs.frozen
class Caller:
    """Who makes a request.

    name: whose requests are counted together. scopes: None where the token has none to name.
    permissions: None where nothing is checked. repositories: ids, None for all that `accounts` has.
    accounts: lower-case names of organizations, None for all. client: the OAuth app it came through.
    """

    kind: CallerKind
    name: str
    scopes: tuple[str, ...] | None = None
    permissions: Mapping[str, str] | None = None
    accounts: frozenset[str] | None = None
    repositories: frozenset[int] | None = None
    client: str | None = None
    installation: int | None = None


@attrs.frozen
class Granted:
    """A token that was given out; expires_at: None for never."""

    caller: Caller
    expires_at: datetime | None = None


class Tokens:
    """The tokens that are good."""

    def __init__(self) -> None:
        self._granted: dict[str, Granted] = {}

    def grant(self, token: str, caller: Caller, *, expires_at: datetime | None = None) -> None:
        """Accept a token from now on."""
        self._granted[token] = Granted(caller, expires_at)

    def revoke(self, token: str) -> None:
        """Accept it no longer."""
        self._granted.pop(token, None)

    def revoke_installation(self, number: int) -> None:
        """Accept none of the tokens of an installation any longer."""
        kept = {t: granted for t, granted in self._granted.items() if granted.caller.installation != number}
        self._granted = kept

    def caller(self, token: str, *, now: datetime) -> Caller | None:
        """Tell whose token it is; None for one that is unknown or has expired."""
        granted = self._granted.get(token)
        if granted is None or (granted.expires_at is not None and granted.expires_at <= now):
            return None
        return granted.caller


def bearer(authorization: str) -> str:
    """Return the token of an Authorization header; "" for another scheme."""
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() in {"bearer", "token"} else ""


def admit(caller: Caller, method: str, path: str) -> None:
    """Refuse what this kind of caller, or this token, may not do at a path."""
    if caller.kind == "app" and not _OF_APPS.fullmatch(path):
        raise refused(401, "Bad credentials")
    if caller.kind != "app" and _OF_APPS.fullmatch(path):
        raise refused(401, "A JSON web token could not be decoded")
    if path.startswith("/installation/") and caller.kind != "installation":
        raise refused(403, "You must authenticate with an installation access token")
    if re.fullmatch("/user(/.*)?", path) and caller.kind == "installation":
        raise refused(403, "Resource not accessible by integration")
    found = _HOOKS.fullmatch(path)
    if found is not None:
        _admit_to_hooks(caller, method, found[1])


def _admit_to_hooks(caller: Caller, method: str, place: str) -> None:
    if caller.permissions is not None:
        name = "repository_hooks" if place == "repos" else "organization_hooks"
        level = "read" if method in _READING else "write"
        if caller.permissions.get(name) not in {level, "write"}:
            told = refused(403, "Resource not accessible by integration").reply
            raise Refused(Reply(403, told.body, {"X-Accepted-GitHub-Permissions": f"{name}={level}"}))
    elif caller.scopes is not None:
        accepted = _scopes_for(method, place)
        if not set(accepted) & set(caller.scopes):
            headers = {"X-Accepted-OAuth-Scopes": ", ".join(accepted)}
            raise Refused(Reply(404, not_found().reply.body, headers))


def _scopes_for(method: str, place: str) -> tuple[str, ...]:
    """Return the scopes of which one is enough."""
    if place == "orgs":
        return ("admin:org_hook",)
    if method in _READING:
        return ("admin:repo_hook", "public_repo", "read:repo_hook", "repo", "write:repo_hook")
    if method == "DELETE":
        return ("admin:repo_hook", "public_repo", "repo")
    return ("admin:repo_hook", "public_repo", "repo", "write:repo_hook")
