"""What is known of connections without asking anybody: integrations, given credentials, the environment.

    github        an integration's default connection
    github/acme   another one of it

First what `App(connections=...)` was given, then the store, then the environment for the
default one: the store is asked by trigflow.runtime.connections.lifecycle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

from trigflow.core.errors import SetupError
from trigflow.runtime.sealing.discreet import Had
from trigflow.sources.credentials import ApiKey, Auth, Credentials
from trigflow.sources.integration import Integration

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,99}")  # in URLs, on command lines and in tables
MANUAL = "manual"


@attrs.frozen
class Way:
    """Credentials, and the Auth that they are for."""

    auth: Auth
    credentials: Credentials


def ref_of(integration: Integration | str, name: str = "") -> str:
    """Name a connection; SetupError where the name can't be one."""
    if isinstance(integration, Integration):
        integration = integration.id
    if name and not NAME.fullmatch(name):
        raise SetupError(
            f"{name[:100]!r} can't be the name of a connection; use letters, digits and . _ @ : + - "
            "(up to 100, starting with a letter or digit)"
        )
    return f"{integration}/{name}" if name else integration


class Known:
    """The integrations of an app and the credentials that it was given."""

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        given: Mapping[str, Credentials],
        app_given: Mapping[str, Credentials],
        environ: Mapping[str, str],
    ) -> None:
        """Know integrations by ref or id, given credentials by ref, those of our apps by integration's id."""
        self._integrations, self._given, self._app_given = integrations, given, app_given
        self._environ = environ
        self._learned: dict[str, Integration] = {}
        self._read = Had()  # what an Auth or an integration found by itself, in a file for example

    def learn(self, integration: Integration) -> None:
        """Hear of an integration that no trigger names; the app's own go before it."""
        self._learned.setdefault(integration.id, integration.through(""))

    def integration(self, ref: str) -> Integration | None:
        """Return a connection's integration; None where this app has no such."""
        exact = self._integrations.get(ref)
        if exact is not None:
            return exact
        id_, _, name = ref.partition("/")
        found = self._integrations.get(id_) or self._learned.get(id_)
        return found if found is None else found.through(name)

    def required(self, ref: str) -> Integration:
        """Return a connection's integration; SetupError where this app has no such."""
        found = self.integration(ref)
        if found is None:
            names = ", ".join(sorted({one.id for one in self._integrations.values()})) or "none"
            raise SetupError(
                f"this app has no integration {ref.partition('/')[0]!r}, it has: {names}; "
                "name it in a trigger or in connections="
            )
        return found

    def ids(self) -> Iterator[str]:
        """Return the ids of integrations."""
        yield from dict.fromkeys(one.id for one in (*self._integrations.values(), *self._learned.values()))

    def refs(self) -> Iterator[str]:
        """Return what credentials were given for."""
        yield from self._given

    def given(self, ref: str) -> Way | None:
        """Return the credentials that the app was given."""
        values, integration = self._given.get(ref), self.integration(ref)
        if values is None or integration is None:
            return None
        return Way(fitting(integration, values), values)

    def from_environment(self, ref: str) -> Way | None:
        """Return the credentials of the environment, which are for the default connection alone."""
        integration = None if "/" in ref else self.integration(ref)
        for auth in integration.auth if integration is not None else ():
            found = auth.from_environment(self._environ)
            if found is None and self._is_app_itself(integration, auth):
                found = Credentials({})
            if found is not None:
                return Way(auth, found)
        # An integration may find them in a way of its own.
        found = None if integration is None else integration.credentials(self._environ)
        if found is None:
            return None
        self._read.note(found.values())
        return Way(ApiKey(""), found)

    def _is_app_itself(self, integration: Integration | None, auth: Auth) -> bool:
        """Tell whether our app at the provider acts for itself where no account is named."""
        optional = bool(auth.fields) and not any(field.required for field in auth.fields)
        return integration is not None and auth.mints and optional and self.has_app(integration, auth)

    def app(self, integration: Integration, auth: Auth, kept: Mapping[str, str]) -> Credentials:
        """Return the credentials of our app: a connection's own, else given, else the environment's.

        SetupError where one is missing; its text names them.
        """
        found = {field.name: kept[field.name] for field in auth.app_fields if field.name in kept}
        if not found:  # an app of the account's own is whole: our secret goes with no id but ours
            given = self._app_given.get(integration.id, Credentials({}))
            found = {**auth.app_set_in(self._environ)}
            found |= {field.name: given[field.name] for field in auth.app_fields if field.name in given}
        self._read.note(
            found[field.name] for field in auth.app_fields if field.secret and field.name in found
        )
        lacking = [field for field in auth.app_fields if field.required and not found.get(field.name)]
        if lacking:
            raise SetupError(
                f"{integration.id}: the {' and '.join(field.name for field in lacking)} of our app there "
                f"{'is' if len(lacking) == 1 else 'are'} missing; set "
                f"{' and '.join(field.env for field in lacking)}, or app_credentials= of the App"
            )
        return Credentials({name: value for name, value in found.items() if value})

    def has_app(self, integration: Integration, auth: Auth) -> bool:
        """Tell whether there are credentials of our app at a provider."""
        needed = {field.name for field in auth.app_fields if field.required}
        given = self._app_given.get(integration.id, Credentials({}))
        return bool(needed) and (needed <= set(given) or auth.app_from_environment(self._environ) is not None)

    def missing(self, ref: str) -> str:
        """Say what a connection without credentials needs."""
        integration = self.integration(ref)
        if integration is None:
            return "no credentials: this app has no such integration"
        if "/" in ref:
            name = ref.partition("/")[2]
            return f"no credentials: `trigflow connect {integration.id} --name {name}`"
        begun = [lacking for way in integration.auth if (lacking := self._lacking(integration, way))]
        if begun:
            return "no credentials: set " + " or ".join(begun)
        ways = " or ".join(way.remedy() for way in integration.auth)
        return f"no credentials: {ways or f'integration {integration.id} declares no auth'}"

    def _lacking(self, integration: Integration, auth: Auth) -> str:
        """Name what a way that somebody has begun to set up still needs; empty where none has."""
        kept = {field.name for field in auth.fields if self._environ.get(field.env)}
        app = {*auth.app_set_in(self._environ), *self._app_given.get(integration.id, ())}
        lacking = [field.env for field in auth.fields if field.required and field.name not in kept]
        of_app = [field.env for field in auth.app_fields if field.required and field.name not in app]
        is_begun = kept or (app & {field.name for field in auth.app_fields})
        return " and ".join((*of_app, *lacking)) if is_begun else ""

    def secrets(self) -> Iterator[str]:
        """Return all values that were given or that the environment holds: what no message may tell."""
        for values in (*self._given.values(), *self._app_given.values()):
            yield from values.values()
        yield from self._read
        for integration in {
            one.id: one for one in (*self._learned.values(), *self._integrations.values())
        }.values():
            for auth in integration.auth:
                for field in (*auth.fields, *auth.app_fields):
                    value = self._environ.get(field.env) if field.secret else None
                    if value:
                        yield value


def auth_of(integration: Integration, kind: str) -> Auth:
    """Return an integration's Auth of a kind; SetupError where it has none."""
    for auth in integration.auth:
        if auth.kind == kind:
            return auth
    if not integration.auth and kind == ApiKey.kind:
        return ApiKey("")
    kinds = ", ".join(auth.kind for auth in integration.auth) or "none"
    raise SetupError(f"integration {integration.id} has no credentials of kind {kind!r}; it has: {kinds}")


def fitting(integration: Integration, values: Mapping[str, str]) -> Auth:
    """Choose the Auth whose fields these are; else the first, or one of a single key."""
    for auth in integration.auth:
        names = {field.name for field in auth.fields}
        needed = {field.name for field in auth.fields if field.required}
        if needed <= set(values) <= names:
            return auth
    return integration.auth[0] if integration.auth else ApiKey("")


def checked_fields(auth: Auth, values: Mapping[str, str]) -> Credentials:
    """Return credentials that a person gave; SetupError where a field is missing, empty or not known."""
    fields = {field.name: field for field in (*auth.fields, *auth.app_fields)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SetupError(f"{auth.kind} has no {_listed(unknown)}; it has {_listed(fields)}")
    lacking = [field.name for field in auth.fields if field.required and not values.get(field.name)]
    if lacking:
        raise SetupError(f"{auth.kind}: {_listed(lacking)} must not be empty")
    return Credentials({name: value for name, value in values.items() if value})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no fields"
