"""What the author of a webhook works with when it is registered, renewed, rotated or read again.

Registration   what a hook works from          Registered   what came of it
WebhookApi     the provider's four plain calls  Webhook      one as the provider has it
Lease          how long a provider keeps it     Missed, Lost what a provider's own log says
Choices        what a param may be
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Literal, Protocol, TypeVar

import attrs

from trigflow.core.errors import SetupError
from trigflow.core.http import Headers

P = TypeVar("P")
C = TypeVar("C")
D = TypeVar("D")
C_contra = TypeVar("C_contra", contravariant=True)


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
    """What a hook works from.

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
    """A webhook as the provider has it; `data` is what `update` and `delete` need.

    fixed: its events are chosen by a person and can only be added to by one: more than are
        wanted are left alone.
    """

    url: str
    events: tuple[str, ...]
    data: D
    active: bool = True
    secret: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None
    fixed: bool = False


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
class Lease:
    """How a subscription that the provider keeps for a time only is kept longer.

    mode: "extend" (the source's `renew` hook prolongs it), "recall" (the same call that
        registers also prolongs) or "replace" (a new one is made, and the old one is
        stopped once it is there).
    after: the part of its life after which it is renewed, 0 to 1.
    """

    mode: Literal["extend", "recall", "replace"]
    after: float = 0.5

    def __attrs_post_init__(self) -> None:
        if not 0 < self.after < 1:
            raise SetupError(f"Lease(after={self.after}); give a part of the lease's life, such as 0.5")


@attrs.frozen
class Missed:
    """A delivery or an event that a provider's own log has, as its webhook would send it.

    headers, body: of the request; not signed, because the provider's API told it.
    at: when the provider first sent it (aware).
    """

    body: bytes = attrs.field(repr=False)
    at: datetime
    headers: Headers = attrs.field(factory=lambda: Headers.of([]), repr=False)


@attrs.frozen
class Lost:
    """Something that a provider's log says was sent, but can't be read any more."""

    at: datetime
    because: str


@attrs.frozen
class Choice:
    """One value that a param may have, and how it is shown."""

    value: str
    label: str = ""


@attrs.frozen
class Choices:
    """A page of values that a param may have; `next` asks for the following page, None at the end."""

    items: Sequence[Choice]
    next: str | None = None


class RegisterHook(Protocol[P, C_contra, D]):
    """Make the provider send `reg.events.desired` to `reg.url`; None: nothing changed."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> Registered[D] | None:
        """Register."""
        ...


class UnregisterHook(Protocol[P, C_contra, D]):
    """Make the provider stop; must not fail where it has stopped already.

    `reg.data` is None where a registration did not finish: what is there is found by `reg.url`.
    """

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> None:
        """Unregister."""
        ...


class RenewHook(Protocol[P, C_contra, D]):
    """Prolong what `reg.data` names; raises NotFound where the provider has let it go."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> Registered[D]:
        """Renew."""
        ...


class RotateHook(Protocol[P, C_contra, D]):
    """Make the provider sign with a new key: `reg.secret`, or one that it returns."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> Registered[D]:
        """Rotate."""
        ...


class RecoverHook(Protocol[P, C_contra, D]):
    """Yield what the provider's own log has since a moment (aware) and our endpoint may not have taken.

    What we have is known by its event id: yielding too much does no harm.
    """

    def __call__(
        self, reg: Registration[P, D], since: datetime, client: C_contra, /
    ) -> AsyncIterator[Missed | Lost]:
        """Recover."""
        ...


class PingHook(Protocol[P, C_contra, D]):
    """Ask the provider to send something now, whatever it has for that."""

    async def __call__(self, reg: Registration[P, D], client: C_contra, /) -> None:
        """Ping."""
        ...


class OptionsHook(Protocol[C_contra]):
    """Return a page of values of a param; `page` is the `next` of the page before, None for the first."""

    async def __call__(self, client: C_contra, page: str | None, /) -> Choices:
        """List choices."""
        ...


RETRIES_FOR = timedelta(days=3)  # how long most senders try a delivery again
