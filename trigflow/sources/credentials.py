"""How an account's credentials are given: what to ask for, where to find it, how it stays fresh.

    app credentials   of our app at a provider: client id and secret, private key
    credentials       of one account: what a person gave, or a token that was minted

An `Auth` is a declaration. It keeps nothing; who holds credentials is a connection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import attrs

from trigflow.core.errors import SetupError

if TYPE_CHECKING:
    import httpx


class Credentials(Mapping[str, str]):
    """One account's credentials by field name; shows no value of its own accord."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{name}=***' for name in self._values)})"


@attrs.frozen
class Field:
    """One value that a person gives: what prompts, forms and docs show."""

    name: str
    env: str
    label: str
    help: str = ""
    placeholder: str = ""
    secret: bool = True
    required: bool = True


@attrs.frozen
class Token:
    """Fresh credentials: fields that replace those of the same name, and how long they are good.

    expires_at: aware; None where they stay good until they are taken back.
    account: the provider's id of the account, where the answer told it.
    """

    values: Mapping[str, str] = attrs.field(repr=lambda values: ", ".join(f"{name}=***" for name in values))
    expires_at: datetime | None = None
    account: str | None = None


@attrs.frozen
class Checked:
    """What a provider says of credentials that are good.

    account: its id of the account; what deliveries at a shared endpoint are told apart by.
    label: the account as a person knows it.
    missing: names of scopes or permissions that are needed and not granted.
    """

    account: str | None = None
    label: str = ""
    missing: tuple[str, ...] = ()


@attrs.frozen
class Account:
    """An account that our app at a provider may act for, such as an installation of a GitHub App.

    name: what its connection is called. id: the provider's, as deliveries name it.
    values: the fields of its credentials.
    """

    name: str
    id: str
    values: Mapping[str, str] = attrs.field(repr=False)


class Auth:
    """A way to get credentials. Subclasses: ApiKey, OAuth2, ClientCredentials, Manual, or an author's own.

    kind: a short stable name. fields: what a person gives for one account.
    app_fields: what belongs to our app at the provider, the same for all accounts.
    """

    kind: ClassVar[str]
    mints: ClassVar[bool] = False  # tokens are made from the credentials, and made anew before they expire
    fields: tuple[Field, ...] = ()
    app_fields: tuple[Field, ...] = ()

    def from_environment(self, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """Read one account's fields; None where none is set, or a required one is missing or empty."""
        return _read(self.fields, environ)

    def app_from_environment(self, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """Read the app's fields; None where a required one is missing or empty."""
        return _whole(self.app_fields, self.app_set_in(environ))

    def app_set_in(self, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Return those of the app's fields that are set, by name, whether they are all or not."""
        return _set_in(self.app_fields, environ)

    def remedy(self) -> str:
        """Say what to set."""
        return "set " + " and ".join(field.env for field in self.fields if field.required)

    async def token(
        self, app: Credentials, kept: Credentials, http: httpx.AsyncClient, *, now: datetime
    ) -> Token:
        """Make a fresh token (`mints`): from a refresh token, client credentials or a private key.

        Raises Unauthorized where the provider refuses for good: a person is needed;
        RateLimited or ApiError where it may work later.
        """
        raise SetupError(f"{type(self).__name__} makes no tokens")


def _read(fields: tuple[Field, ...], environ: Mapping[str, str]) -> Credentials | None:
    return _whole(fields, _set_in(fields, environ))


def _set_in(fields: tuple[Field, ...], environ: Mapping[str, str]) -> Mapping[str, str]:
    return {field.name: environ[field.env] for field in fields if environ.get(field.env)}


def _whole(fields: tuple[Field, ...], values: Mapping[str, str]) -> Credentials | None:
    lacks = any(field.required and field.name not in values for field in fields)
    return None if lacks or not values else Credentials(values)


class ApiKey(Auth):
    """Credentials that a person pastes or sets in the environment: one key, or several fields."""

    kind = "api-key"

    def __init__(
        self,
        env: str,
        *more: Field,
        name: str = "token",
        label: str = "API key",
        help: str = "",  # noqa: A002 - the field's word
    ) -> None:
        """Take the environment variable of the key itself, and further fields if one value is not enough."""
        self.fields: tuple[Field, ...] = (Field(name, env, label, help), *more)

    def __repr__(self) -> str:
        return f"ApiKey({self.fields[0].env!r})"
