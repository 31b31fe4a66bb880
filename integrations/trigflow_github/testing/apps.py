"""A GitHub App: its key, its one webhook, its installations and their tokens.

Certain, of GitHub: a JWT is RS256, `exp` lies at most 10 minutes ahead, `iss` is the
App's id or client id; a token of an installation lives for 1 hour; there is one
webhook for all installations, its events are no matter of the API, and some events
reach it whatever it is subscribed to.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trigflow.testing.fake_server import Refused
from trigflow_github.testing.access import Caller
from trigflow_github.testing.answers import Json, invalid, refused
from trigflow_github.testing.hooks import FakeHook, written

JWT_LIFE = timedelta(minutes=10)
TOKEN_LIFE = timedelta(hours=1)
ALWAYS_SENT = ("installation", "installation_repositories", "github_app_authorization")
PERMISSIONS = {
    "contents": "read",
    "issues": "write",
    "metadata": "read",
    "organization_hooks": "write",
    "pull_requests": "write",
    "repository_hooks": "write",
    "statuses": "write",
}


@attrs.define
class FakeApp:
    """An App; `hook` is where all its installations' events go, `hook.events` which of them."""

    id: int
    client_id: str
    slug: str
    public_key: rsa.RSAPublicKey = attrs.field(repr=False)
    permissions: Mapping[str, str]
    hook: FakeHook
    created_at: datetime

    def shown(self, owner: Json, *, installations: int) -> Json:
        """Show the App as GitHub does."""
        return {
            "id": self.id,
            "slug": self.slug,
            "node_id": f"A_{self.id}",
            "client_id": self.client_id,
            "owner": owner,
            "name": self.slug,
            "description": None,
            "external_url": "https://example.com",
            "html_url": f"https://github.com/apps/{self.slug}",
            "created_at": written(self.created_at),
            "updated_at": written(self.created_at),
            "permissions": dict(self.permissions),
            "events": list(self.hook.events),
            "installations_count": installations,
        }


@attrs.define
class Installation:
    """An App on an account; repositories: ids, None for all that the account has or will have."""

    id: int
    account: str
    account_id: int
    permissions: Mapping[str, str]
    repositories: set[int] | None
    created_at: datetime
    suspended_at: datetime | None = None

    @property
    def selection(self) -> str:
        """Say "all" or "selected"."""
        return "all" if self.repositories is None else "selected"

    def has(self, repository_id: int) -> bool:
        """Tell whether it covers a repository of its account."""
        return self.repositories is None or repository_id in self.repositories

    def shown(self, app: FakeApp, account: Json, base_url: str) -> Json:
        """Show the installation as GitHub does."""
        url = f"{base_url}/app/installations/{self.id}"
        return {
            "id": self.id,
            "account": account,
            "repository_selection": self.selection,
            "access_tokens_url": f"{url}/access_tokens",
            "repositories_url": f"{base_url}/installation/repositories",
            "html_url": f"https://github.com/organizations/{self.account}/settings/installations/{self.id}",
            "app_id": app.id,
            "app_slug": app.slug,
            "client_id": app.client_id,
            "target_id": self.account_id,
            "target_type": "Organization",
            "permissions": dict(self.permissions),
            "events": list(app.hook.events),
            "created_at": written(self.created_at),
            "updated_at": written(self.created_at),
            "single_file_name": None,
            "has_multiple_single_files": False,
            "single_file_paths": [],
            "suspended_by": None,
            "suspended_at": written(self.suspended_at) if self.suspended_at else None,
        }

    def short(self) -> Json:
        """Show what an event of this installation carries."""
        name = base64.b64encode(f"023:IntegrationInstallation{self.id}".encode()).decode()
        return {"id": self.id, "node_id": name}


def public_key(pem: str | bytes) -> rsa.RSAPublicKey:
    """Read an RSA public key in PEM; ValueError for another."""
    key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    if not isinstance(key, rsa.RSAPublicKey):
        kind = type(key).__name__
        raise ValueError(f"a GitHub App signs with RSA; this key is {kind}")  # noqa: TRY004 - a key, but not this kind
    return key


def app_of_jwt(app: FakeApp, token: str, *, now: datetime) -> Caller:
    """Check the JWT of an App; Refused with a 401 that names the claim that is wrong."""
    claims = _claims(app, token)
    seconds, issued, expires = now.timestamp(), _time(claims, "iat"), _time(claims, "exp")
    if str(claims.get("iss")) not in {str(app.id), app.client_id}:
        raise refused(401, "'Issuer' claim ('iss') must be the App's id or client id")
    if issued is None or issued > seconds:
        raise refused(401, "'Issued at' claim ('iat') must be a time in the past")
    if expires is None or expires <= seconds:
        raise refused(401, "'Expiration time' claim ('exp') must be a time in the future")
    if expires > seconds + JWT_LIFE.total_seconds():
        raise refused(401, "'Expiration time' claim ('exp') is too far in the future")
    return Caller("app", f"app {app.id}")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    claim = claims.get(name)
    return claim if isinstance(claim, int | float) and not isinstance(claim, bool) else None


def _claims(app: FakeApp, token: str) -> dict[str, Any]:
    try:
        header, claims, signature = token.encode("ascii").split(b".")
        if json.loads(_decoded(header)).get("alg") != "RS256":
            raise _undecoded()
        app.public_key.verify(_decoded(signature), header + b"." + claims, padding.PKCS1v15(), SHA256())
        told: object = json.loads(_decoded(claims))
    except (ValueError, binascii.Error, AttributeError, InvalidSignature):
        raise _undecoded() from None
    if not isinstance(told, dict):
        raise _undecoded()
    return cast("dict[str, Any]", told)


def _undecoded() -> Refused:
    return refused(401, "A JSON web token could not be decoded")


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def narrowed(installation: Installation, body: Json, known: Mapping[int, str]) -> frozenset[int] | None:
    """Return the ids of the repositories that a token is to be good for; None for all of the installation.

    known: the repositories of the installation, names without the owner.
    """
    if "repositories" not in body and "repository_ids" not in body:
        return None if installation.repositories is None else frozenset(installation.repositories)
    names = {name.lower(): number for number, name in known.items()}
    asked: set[int | None] = set(body.get("repository_ids", ()))
    asked |= {names.get(str(name).lower()) for name in body.get("repositories", ())}
    if not asked <= set(known):
        raise refused(422, "A repository does not exist or is not accessible to the installation.")
    return frozenset(number for number in asked if number is not None)


def lowered(installation: Installation, body: Json) -> Mapping[str, str]:
    """Return the permissions of a token: those asked for, none above the installation's."""
    asked: Mapping[str, str] | None = body.get("permissions")
    if asked is None:
        return installation.permissions
    for name, level in asked.items():
        if installation.permissions.get(name) not in {level, "write"}:
            raise refused(422, "The permissions requested are not granted to this installation.")
    return {"metadata": "read", **asked}


def new_token(prefix: str) -> str:
    """Make a token; its length is no promise."""
    return f"{prefix}_{secrets.token_hex(18)}"


def check_config(hook: FakeHook, body: Json) -> None:
    """Refuse a configuration of the App's webhook that can't be."""
    if body.get("content_type", hook.content_type) not in {"json", "form"}:
        raise invalid(
            {"resource": "Hook", "code": "custom", "message": "Invalid config attribute: content-type"}
        )


def selected(names: Iterable[str] | None, ids: Mapping[str, int]) -> set[int] | None:
    """Turn names of repositories into ids; KeyError for a strange one."""
    return None if names is None else {ids[name.lower()] for name in names}
