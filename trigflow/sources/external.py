"""A webhook of a provider: how it is registered, verified and read.

An `ExternalSource` is a declaration. The framework owns every decision around
it (when to register, what to keep, whom to answer); the author says only what
this provider does differently, as typed values and as hooks:

    register / unregister     make the provider send, stop it
      or api=WebhookApi(...)  the four plain calls, the reconciler does the rest
    renew, rotate             prolong a lease, change the key
    recover                   what the provider's own log has that never arrived
    ping                      make the provider send something now
    options                   what a param may be
    handler                   what a verified delivery says. Pure
    sample, envelope          the header fields and the body of an invented delivery. Pure
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, TypeGuard, TypeVar, cast

from trigflow.core.errors import SetupError
from trigflow.core.events import Outcome
from trigflow.core.http import Request, Response
from trigflow.core.payloads import Kept, structure_into
from trigflow.sources import hooks
from trigflow.sources.decode import Decoded, Decoder, decode_json
from trigflow.sources.delivery import Delivery
from trigflow.sources.handshake import Handshake
from trigflow.sources.once import takes_once
from trigflow.sources.parts import Part
from trigflow.sources.registration import (
    RETRIES_FOR,
    Choices,
    Lease,
    OptionsHook,
    PingHook,
    RecoverHook,
    Registered,
    RegisterHook,
    Registration,
    RenewHook,
    RotateHook,
    Secret,
    UnregisterHook,
    WebhookApi,
)
from trigflow.sources.verify import Verifier

P = TypeVar("P")
C = TypeVar("C")
D = TypeVar("D")
KEPT_PARAMS = 1_000  # of subscriptions, for each source
ACCEPTED = Response(200, b"ok", (("content-type", "text/plain"),))


Handler = Callable[[Delivery[P, D]], Iterable[Outcome]]
Sampler = Callable[[str, bytes, str], Sequence[tuple[str, str]]]
Envelope = Callable[[str, bytes, str], bytes]


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
        key: Callable[[P], str] | None = None,
        version: int = 1,
        api: WebhookApi[P, C, D] | None = None,
        handshakes: Sequence[Handshake] = (),
        account: Part | None = None,
        decode: Decoder = decode_json,
        answer: Response = ACCEPTED,
        facts: Callable[[P, str], Mapping[str, str]] | None = None,
        instructions: str = "",
        lease: Lease | None = None,
        retries_for: timedelta = RETRIES_FOR,
        shared: Callable[[P], bool] | None = None,
    ) -> None:
        """Declare a webhook.

        key: names the webhook that params need; params with the same key share one
            webhook with the union of their events. Raises SetupError where they name none.
            Left out, every other params have a webhook of their own.
        account: where a delivery says which connection it belongs to, if the
            endpoint is shared.
        answer: the acknowledgement that this provider wants.
        facts: what handshakes compare with, such as a topic or a verify token, from
            params and secret.
        instructions: what a person does who registers it by hand.
        lease: how it is kept longer, where the provider keeps it for a time only.
        retries_for: how long the provider tries a delivery again; an old key is accepted
            for that long after a new one took its place.
        shared: tells whether these params name a webhook that belongs to our app at the
            provider: one endpoint for all of its accounts, which `account` tells apart.
            Left out, every webhook of a source with `account` is one.
        """
        hooks.check_declared(id, params=params, data=data, key=key, account=account)
        self.id = id
        self.params, self.client, self.data = params, client, data
        self.verify: Verifier = hooks.verifier(id, verify)
        self.once: bool = takes_once(verify)
        self.secret: Secret = secret
        self.version: int = version
        self.api: WebhookApi[P, C, D] | None = None if api is None else hooks.watched(id, api, data)
        self.handshakes: tuple[Handshake, ...] = tuple(handshakes)
        self.account: Part | None = account
        self.decode: Decoder = decode
        self.answer: Response = answer
        self.instructions: str = instructions
        self.lease: Lease | None = lease
        self.retries_for: timedelta = retries_for
        self._shared = shared
        self._key = key
        self._facts = facts
        # Every delivery asks for them, and a subscription's are always the same.
        self._params_from: Callable[[bytes], P] = lru_cache(KEPT_PARAMS)(structure_into(cast("Any", params)))
        self._data_from: Callable[[bytes], D] = structure_into(cast("Any", data))
        self.register_hook: RegisterHook[P, C, D] | None = None
        self.unregister_hook: UnregisterHook[P, C, D] | None = None
        self.renew_hook: RenewHook[P, C, D] | None = None
        self.rotate_hook: RotateHook[P, C, D] | None = None
        self.recover_hook: RecoverHook[P, C, D] | None = None
        self.ping_hook: PingHook[P, C, D] | None = None
        self.option_hooks: dict[str, OptionsHook[C]] = {}
        self.handle: Handler[P, D] | None = None
        self.sampler: Sampler | None = None
        self.wrap: Envelope | None = None

    def register(self, hook: RegisterHook[P, C, D]) -> RegisterHook[P, C, D]:
        """Declare what makes the provider send."""
        self._declare("register", hook, "async", "reg", "client", again=self.register_hook is not None)

        async def checked(reg: Registration[P, D], client: C, /) -> Registered[D] | None:
            return self._registered("register", await hook(reg, client), may_be_none=True)

        self.register_hook = checked
        return hook

    def unregister(self, hook: UnregisterHook[P, C, D]) -> UnregisterHook[P, C, D]:
        """Declare what makes the provider stop."""
        self._declare("unregister", hook, "async", "reg", "client", again=self.unregister_hook is not None)
        self.unregister_hook = hook
        return hook

    def renew(self, hook: RenewHook[P, C, D]) -> RenewHook[P, C, D]:
        """Declare what prolongs a lease (`Lease("extend")`)."""
        self._declare("renew", hook, "async", "reg", "client", again=self.renew_hook is not None)

        async def checked(reg: Registration[P, D], client: C, /) -> Registered[D]:
            return cast("Registered[D]", self._registered("renew", await hook(reg, client)))

        self.renew_hook = checked
        return hook

    def rotate(self, hook: RotateHook[P, C, D]) -> RotateHook[P, C, D]:
        """Declare what changes the key, where the provider has a call of its own for it.

        Without it, `api.update` tells a key that is ours to make, and a key that the
        provider makes is rotated by a second webhook that takes over from the first.
        """
        self._declare("rotate", hook, "async", "reg", "client", again=self.rotate_hook is not None)

        async def checked(reg: Registration[P, D], client: C, /) -> Registered[D]:
            return cast("Registered[D]", self._registered("rotate", await hook(reg, client)))

        self.rotate_hook = checked
        return hook

    def recover(self, hook: RecoverHook[P, C, D]) -> RecoverHook[P, C, D]:
        """Declare what reads the provider's own log of what it sent."""
        self._declare(
            "recover", hook, "yields", "reg", "since", "client", again=self.recover_hook is not None
        )
        self.recover_hook = lambda reg, since, client: hooks.missed(self.id, hook(reg, since, client))
        return hook

    def ping(self, hook: PingHook[P, C, D]) -> PingHook[P, C, D]:
        """Declare what makes the provider send something now."""
        self._declare("ping", hook, "async", "reg", "client", again=self.ping_hook is not None)
        self.ping_hook = hook
        return hook

    def options(self, param: str) -> Callable[[OptionsHook[C]], OptionsHook[C]]:
        """Declare what lists the values that a param may have."""
        name = f"options({param!r})"
        if not isinstance(param, str):  # pyright: ignore[reportUnnecessaryIsInstance] - foreign code
            raise SetupError(f"source {self.id}, options: name the param: @source.options('room')")

        def declare(hook: OptionsHook[C]) -> OptionsHook[C]:
            self._declare(name, hook, "async", "client", "page", again=param in self.option_hooks)

            async def checked(client: C, page: str | None, /) -> Choices:
                return hooks.choices(self.id, param, await hook(client, page))

            self.option_hooks[param] = checked
            return hook

        return declare

    def handler(self, function: Handler[P, D]) -> Handler[P, D]:
        """Declare what a verified delivery says."""
        self._declare("handler", function, "plain", "delivery", again=self.handle is not None)
        self.handle = lambda delivery: hooks.outcomes(self.id, function(delivery))
        return function

    def sample(self, function: Sampler) -> Sampler:
        """Declare the header fields, beside the signature, of a delivery that is sent to try an app.

        It is called with the event's name as received, the body and an id for the delivery.
        """
        self._declare("sample", function, "plain", "event", "body", "id", again=self.sampler is not None)
        self.sampler = function
        return function

    def envelope(self, function: Envelope) -> Envelope:
        """Declare the body of such a delivery where the payload of an event is only a part of it.

        It is called with the event's name as received, the payload (JSON text) and an id.
        """
        self._declare("envelope", function, "plain", "event", "payload", "id", again=self.wrap is not None)
        self.wrap = function
        return function

    def _declare(
        self, hook: str, function: Callable[..., Any], manner: hooks.Manner, *arguments: str, again: bool
    ) -> None:
        if again:
            raise SetupError(f"source {self.id}, {hook}: it is declared twice; keep one")
        hooks.declared(self.id, hook, function, manner, *arguments)

    def _registered(self, hook: str, gave: object, *, may_be_none: bool = False) -> Registered[D] | None:
        return hooks.registered(self.id, hook, gave, self.data, may_be_none=may_be_none)

    def sample_body(self, event: str, payload: bytes, id: str) -> bytes:  # noqa: A002
        """Return the body that brings a payload: what `envelope` declared, else the payload itself."""
        return payload if self.wrap is None else self.wrap(event, payload, id)

    def sample_headers(self, event: str, payload: bytes, id: str) -> Sequence[tuple[str, str]]:  # noqa: A002
        """Return what `sample` declared for an event; nothing where the provider sends no such fields."""
        return () if self.sampler is None else self.sampler(event, payload, id)

    def key_of(self, params: Any) -> str:
        """Name the webhook that these params need; SetupError where they name none."""
        found: Any = hooks.key_of(params) if self._key is None else self._key(params)
        if not isinstance(found, str) or not found:  # foreign code
            raise SetupError(f"source {self.id}, key: it gave {found!r}; give text that names the webhook")
        return found

    def is_shared(self, params: Any) -> bool:
        """Tell whether the webhook that these params need is one for all accounts of our app."""
        return self.account is not None and (self._shared is None or self._shared(params))

    @property
    def shares_some(self) -> bool:
        """Tell whether only some of its webhooks are shared: it depends on params."""
        return self._shared is not None

    def facts_of(self, params: bytes, secret: str) -> Mapping[str, str]:
        """Return what handshakes of a webhook compare with."""
        return {} if self._facts is None else self._facts(self.load_params(params), secret)

    def check(self) -> None:
        """Raise SetupError where the declaration is not whole."""
        for is_wrong, problem in self._problems():
            if is_wrong:
                raise SetupError(f"source {self.id} {problem}")

    def _problems(self) -> Iterator[tuple[bool, str]]:
        api, register, lease = self.api is not None, self.register_hook is not None, self.lease
        yield self.handle is None, "has no handler; decorate one with @source.handler"
        yield api and register, "has api= and a register hook; keep one"
        yield api and self.unregister_hook is not None, "has api= and an unregister hook; keep one"
        yield (
            self.unregister_hook is not None and not register,
            "has an unregister hook, but nothing registers; decorate a register hook, or give api=",
        )
        yield (
            self.secret is Secret.NONE and self.verify.requires_key,
            "verifies with a key but says Secret.NONE; say where the key comes from",
        )
        yield (
            self.secret is Secret.HANDSHAKE and not self.handshakes,
            "says Secret.HANDSHAKE but has no handshakes=; give the one that tells the key",
        )
        yield (
            lease is not None and lease.mode == "extend" and self.renew_hook is None,
            "has Lease('extend') but no renew hook; decorate one",
        )
        yield (
            self.renew_hook is not None and (lease is None or lease.mode != "extend"),
            "has a renew hook that is never called; give lease=Lease('extend')",
        )
        yield (
            self._shared is not None and self.account is None,
            "is shared but does not say where an account stands; give account=",
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
