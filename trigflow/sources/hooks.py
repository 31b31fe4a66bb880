"""Whether a hook is what its source can call, and whether what came back is what it may give.

    declared   when it is decorated: callable, async or not, so many arguments   SetupError
    given      when it was called: the type that it returned                     WrongHook

Each error names the source, the hook and the remedy: an author reads it, not the one who wrote this.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any, Literal, TypeGuard, TypeVar, cast

import attrs

from trigflow.core.errors import RegistrationError, SetupError
from trigflow.core.events import Event, Fetch, Ignored, Metadata, Outcome, Respond, Signal
from trigflow.core.payloads import encode_json
from trigflow.sources.registration import (
    Choice,
    Choices,
    Lost,
    Missed,
    Registered,
    Registration,
    Webhook,
    WebhookApi,
)
from trigflow.sources.tokens import Verifier

P = TypeVar("P")
C = TypeVar("C")
D = TypeVar("D")
F = TypeVar("F", bound=Callable[..., Any])
Manner = Literal["async", "yields", "plain"]
OUTCOMES = (Event, Fetch, Ignored, Metadata, Respond, Signal)


class WrongHook(RegistrationError):
    """A hook of an integration gave something that it may not give."""

    def __init__(self, source: str, hook: str, gave: str, wanted: str) -> None:
        super().__init__(f"source {source}, {hook}: it gave {gave}; give {wanted}")
        self.source = source
        self.hook = hook


def declared(source: str, hook: str, function: F, manner: Manner, *arguments: str) -> F:
    """Return a hook that can be called as its source will call it; SetupError for any other."""
    where = f"source {source}, {hook}"
    if callable(function):
        _check_manner(where, function, manner)
    _check_call(where, function, arguments)
    return function


def _check_call(where: str, function: object, arguments: Sequence[str]) -> None:
    if not callable(function):
        raise SetupError(f"{where}: {_named(function)} can't be called; give a function")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        wanted = ", ".join(arguments)
        raise SetupError(f"{where}: it is called with ({wanted}), which does not fit: {error}") from None
    except ValueError:  # built in: it has no signature to look at
        pass


def _check_manner(where: str, function: Callable[..., Any], manner: Manner) -> None:
    called: Any = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
    yields = inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(called)
    if manner == "async" and yields:
        raise SetupError(f"{where}: it yields; return what it gives")
    # A lambda can't be written async; it hands on what another function returns to await.
    if manner == "async" and not is_async and getattr(function, "__name__", "") != "<lambda>":
        raise SetupError(f"{where}: it is not async; write `async def`")
    if manner == "yields" and is_async:
        raise SetupError(f"{where}: it returns; write `async def` and `yield` each Missed or Lost")
    if manner == "plain" and (is_async or yields):
        raise SetupError(f"{where}: it is async, but does no I/O; write `def`")


def registered(
    source: str, hook: str, gave: object, data: type[Any], *, may_be_none: bool
) -> Registered[Any] | None:
    """Return what a hook that registers, renews or rotates gave."""
    wanted = f"Registered({_name_of(data)}(...))" + (" or None" if may_be_none else "")
    if gave is None and may_be_none:
        return None
    if not _is_registered(gave):
        raise _wrong(source, hook, gave, wanted)
    _check_kept(source, hook, gave, data)
    return gave


def webhook(source: str, call: str, gave: object, data: type[Any]) -> Webhook[Any]:
    """Return the webhook that a call of `api` gave."""
    if not _is_webhook(gave):
        raise _wrong(source, call, gave, f"Webhook(url, events, {_name_of(data)}(...))")
    _check_kept(source, call, gave, data)
    if not isinstance(gave.url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - foreign code
        raise _wrong(source, call, gave.url, "the webhook's URL as text")
    return gave


def _is_registered(gave: object) -> TypeGuard[Registered[Any]]:
    return isinstance(gave, Registered)


def _is_webhook(gave: object) -> TypeGuard[Webhook[Any]]:
    return isinstance(gave, Webhook)


def _is_iterable(gave: object) -> TypeGuard[Iterable[object]]:
    return isinstance(gave, Iterable) and not isinstance(gave, str | bytes | dict)


def _check_kept(source: str, hook: str, found: Registered[Any] | Webhook[Any], data: type[Any]) -> None:
    if isinstance(data, type) and not isinstance(found.data, data):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _wrong(source, hook, found.data, f"data= of {_name_of(data)}, as the source declares")
    events: object = found.events
    if isinstance(events, str) or not (events is None or _are_texts(events)):
        raise _wrong(source, hook, events, "events= as a sequence of names")
    if found.expires_at is not None and found.expires_at.tzinfo is None:
        raise WrongHook(source, hook, "a time without a zone", "expires_at= as an aware datetime")


def _are_texts(events: object) -> bool:
    return isinstance(events, Collection) and all(
        isinstance(name, str) for name in cast("Collection[object]", events)
    )


def webhooks(source: str, gave: object, data: type[Any]) -> Sequence[Webhook[Any]]:
    """Return what `api.list` gave."""
    if not isinstance(gave, Sequence) or isinstance(gave, str | bytes):
        raise _wrong(source, "api.list", gave, "a list of Webhook")
    return [webhook(source, "api.list", one, data) for one in cast("Sequence[object]", gave)]


def watched(source: str, api: WebhookApi[P, C, D], data: type[D]) -> WebhookApi[P, C, D]:
    """Return the four calls, with what they give checked; SetupError for what can't be called."""
    called = {"list": ("params", "client"), "create": ("reg", "client")}
    for name in ("list", "create", "update", "delete"):
        arguments = called.get(name, ("reg", "webhook", "client"))
        _check_call(f"source {source}, api.{name}", getattr(api, name), arguments)

    async def listed(params: P, client: C) -> Sequence[Webhook[D]]:
        return webhooks(source, await _awaited(source, "api.list", api.list(params, client)), data)

    async def create(reg: Registration[P, D], client: C) -> Webhook[D]:
        gave = await _awaited(source, "api.create", api.create(reg, client))
        return webhook(source, "api.create", gave, data)

    async def update(reg: Registration[P, D], had: Webhook[D], client: C) -> Webhook[D]:
        gave = await _awaited(source, "api.update", api.update(reg, had, client))
        return webhook(source, "api.update", gave, data)

    async def delete(reg: Registration[P, D], had: Webhook[D], client: C) -> None:
        await _awaited(source, "api.delete", api.delete(reg, had, client))

    return WebhookApi(listed, create, update, delete)


async def _awaited(source: str, call: str, gave: object) -> object:
    if not inspect.isawaitable(gave):
        raise _wrong(source, call, gave, "something to await: write `async def`")
    return await gave


async def missed(source: str, found: object) -> AsyncGenerator[Missed | Lost, None]:
    """Yield what a recover hook yields."""
    if not isinstance(found, AsyncIterator):
        raise _wrong(source, "recover", found, "Missed or Lost, one by one, with `yield`")
    iterator: AsyncIterator[object] = cast("AsyncIterator[object]", found)
    try:
        async for one in iterator:
            yield _checked_missed(source, one)
    finally:  # an abandoned generator would be closed by chance
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


def _checked_missed(source: str, one: object) -> Missed | Lost:
    if not isinstance(one, Missed | Lost):
        raise _wrong(source, "recover", one, "Missed or Lost")
    if one.at.tzinfo is None:
        raise WrongHook(source, "recover", "a time without a zone", "at= as an aware datetime")
    return one


def choices(source: str, param: str, gave: object) -> Choices:
    """Return what an options hook gave."""
    hook = f"options({param!r})"
    if not isinstance(gave, Choices):
        raise _wrong(source, hook, gave, "Choices([Choice(...)], next)")
    for one in gave.items:
        if not isinstance(one, Choice):  # pyright: ignore[reportUnnecessaryIsInstance] - foreign code
            raise _wrong(source, hook, one, "a Choice for each value")
    return gave


def outcomes(source: str, gave: object) -> Sequence[Outcome]:
    """Return what a handler gave; it may be a generator, which is run here."""
    wanted = "a list of Event, Ignored, Signal, Respond, Metadata or Fetch"
    if not _is_iterable(gave):
        raise _wrong(source, "handler", gave, wanted)
    found = list(gave)
    for one in found:
        if not isinstance(one, OUTCOMES):
            raise _wrong(source, "handler", one, wanted)
    return cast("Sequence[Outcome]", found)


def _wrong(source: str, hook: str, gave: object, wanted: str) -> WrongHook:
    return WrongHook(source, hook, _named(gave), wanted)


def verifier(source: str, given: Verifier) -> Verifier:
    """Return what was given as verify=; SetupError where it verifies nothing."""
    if isinstance(given, type) or not all(
        hasattr(given, name) for name in ("verify", "sign", "requires_key")
    ):
        raise SetupError(
            f"source {source}, verify: {_named(given)} is no verifier; call one, such as "
            'hmac_sha256("X-Signature"), or say Unsigned(because="...")'
        )
    return given


def check_declared(source: str, *, params: object, data: object, key: object, account: object) -> None:
    """Raise SetupError for what can't be used as it is given."""
    for name, kind in (("params", params), ("data", data)):
        if attrs.has(type(kind)) or kind is None:
            raise SetupError(f"source {source}, {name}: {_named(kind)} is no type; give the class")
    if key is not None:
        declared(source, "key", cast("Callable[..., Any]", key), "plain", "params")
    if account is not None and not hasattr(account, "values"):
        raise SetupError(f"source {source}, account: {_named(account)} is no part; give json('team_id'), say")


def key_of(params: object) -> str:
    """Name a webhook by all that its params say: for a source that declares no key."""
    if not attrs.has(type(params)):
        return "default"
    said = attrs.asdict(cast("Any", params))
    (only,) = said.values() if len(said) == 1 else (None,)
    if isinstance(only, str) and only:
        return only
    return encode_json(said).decode() if said else "default"


def _name_of(kind: object) -> str:
    return getattr(kind, "__name__", str(kind))


def _named(value: object) -> str:
    """Name what was given by its type alone: it may hold what nobody should read."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"{'an' if type(value).__name__[0] in 'aeiouAEIO' else 'a'} {type(value).__name__}"
