"""A model of a provider in memory: what it has, what it was asked, and where the caller dies.

Every call is a moment at which the process may be killed: before anything happened,
or after it did and before the answer arrived.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from trigflow import (
    ApiError,
    Delivery,
    Event,
    ExternalSource,
    Lease,
    NotFound,
    Registered,
    Registration,
    Secret,
    Webhook,
    WebhookApi,
    hmac_sha256,
)
from trigflow.sources.credentials import Credentials

FOREIGN = "https://elsewhere.example.com/hook"
LIFE = timedelta(hours=1)


class Killed(BaseException):
    """The process dies here; nothing catches it, as nothing catches kill -9."""


@attrs.define
class Hook:
    """A webhook at the provider."""

    id: int
    url: str
    events: tuple[str, ...]
    secret: str
    active: bool = True
    expires_at: datetime | None = None


@attrs.define
class Model:
    """The provider: its webhooks by place, and what will go wrong."""

    clock: Callable[[], float]
    returns_secret: bool = False
    leases: bool = False
    recalls: bool = False
    life: timedelta = LIFE
    refuses: str = ""  # a call that is always refused
    hooks: dict[str, dict[int, Hook]] = attrs.field(factory=dict[str, dict[int, Hook]])
    troubles: list[str] = attrs.field(factory=list[str])
    writes: int = 0
    meanwhile: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list[Callable[[], Awaitable[None]]])
    makes_new: bool = False  # the register hook looks for nothing that is there
    is_dead: bool = False  # the caller; what it does after that is not done
    _ids: int = 0

    def at(self, place: str) -> dict[int, Hook]:
        found = self.hooks.setdefault(place, {})
        for hook in list(found.values()):
            if hook.expires_at is not None and hook.expires_at <= self.now():
                del found[hook.id]
        return found

    def ours(self, place: str) -> list[Hook]:
        return [hook for hook in self.at(place).values() if hook.url != FOREIGN]

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def add(self, place: str, url: str, events: Sequence[str], secret: str = "") -> Hook:
        self._ids += 1
        expires = self.now() + self.life if self.leases and url != FOREIGN else None
        made = Hook(self._ids, url, tuple(events), secret, expires_at=expires)
        self.at(place)[made.id] = made
        return made

    def recalled(self, url: str, place: str) -> Hook | None:
        """Where the same call also prolongs, it makes no second one."""
        if not self.recalls:
            return None
        found = next((hook for hook in self.at(place).values() if hook.url == url), None)
        if found is not None:
            found.expires_at = self.now() + self.life
        return found

    async def before(self) -> None:
        """Meet the next trouble before anything happens; what is to happen meanwhile happens now."""
        if self.meanwhile:
            await self.meanwhile.pop(0)()
        self._meet({"refuse": ApiError("model", 500, "no"), "die": Killed()})

    def after(self) -> None:
        """Meet it after everything happened: the answer is lost."""
        self._meet({"lose": ApiError("model", 502, "lost"), "die after": Killed()})

    def _meet(self, now: dict[str, BaseException]) -> None:
        if self.troubles and self.troubles[0] in now:
            trouble = now[self.troubles.pop(0)]
            self.is_dead = isinstance(trouble, Killed)
            raise trouble
        if self.troubles and self.troubles[0] == "pass":
            self.troubles.pop(0)


@attrs.frozen
class Client:
    """Its API; base_url is what tells a local provider from one on the internet."""

    model: Model
    base_url: str = "https://api.example.com"

    async def list(self, place: str) -> Sequence[Webhook[int]]:
        await self.model.before()
        return [self._shown(hook) for hook in self.model.at(place).values()]

    async def create(self, reg: Registration[str, int]) -> Webhook[int]:
        await self.model.before()
        self.model.writes += 1
        secret = secrets.token_hex(8) if self.model.returns_secret else reg.secret
        hook = self.model.recalled(reg.url, reg.params) or self.model.add(reg.params, reg.url, ())
        hook.events, hook.secret = reg.events.desired, secret
        self.model.after()
        return self._shown(hook, secret=secret if self.model.returns_secret else None)

    async def update(self, reg: Registration[str, int], webhook: Webhook[int]) -> Webhook[int]:
        await self.model.before()
        if self.model.refuses == "update":
            raise ApiError("model", 403, "not allowed")
        hook = self._get(reg.params, webhook.data)
        self.model.writes += 1
        hook.url, hook.events, hook.active = reg.url, reg.events.desired, True
        if not self.model.returns_secret:
            hook.secret = reg.secret
        self.model.after()
        return self._shown(hook)

    async def delete(self, reg: Registration[str, int], webhook: Webhook[int]) -> None:
        await self.model.before()
        hook = self._get(reg.params, webhook.data)
        self.model.writes += 1
        assert hook.url != FOREIGN, "a foreign webhook was touched"
        del self.model.at(reg.params)[hook.id]
        self.model.after()

    async def prolong(self, reg: Registration[str, int]) -> Registered[int]:
        await self.model.before()
        assert reg.data is not None
        hook = self._get(reg.params, reg.data)
        self.model.writes += 1
        hook.expires_at = self.model.now() + self.model.life
        self.model.after()
        return Registered(hook.id, hook.events, expires_at=hook.expires_at)

    def _get(self, place: str, id_: int) -> Hook:
        found = self.model.at(place).get(id_)
        if found is None:
            raise NotFound("model", 404, "no such webhook")
        assert found.url != FOREIGN, "a foreign webhook was touched"
        return found

    def _shown(self, hook: Hook, secret: str | None = None) -> Webhook[int]:
        return Webhook(hook.url, tuple(sorted(hook.events)), hook.id, hook.active, secret, hook.expires_at)

    # --- for a source that has hooks and no list

    async def register(self, reg: Registration[str, int]) -> Registered[int]:
        """Create or change ours, as an author is asked to write it."""
        there = [hook for hook in self.model.at(reg.params).values() if hook.url == reg.url]
        known = [hook for hook in there if hook.id == reg.data]
        if self.model.makes_new and reg.data is None:
            made = await self.create(reg)
        elif known or (there and not self.model.returns_secret and reg.data is None):
            made = await self.update(reg, self._shown((known or there)[0]))
        else:
            for hook in there if self.model.returns_secret and reg.data is None else ():
                await self.delete(reg, self._shown(hook))
            made = await self.create(reg)
        return Registered(made.data, made.events, made.secret, made.expires_at)

    async def unregister(self, reg: Registration[str, int]) -> None:
        """Delete ours; one whose registration did not finish is found by its URL."""
        there = [hook.id for hook in self.model.at(reg.params).values() if hook.url == reg.url]
        for id_ in there if reg.data is None else [reg.data]:
            await self.delete(reg, Webhook(reg.url, (), id_))


AnySource = ExternalSource[str, Client, int]


def source_of(*, returns_secret: bool, lease: str | None, lists: bool = True) -> AnySource:
    """Declare a source on the model, of one of the kinds that there are."""
    made: AnySource = ExternalSource(
        "model.webhook", params=str, client=Client, data=int, key=lambda place: place,
        verify=hmac_sha256("X-Signature"), retries_for=timedelta(minutes=10),
        secret=Secret.RETURNED if returns_secret else Secret.GENERATED,
        lease=None if lease is None else Lease(lease),  # type: ignore[arg-type]
        api=WebhookApi(
            list=lambda place, client: client.list(place),
            create=lambda reg, client: client.create(reg),
            update=lambda reg, webhook, client: client.update(reg, webhook),
            delete=lambda reg, webhook, client: client.delete(reg, webhook),
        ) if lists else None,
    )  # fmt: skip
    if not lists:
        made.register(lambda reg, client: client.register(reg))
        made.unregister(lambda reg, client: client.unregister(reg))
    if lease == "extend":
        made.renew(lambda reg, client: client.prolong(reg))

    @made.handler
    def handle(delivery: Delivery[str, int]) -> list[Event]:
        return []

    return made


class OneClient:
    """Credentials and client of every connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def credentials(self, connection: str) -> Credentials:
        return Credentials({"token": "for-the-model"})

    def missing(self, connection: str) -> str:
        return ""

    async def load(self, connections: object) -> None:
        return None

    async def get(self, connection: str) -> Any:
        return self._client
