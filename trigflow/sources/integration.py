"""An integration: a provider as a frozen class, its events as decorated methods.

    class GitHub(Integration, id="github", auth=[ApiKey("GITHUB_TOKEN")]):
        repo: str | None = None                      # a field: params' default

        @event("issues", Issues, source=webhook, examples=samples("issues"))
        def issues(self, *, repo: str | None = None) -> Hook:
            '''An issue was opened, closed, …'''

    github = GitHub()
    github.issues(repo="acme/web")                   # a Trigger[Issues]

An instance describes; it holds no credentials and no client. Those belong to
the app and to the connection that an event came from.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeGuard,
    TypeVar,
    cast,
    dataclass_transform,
    overload,
)

import attrs

from trigflow.core.errors import SetupError
from trigflow.core.filters import Filter
from trigflow.core.marked import read_marks
from trigflow.core.triggers import Specification, Trigger, When
from trigflow.sources.credentials import Account, Auth, Checked, Credentials
from trigflow.sources.external import ExternalSource, is_webhook
from trigflow.sources.samples import Examples, examples_of

_ID = re.compile("[a-z][a-z0-9_-]*")
A = ParamSpec("A")
I = TypeVar("I", bound="Integration")  # noqa: E741 - an integration
T = TypeVar("T")
ParamsT = TypeVar("ParamsT")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Integration:
    """A provider: subclass it, annotate its defaults, decorate its events.

    Subclasses become frozen attrs classes; annotated names are keyword-only
    fields. `client` makes the API client of one connection.
    """

    id: ClassVar[str]
    auth: ClassVar[tuple[Auth, ...]]

    if TYPE_CHECKING:

        @property
        def connection(self) -> str:
            """The name of the connection that its events and calls go through; "" for the default one."""
            ...

    def __init_subclass__(cls, *, id: str, auth: Sequence[Auth] = ()) -> None:  # noqa: A002
        cls.id, cls.auth = id, _ways(id, auth)
        _check_methods(cls)
        if _is_made(cls):
            return
        # A field of every integration; one of this class, which is none, would not be collected.
        setattr(cls, "__annotations__", {**inspect.get_annotations(cls), "connection": "str"})  # noqa: B010 - no type
        cls.connection = ""  # type: ignore[assignment, method-assign]  # the field's default
        attrs.define(cls, frozen=True, kw_only=True, slots=False, auto_attribs=True)

    def through(self, connection: str) -> Self:
        """Return the same description for another account, by the name that its connection is kept under."""
        described: Any = self
        same: Self = attrs.evolve(described, connection=connection)
        return same

    @property
    def connection_ref(self) -> str:
        """How the connection is written everywhere: `github`, or `github/name` if it is not the default."""
        return f"{self.id}/{self.connection}" if self.connection else self.id

    async def check(self, client: Any) -> Checked:
        """Ask the provider whether a client's credentials are good, and whose they are.

        Raises Unauthorized where they are not. Nothing is kept that was not checked.
        """
        raise SetupError(f"integration {self.id} can't check credentials; define `check`")

    async def uncovered(self, client: Any, events: Collection[str]) -> Sequence[str]:
        """Name the events that the credentials don't cover, each with what it needs; none if that is unknown.

        events: as told to the provider. `trigflow doctor` asks, before anything is registered.
        """
        return ()

    async def accounts(self, client: Any) -> Sequence[Account]:
        """Return the accounts that our app at the provider may act for; none where there is no such app.

        Each becomes a connection. `client` is that of the app itself.
        """
        return ()

    def client(self, credentials: Credentials) -> Any:
        """Make the API client of a connection; it may be an async context manager.

        Called once per connection and process, when it is first needed.
        """
        raise SetupError(f"integration {self.id} has no client; define `client` to use its API")

    @classmethod
    def specifications(cls) -> Iterator[tuple[str, Specification]]:
        """Return the event specifications by method name, in the order written."""
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(value, EventMethod):
                    yield name, value.specification

    def credentials(self, environ: Mapping[str, str]) -> Credentials | None:
        """Find credentials in the environment."""
        ways = (way.from_environment(environ) for way in self.auth)
        return next((found for found in ways if found is not None), None)


def _ways(integration: object, auth: Any) -> tuple[Auth, ...]:
    """Check what a class is declared with; refs such as github/acme are made of the id."""
    if not isinstance(integration, str) or not _ID.fullmatch(integration):
        raise SetupError(f"integration id={integration!r}; use lower-case letters, digits, - and _")
    ways = cast("Sequence[object]", auth if isinstance(auth, Sequence) else [None])
    if not all(isinstance(way, Auth) for way in ways):
        raise SetupError(f"integration {integration}, auth: give a list, such as auth=[ApiKey('TOKEN')]")
    return tuple(cast("Sequence[Auth]", ways))


def _check_methods(cls: type[Integration]) -> None:
    for name in ("check", "uncovered", "accounts"):
        if not inspect.iscoroutinefunction(getattr(cls, name)):
            raise SetupError(f"integration {cls.id}, {name}: it is not async; write `async def {name}`")
    if inspect.iscoroutinefunction(cls.client):
        raise SetupError(
            f"integration {cls.id}, client: it is async; write `def`, and let what it returns be an async "
            "context manager where it must be opened"
        )


def _is_made(cls: type[Integration]) -> bool:
    """Tell whether a class is what its bases are already; making one anew takes a millisecond."""
    fields = {base.__dict__.get("__attrs_attrs__") for base in cls.__mro__} - {None}
    own = inspect.get_annotations(cls) or "__attrs_post_init__" in vars(cls)
    return len(fields) == 1 and not own


class BoundEvent(Generic[A, T]):
    """An event of one integration: call it with its params to get a trigger."""

    def __init__(self, method: EventMethod[Any, A, T], integration: Integration) -> None:
        self._method, self._integration = method, integration
        functools.update_wrapper(self, method.function)

    @property
    def specification(self) -> Specification:
        """What can happen."""
        return self._method.specification

    @property
    def integration(self) -> Integration:
        """The description that it belongs to."""
        return self._integration

    def __call__(self, *args: A.args, **kwargs: A.kwargs) -> Trigger[T]:
        """Make a trigger."""
        found = self._method.function(self._integration, *args, **kwargs)
        when = found if _is_when(found) else When[Any](found, {})
        source: Any = self.specification.source
        if isinstance(source.params, type) and not isinstance(when.params, source.params):
            wanted = source.params.__name__
            raise SetupError(
                f"{self.name} returned a {type(when.params).__name__}; return the params of {source.id}: "
                f"{wanted}(...), or When({wanted}(...), filter)"
            )
        return Trigger(self.specification, when.params, self.name, self._integration, when.filter or None)

    @property
    def name(self) -> str:
        """The name as a person writes it: `github.issues`."""
        return f"{self._integration.id}.{self._method.function.__name__}"

    def __repr__(self) -> str:
        return self.name


def _is_when(found: object) -> TypeGuard[When[Any]]:
    return isinstance(found, When)


class EventMethod(Generic[I, A, T]):
    """What `event` makes of a method: on an instance a BoundEvent, on the class itself."""

    def __init__(self, specification: Specification, function: Callable[..., Any]) -> None:
        self.specification: Specification = specification
        self.function: Callable[..., Any] = function

    @overload
    def __get__(self, instance: None, owner: type[I]) -> EventMethod[I, A, T]: ...
    @overload
    def __get__(self, instance: I, owner: type[I]) -> BoundEvent[A, T]: ...
    def __get__(self, instance: I | None, owner: type[I]) -> EventMethod[I, A, T] | BoundEvent[A, T]:
        return self if instance is None else BoundEvent(self, instance)


def _check_event(name: object, payload: object, source: object) -> None:
    where = f"event {name!r}"
    if not isinstance(name, str) or not name:
        raise SetupError('@event wants the event\'s name as received: @event("issue", Issue, source=webhook)')
    if not is_webhook(source):
        raise SetupError(f"{where}, source: a {type(source).__name__} is none; give an ExternalSource")
    kind: type[object] = type(payload)
    if payload is None or attrs.has(kind) or isinstance(payload, str | bytes):
        raise SetupError(f"{where}, payload: give the type of its payload, such as a class or dict")


def event(
    name: str,
    payload: type[T] | Callable[[], type[T]],
    /,
    *,
    source: ExternalSource[ParamsT, Any, Any],
    registers: str | Sequence[str] | None = None,
    examples: Examples = dict,
    properties: Callable[[Any], Mapping[str, str]] | None = None,
    filter: Filter | None = None,  # noqa: A002 - the field's word
    sensitive: Sequence[str] = (),
    icon: str = "",
) -> Callable[[Callable[Concatenate[I, A], ParamsT | When[ParamsT]]], EventMethod[I, A, T]]:
    """Declare an event specification on a method of an integration.

    name: as received. registers: as told to the provider, if different.
    examples: real payloads by name: JSON texts, or `samples(__name__, "issue")` for those in files.
    payload: its type, or `lambda: module.Type` where modules of types are imported only when needed.
    The method's keywords are the params of a trigger; it returns the source's
    params, with `When` also a filter. Its docstring is title and description.
    sensitive: fields of the payload that nobody may read but the job, such as
        "customer.email"; written as `$path` in a filter, and * for every key.
    """
    _check_event(name, payload, source)
    marked = read_marks(sensitive, where=f"event {name}")
    known = examples_of(examples, where=f"event {name}")

    def declare(function: Callable[Concatenate[I, A], ParamsT | When[ParamsT]]) -> EventMethod[I, A, T]:
        title, _, description = (inspect.getdoc(function) or name).partition("\n")
        names = (
            (registers,) if isinstance(registers, str) else tuple((name,) if registers is None else registers)
        )
        made = Specification(
            name, source, payload, names, title, description.strip(), icon, filter,
            known, properties, marked,
        )  # fmt: skip
        return EventMethod(made, function)

    return declare
