"""What an integration is proved with: forged requests, deliveries for its handler, wrong credentials.

What it comes to is asserted by `Conformance`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import attrs

from trigflow.app import App
from trigflow.core.errors import TrigflowError
from trigflow.core.events import Outcome
from trigflow.core.http import Headers, Request
from trigflow.core.triggers import Example, Specification, Trigger
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.registration.steps import Applied
from trigflow.sources.credentials import Credentials
from trigflow.sources.delivery import Delivery
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration
from trigflow.sources.keys import Key
from trigflow.sources.registration import Events, Registration, Webhook, WebhookApi

LONG_AGO = 86_400.0  # seconds; more than any tolerance
WRONG = "wrong-but-secret-6b1f0c"  # no provider takes it, and no error may show it
TOUCHING = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system")
RECEIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class Provider(Protocol):
    """A running fake of a provider."""

    @property
    def url(self) -> str:
        """The base URL of its API."""
        ...


def forgeries(
    source: AnySource, request: Request, bare: Headers, keys: Sequence[Key], *, now: float
) -> Iterator[tuple[str, Request]]:
    """Yield requests that are not the provider's, with what is wrong with each.

    request: as the provider would send it. bare: its header fields without a signature. What a
    verifier can't see is left out: a token says nothing of the body, nor of the time.
    """
    key = keys[0] if keys else Key(b"none")
    plain = attrs.evolve(request, headers=bare)

    def signed(one: Request, by: Key = key, at: float = now) -> Sequence[tuple[str, str]]:
        return tuple(source.verify.sign(one, by, now=at))

    def sent(one: Request, signature: Sequence[tuple[str, str]]) -> Request:
        return attrs.evolve(one, headers=Headers.of([*_pairs(bare), *signature]))

    right, changed = signed(plain), attrs.evolve(plain, body=plain.body + b" ")
    yield "has no signature", plain
    yield "has another signature", sent(plain, [(name, altered(value)) for name, value in right])
    if signed(changed) != right:
        yield "has another body than was signed", sent(changed, right)
    if keys and (others := signed(plain, Key(altered(key.secret.decode()).encode()))) != right:
        yield "is signed with another key", sent(plain, others)
    is_same_each_time = signed(plain) == right
    if is_same_each_time and (old := signed(plain, at=now - LONG_AGO)) != right:
        yield "was signed a day ago", sent(plain, old)


def altered(text: str) -> str:
    """Return a text of the same shape, with another letter or digit in it."""
    places = [index for index, one in enumerate(text) if one.isalnum()]
    at = places[len(places) * 2 // 3]
    return f"{text[:at]}{'1' if text[at] == '0' else '0'}{text[at + 1 :]}"


def _pairs(headers: Headers) -> Sequence[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]


def delivery(
    source: AnySource, specification: Specification, text: bytes, params: object
) -> Delivery[Any, Any]:
    """Return a delivery that brings an example, as the handler gets it."""
    body = source.sample_body(specification.name, text, "one")
    headers = [("content-type", "application/json"), *source.sample_headers(specification.name, body, "one")]
    request = Request("POST", "https://hooks.example.com/e", Headers.of(headers), body)
    return Delivery("one", request, RECEIVED_AT, source.decode(request), params, None)


def touched(call: Callable[[], Sequence[Outcome]]) -> tuple[Sequence[Outcome], Sequence[str]]:
    """Call a handler; return what it said, and by what it reached out of the process."""
    _install()
    _SEEN.append([])
    try:
        found = call()
    finally:
        seen = _SEEN.pop()
    return found, seen


_SEEN: list[list[str]] = []  # of calls under way
_INSTALLED: list[bool] = []


def _install() -> None:
    """Have the interpreter tell us what is done; such a hook can't be taken away again."""
    if not _INSTALLED:
        _INSTALLED.append(True)
        sys.addaudithook(_note)


def _note(event: str, _arguments: object) -> None:
    if _SEEN and event in TOUCHING:
        _SEEN[-1].append(event)


def credentials(
    integration: Integration, given: str | Mapping[str, str], value: str | None = None
) -> Credentials:
    """Return a connection's credentials by field; value: stands in each field instead."""
    fields = {integration.auth[0].fields[0].name: given} if isinstance(given, str) else given
    return Credentials({name: value or one for name, one in fields.items()})


@asynccontextmanager
async def opened_client(integration: Integration, given: Credentials) -> AsyncGenerator[Any, None]:
    """Make an integration's client, and close it where it must be closed."""
    client = integration.client(given)
    if not hasattr(client, "__aenter__"):
        yield client
        return
    async with client as entered:
        yield client if entered is None else entered


async def raised(call: Callable[[], Any]) -> TrigflowError | Exception | None:
    """Await a call that should fail, and return its error."""
    try:
        await call()
    except Exception as error:  # noqa: BLE001 - an author's code; whoever asked looks at it
        return error
    return None


def can_check(integration: Integration) -> bool:
    """Tell whether an integration asks whose its credentials are."""
    kind: type[Integration] = type(integration)
    return kind.check is not Integration.check


def told(error: BaseException | None) -> str:
    """Return all that an error and its causes say."""
    said: list[str] = []
    while error is not None:
        said.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def since() -> datetime:
    """Return a moment that a provider's log may begin at."""
    return datetime.now(UTC) - timedelta(hours=1)


def webhook_of(wanted: Trigger[Any]) -> AnySource:
    """Return a trigger's webhook."""
    source = wanted.source
    if not is_webhook(source):
        raise AssertionError(f"{wanted.name} does not come over HTTP")
    return source


def example(wanted: Trigger[Any]) -> bytes:
    """Return the typical payload of a trigger's event."""
    return next(iter(wanted.specification.examples().values())).read()


def events(wanted: Trigger[Any]) -> Events:
    """Return what a trigger alone has a provider told."""
    return Events(tuple(sorted(wanted.specification.registers)))


def another(integration: type[Integration], wanted: Trigger[Any]) -> Trigger[Any] | None:
    """Return a trigger at the same place of an event that the provider is told otherwise of."""
    for _, one in integration.specifications():
        if one.source is wanted.source and not set(one.registers) <= set(wanted.specification.registers):
            return attrs.evolve(wanted, specification=one, filter=None)
    return None


def is_ours(app: App, webhook: Webhook[Any]) -> bool:
    """Tell whether a webhook is one of the app's store."""
    return app.opened.mark in webhook.url


async def registration(app: App, wanted: Trigger[Any]) -> tuple[Registration[Any, Any], Any]:
    """Return what a hook of the one subscription works from, and its client."""
    source, opened = webhook_of(wanted), app.opened
    (endpoint,) = await opened.store.page(limit=1)
    (subscription,) = endpoint.subscriptions
    client = await opened.clients.get(subscription.connection)
    known = Events(subscription.registered, subscription.registered)
    url, data = opened.reconciler.url_of(endpoint), source.load_data(subscription.data)
    return Registration(url, wanted.params, known, "", data, opened.mark), client


async def place(
    app: App, wanted: Trigger[Any]
) -> tuple[WebhookApi[Any, Any, Any], Registration[Any, Any], Any, Sequence[Webhook[Any]]] | None:
    """Return what lists webhooks at a trigger's place, and ours among them; None where nothing lists."""
    api = webhook_of(wanted).api
    if api is None:
        return None
    reg, client = await registration(app, wanted)
    found = await api.list(wanted.params, client)
    return api, reg, client, [webhook for webhook in found if webhook.url == reg.url]


def worked(applied: Sequence[Applied]) -> Sequence[Applied]:
    """Return steps that were carried out; none may have failed."""
    errors = [one.error for one in applied if one.error]
    if errors:
        raise AssertionError("; ".join(errors))
    return applied


def examples_from(source: AnySource, specification: Specification) -> Sequence[tuple[str, Example]]:
    """Return the examples of an event that comes from a source."""
    return list(specification.examples().items()) if specification.source is source else []


async def webhook_of_others(wanted: Trigger[Any], client: Any, url: str) -> Webhook[Any]:
    """Make a webhook that is not ours, and return it as it is listed."""
    api = webhook_of(wanted).api
    if api is None:
        raise AssertionError(f"{wanted.name} has no api=")
    theirs = Registration[Any, Any](url, wanted.params, events(wanted), WRONG, None, "/none/")
    await api.create(theirs, client)
    (made,) = [one for one in await api.list(wanted.params, client) if one.url == url]
    return made
