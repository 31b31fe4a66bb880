"""Jobs gathered from functions, modules and names of modules: what an app is built of."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeGuard

from trigflow.core.dynamic import Dynamic
from trigflow.core.errors import SetupError
from trigflow.core.events import Event
from trigflow.core.jobs import Job, Mark, build_job, mark_of
from trigflow.core.runs import Run
from trigflow.runtime.connections.known import ref_of
from trigflow.runtime.execution.io import IO, SyncIO
from trigflow.sources.credentials import Credentials, Field
from trigflow.sources.delivery import Delivery
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration

JobLike = Callable[..., Any] | ModuleType | str

# What a job may ask for by annotation: True where only plain functions may, False where only async ones.
GIVEN: Mapping[type, bool | None] = {IO: False, SyncIO: True, Event: None, Run: None, Delivery: None}


def check_jobs(found: object) -> None:
    """Refuse what was given as jobs= and is no list of them."""
    if isinstance(found, (str, ModuleType)) or not isinstance(found, Iterable):
        raise SetupError(f"jobs: {found!r:.100} is no list; give one, as in jobs=[triage]")


def integration_given(found: object, where: str) -> Integration:
    """Return what was given as an integration; SetupError for anything else, such as its id or its class."""
    if isinstance(found, Integration):
        return found
    raise SetupError(
        f"{where}: {found!r:.100} is no integration; give the object that triggers come from, such as github"
    )


class Gathered:
    """Jobs by id, and the dynamic triggers that they listen to."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self._dynamics: dict[str, Dynamic[..., object]] = {}

    def add(self, found: JobLike) -> None:
        """Add a decorated function, or all that a module holds; SetupError names what is wrong."""
        if isinstance(found, str):
            found = _module(found)
        if isinstance(found, ModuleType):
            self._add_module(found)
            return
        mark = mark_of(found)
        if mark is None:
            raise SetupError(f"{found!r} is not a job; decorate it with @trigger(...)")
        self._add_job(found, mark)

    def _add_module(self, module: ModuleType) -> None:
        found = [value for value in vars(module).values() if mark_of(value) is not None]
        if not found:
            raise SetupError(f"module {module.__name__} holds no job; decorate a function with @trigger(...)")
        for function in found:
            self.add(function)

    def _add_job(self, function: Callable[..., Any], mark: Mark) -> None:
        job = build_job(function, mark, given=GIVEN)
        known = self.jobs.get(job.id)
        if known is not None and known.function is not function:
            raise SetupError(
                f"two jobs have the id {job.id!r}: {_place(known.function)} and {_place(function)}; "
                "give one of them another with @trigger(..., id=...)"
            )
        for listens in job.listens:
            _check_connection(job.id, listens.trigger.integration)
            if is_webhook(listens.trigger.source):
                listens.trigger.source.check()
            if listens.dynamic is not None:
                self._add_dynamic(listens.dynamic)
        self.jobs.setdefault(job.id, job)

    def _add_dynamic(self, dynamic: Dynamic[..., object]) -> None:
        if not self._dynamics.setdefault(dynamic.id, dynamic).is_like(dynamic):
            raise SetupError(f"two dynamic triggers have the id {dynamic.id!r}; rename one of them")


def credentials_given(
    connections: Iterable[tuple[Integration, str | Mapping[str, str]]],
) -> Mapping[Integration, Credentials]:
    """Return credentials by integration, a text as the first secret field; SetupError for empty ones."""
    found: dict[Integration, Credentials] = {}
    for key, told in connections:
        integration = integration_given(key, "connections")
        fields = [field for way in integration.auth for field in way.fields]
        field = next((field.name for field in fields if field.secret), "token")
        given = {field: told} if isinstance(told, str) else _texts(integration, told)
        if not any(given.values()):
            raise SetupError(
                f"connections: the credentials of {integration.id} are empty; give what the provider gave "
                "you, or leave them out: then variables and the store are looked at"
            )
        # Made tokens may be given, too, and an integration may know of fields that it does not declare.
        if integration.auth and not (
            any(way.mints for way in integration.auth) and given.keys() & _made(integration, fields)
        ):
            _check_names("connections", integration, given, fields)
        found[integration] = Credentials(given)
    return found


def app_credentials_given(
    apps: Iterable[tuple[Integration, Mapping[str, str]]],
) -> Mapping[Integration, Credentials]:
    """Return credentials of our apps at providers by integration; SetupError for unknown fields."""
    found: dict[Integration, Credentials] = {}
    for key, told in apps:
        integration = integration_given(key, "app_credentials")
        given = _texts(integration, told)
        fields = [field for way in integration.auth for field in way.app_fields]
        _check_names("app_credentials", integration, given, fields)
        found[integration] = Credentials(given)
    return found


def _texts(integration: Integration, given: object) -> Mapping[str, str]:
    """Return credentials by field, without those that are None: mostly of a variable that is not set."""
    if given is None:
        return {}
    if not _is_mapping(given):
        kind = type(given).__name__  # not its value, which may be a secret
        raise SetupError(f"the credentials of {integration.id} are of type {kind}; give a dict of texts")
    wrong = [str(name) for name, value in given.items() if value is not None and not isinstance(value, str)]
    if wrong:
        raise SetupError(f"the credentials of {integration.id}: {', '.join(wrong)} must be a text")
    return {str(name): value for name, value in given.items() if isinstance(value, str)}


def _is_mapping(found: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(found, Mapping)


def _made(integration: Integration, fields: Sequence[Field]) -> set[str]:
    """Name the fields that credentials may have where an Auth makes tokens."""
    of_app = [field for way in integration.auth for field in way.app_fields]
    return {"token", *(field.name for field in (*fields, *of_app))}


def _check_connection(job: str, integration: object) -> None:
    """Refuse the name of a connection that nothing could be kept under."""
    if not isinstance(integration, Integration):
        return
    try:
        ref_of(integration, _written(integration.connection))
    except SetupError as error:
        raise SetupError(f"job {job}, {integration.id}.through(...): {error}") from None


def _written(name: object) -> str:
    return name if isinstance(name, str) else f"{name!r} (no text)"


def _check_names(
    keyword: str, integration: Integration, given: Mapping[str, str], fields: Sequence[Field]
) -> None:
    names = dict.fromkeys(field.name for field in fields)
    unknown = ", ".join(name for name in given if name not in names)
    if unknown:
        known = ", ".join(names) or "none"
        raise SetupError(f"{keyword}: {integration.id} has no field {unknown}; it has: {known}")


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise SetupError(f"there is no module {name!r}; is it on the path?") from error
        raise


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
