"""A webhook of a provider: how it is registered, verified and read.

An `ExternalSource` is a declaration. The framework owns every decision around
it (when to register, what to keep, whom to answer); the author says only what
this provider does differently, as typed values and as hooks:

    register / unregister     make the provider send, stop it
      or api=WebhookApi(...)  the four plain calls, the reconciler does the rest
    handler                   what a verified delivery says. Pure
    sample                    the header fields of an invented delivery. Pure
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeGuard, TypeVar, cast

import attrs

from trigflow.core.errors import SetupError
from trigflow.core.events import Outcome
from trigflow.core.http import Headers, Request, Response
from trigflow.core.payloads import Kept, structure_into
from trigflow.sources.decode import Decoded, Decoder, decode_json
from trigflow.sources.handshake import Handshake
from trigflow.sources.once import takes_once
from trigflow.sources.parts import Part
from trigflow.sources.verify import Verifier

P = TypeVar("P")
C = TypeVar("C")
D = TypeVar("D")
C_contra = TypeVar("C_contra", contravariant=True)
KEPT_PARAMS = 1_000  # of subscriptions, for each source
ACCEPTED = Response(200, b"ok", (("content-type", "text/plain"),))


class Secret(enum.Enum):
    """Where the key comes from that deliveries are verified with."""

    GENERATED = "generated"  # we make it and tell the provider
    RETURNED = "returned"  # the provider makes it and tells us once, when asked to register
    HANDSHAKE = "handshake"  # it arrives in the handshake
    APP = "app"  # it belongs to our app at the provider: app credentials
    NONE = "none"  # nothing is signed


@attrs.frozen
class Events:
    """The events of a subscription, as names told to the provider, sorted.

    desired: what jobs want. registered: what the provider was told to send.
    missing: desired, not registered. orphaned: registered, not desired.
    """

    desired: tuple[str, ...]
    registered: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Desired, but not registered."""
        return tuple(name for name in self.desired if name not in self.registered)

    @property
    def orphaned(self) -> tuple[str, ...]:
        """Registered, but not desired."""
        return tuple(name for name in self.registered if name not in self.desired)


@attrs.frozen
class Registration(Generic[P, D]):
    """What a register or unregister hook works from.

    url: where the provider must send; carries our ownership mark.
    secret: the current key as text; "" where the provider makes it.
    data: what the last successful registration returned; None before.
    mark: the part of `url` that is the same for all of this store's webhooks.
    """

    url: str
    params: P
    events: Events
    secret: str = attrs.field(repr=False)
    data: D | None
    mark: str


@attrs.frozen
class Registered(Generic[D]):
    """What a provider now sends: kept, and given to the next call.

    events: names as told to the provider; None means all that were desired.
    secret: only where the provider made it.
    expires_at: when the provider will stop by itself (aware).
    """

    data: D
    events: Sequence[str] | None = None
    secret: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None


@attrs.frozen
class Webhook(Generic[D]):
    """A webhook as the provider has it; `data` is what `update` and `delete` need."""

    url: str
    events: tuple[str, ...]
    data: D
    active: bool = True
    secret: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None


@attrs.frozen
class WebhookApi(Generic[P, C, D]):
    """A provider's plain list, create, update and delete.

    list: all webhooks of the place that the params name, foreign ones too.
    update: must leave the webhook with reg.url, reg.secret and reg.events.desired.
    delete: must not fail where the webhook is gone already.
    """

    list: Callable[[P, C], Awaitable[Sequence[Webhook[D]]]]
    create: Callable[[Registration[P, D], C], Awaitable[Webhook[D]]]
    update: Callable[[Registration[P, D], Webhook[D], C], Awaitable[Webhook[D]]]
    delete: Callable[[Registration[P, D], Webhook[D], C], Awaitable[None]]


@attrs.frozen
class Delivery(Generic[P, D]):
    """A verified delivery, as a handler or a job sees it.

    params, data: of the subscription that it came for; data is None before the
        first registration.
    metadata: what the handler last returned as `Metadata`.
    """

    id: str
    request: Request
    received_at: datetime
    decoded: Decoded = attrs.field(repr=False)
    params: P
    data: D | None
    metadata: Any = None

    @property
    def payload(self) -> Any:
        """The decoded body; DecodeError where it is not JSON. An event that is all of it needs none."""
        return self.decoded.payload

    @property
    def text(self) -> bytes:
        """The JSON text of the payload."""
        return self.decoded.text

    @property
    def headers(self) -> Headers:
        """The header fields; credentials among them are redacted in a job."""
        return self.request.headers

    @property
    def body(self) -> bytes:
        """The body as received."""
        return self.request.body


class RegisterHook(Protocol[P, C_contra, D]):
    """Make the provider send `reg.events.desired` to `reg.url`; None: nothing changed."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> Registered[D] | None:
        """Register."""
        ...


class UnregisterHook(Protocol[P, C_contra, D]):
    """Make the provider stop; must not fail where it has stopped already."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> None:
        """Unregister."""
        ...


Handler = Callable[[Delivery[P, D]], Iterable[Outcome]]
Sampler = Callable[[str, bytes, str], Sequence[tuple[str, str]]]


def _one(_: object) -> str:
    return "default"


class ExternalSource(Generic[P, C, D]):
    """A webhook of a provider; see the module's text for what an author declares."""

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's word
        *,
        params: type[P],
        client: type[C],
        data: type[D],
        verify: Verifier,
        secret: Secret = Secret.GENERATED,
        key: Callable[[P], str] = _one,
        version: int = 1,
        api: WebhookApi[P, C, D] | None = None,
        handshakes: Sequence[Handshake] = (),
        account: Part | None = None,
        decode: Decoder = decode_json,
        answer: Response = ACCEPTED,
        facts: Callable[[P, str], Mapping[str, str]] | None = None,
        instructions: str = "",
    ) -> None:
        """Declare a webhook.

        key: names the webhook that params need; params with the same key share one
            webhook with the union of their events. Raises SetupError where they name none.
        account: where a delivery says which connection it belongs to, if the
            endpoint is shared.
        answer: the acknowledgement that this provider wants.
        facts: what handshakes compare with, such as a topic or a verify token, from
            params and secret.
        instructions: what a person does who registers it by hand.
        """
        self.id = id
        self.params, self.client, self.data = params, client, data
        self.verify: Verifier = verify
        self.once: bool = takes_once(verify)
        self.secret: Secret = secret
        self.version: int = version
        self.api: WebhookApi[P, C, D] | None = api
        self.handshakes: tuple[Handshake, ...] = tuple(handshakes)
        self.account: Part | None = account
        self.decode: Decoder = decode
        self.answer: Response = answer
        self.instructions: str = instructions
        self._key = key
        self._facts = facts
        # Every delivery asks for them, and a subscription's are always the same.
        self._params_from: Callable[[bytes], P] = lru_cache(KEPT_PARAMS)(structure_into(cast("Any", params)))
        self._data_from: Callable[[bytes], D] = structure_into(cast("Any", data))
        self.register_hook: RegisterHook[P, C, D] | None = None
        self.unregister_hook: UnregisterHook[P, C, D] | None = None
        self.handle: Handler[P, D] | None = None
        self.sampler: Sampler | None = None

    def register(self, hook: RegisterHook[P, C, D]) -> RegisterHook[P, C, D]:
        """Declare what makes the provider send."""
        self.register_hook = hook
        return hook

    def unregister(self, hook: UnregisterHook[P, C, D]) -> UnregisterHook[P, C, D]:
        """Declare what makes the provider stop."""
        self.unregister_hook = hook
        return hook

    def handler(self, function: Handler[P, D]) -> Handler[P, D]:
        """Declare what a verified delivery says."""
        self.handle = function
        return function

    def sample(self, function: Sampler) -> Sampler:
        """Declare the header fields, beside the signature, of a delivery that is sent to try an app.

        It is called with the event's name as received, the body and an id for the delivery.
        """
        self.sampler = function
        return function

    def sample_headers(self, event: str, payload: bytes, id: str) -> Sequence[tuple[str, str]]:  # noqa: A002
        """Return what `sample` declared for an event; nothing where the provider sends no such fields."""
        return () if self.sampler is None else self.sampler(event, payload, id)

    def key_of(self, params: Any) -> str:
        """Name the webhook that these params need; SetupError where they name none."""
        return self._key(params)

    def facts_of(self, params: bytes, secret: str) -> Mapping[str, str]:
        """Return what handshakes of a webhook compare with."""
        return {} if self._facts is None else self._facts(self.load_params(params), secret)

    def check(self) -> None:
        """Raise SetupError where the declaration is not whole."""
        if self.handle is None:
            raise SetupError(f"source {self.id} has no handler; decorate one with @source.handler")
        if self.api is not None and self.register_hook is not None:
            raise SetupError(f"source {self.id} has api= and a register hook; keep one")
        if self.secret is Secret.NONE and self.verify.requires_key:
            raise SetupError(
                f"source {self.id} verifies with a key but says Secret.NONE; say where the key comes from"
            )

    @property
    def registers_itself(self) -> bool:
        """Tell whether it can be registered without a person."""
        return self.api is not None or self.register_hook is not None

    def load_data(self, text: bytes | None) -> D | None:
        """Structure what was kept of a registration."""
        return None if text is None else self._data_from(text)

    def load_params(self, text: bytes) -> P:
        """Structure kept params."""
        return self._params_from(text)

    def __repr__(self) -> str:
        return f"ExternalSource({self.id!r})"


def is_webhook(source: object) -> TypeGuard[ExternalSource[Any, Any, Any]]:
    """Tell whether a source is a webhook."""
    return isinstance(source, ExternalSource)


def delivery_of(
    source: ExternalSource[P, C, D],
    request: Request,
    decoded: Decoded,
    *,
    id: str,  # noqa: A002
    received_at: float,
    params: bytes,
    data: bytes | None,
    metadata: bytes | None = None,
) -> Delivery[P, D]:
    """Put a delivery together from what was received and what is kept."""
    return Delivery(
        id,
        request,
        datetime.fromtimestamp(received_at, UTC),
        decoded,
        source.load_params(params),
        source.load_data(data),
        None if metadata is None else Kept(metadata).decoded(),
    )
