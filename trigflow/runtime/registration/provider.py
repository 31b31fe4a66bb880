"""A source at its provider, whichever way the author declared it: hooks, or the four plain calls."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from trigflow.core.errors import NotFound, RegistrationError
from trigflow.core.local import is_local
from trigflow.core.payloads import encode_json
from trigflow.core.plan import Action, Actual, Listed, Rotation
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import AnySource
from trigflow.sources.registration import Events, Registered, Registration, Secret, Webhook, WebhookApi

SECRET_BYTES = 32
# The path of any trigflow endpoint: the mark with a store's id, then the token. A token of
# `trigflow dev` ends in the unix second from which anybody may remove the webhook.
_ANY_MARK = re.compile(r"/e/[a-z2-7]{8}/([a-z2-7]{32}(?:\.(\d{10}))?)$")


def new_secret(source: AnySource) -> bytes | None:
    """Make a key where it is ours to make; text, because providers take it as text."""
    return secrets.token_hex(SECRET_BYTES).encode() if source.secret is Secret.GENERATED else None


def rotation_of(source: AnySource) -> Rotation:
    """Tell how a source's key is changed."""
    if source.rotate_hook is not None:
        return "hook"
    if source.secret is Secret.GENERATED and source.registers_itself:
        return "tell"
    return "second" if source.secret is Secret.RETURNED and source.api is not None else "no"


class Found(msgspec.Struct, frozen=True):
    """What a provider's list says, sorted by whose it is."""

    ours: Webhook[Any] | None
    retiring: Sequence[Webhook[Any]]
    strays: Sequence[Webhook[Any]]
    others: int
    is_known: bool = True
    of_others: tuple[str, ...] = ()  # their URLs

    def listed(self, url: str) -> Listed:
        """Return it as the plan needs it. url: only its path while the public URL is not known."""
        if self.ours is None:
            return Listed(None, len(self.strays), self.others)
        ours, events = self.ours, tuple(sorted(self.ours.events))
        leads_here = ours.url.endswith(url) if url.startswith("/") else ours.url == url
        actual = Actual(events, ours.active, leads_here, self.is_known, ours.fixed)
        return Listed(actual, len(self.strays), self.others)


def tokens_in(webhooks: Sequence[Webhook[Any]], mark: str) -> Collection[str]:
    """Return the random parts of those URLs that carry a store's mark."""
    return {token for webhook in webhooks for _, found, token in [webhook.url.partition(mark)] if found}


def has_expired(url: str, now: float) -> bool:
    """Tell whether a URL is that of a webhook of `trigflow dev` whose time is over."""
    found = _ANY_MARK.search(url)
    return found is not None and found[2] is not None and int(found[2]) <= now


def problem_of_url(url: str, client: Any) -> str:
    """Say why the provider that a client leads to can't reach a URL; empty where it can."""
    if "://" not in url:
        return "the public URL is not known; set url=, TRIGFLOW_URL or use `trigflow dev --tunnel`"
    if is_local(url) and not is_local(getattr(client, "base_url", "")):
        return (
            "no provider can reach an app at localhost; set url= or TRIGFLOW_URL to its public URL, or "
            "use `trigflow dev --tunnel` or `--follow`"
        )
    return ""


class Provider:
    """One subscription's place at its provider."""

    def __init__(
        self,
        source: AnySource,
        client: Any,
        endpoint: r.Endpoint,
        subscription: r.Subscription,
        *,
        url: str,
        mark: str,
        secret: str,
        desired: tuple[str, ...],
    ) -> None:
        """Know the subscription, the URL that it must have and the events that it should have."""
        self._source, self._client, self._endpoint = source, client, endpoint
        self._params = source.load_params(subscription.params)
        events = Events(desired, subscription.registered)
        data = source.load_data(subscription.data)
        self.reg: Registration[Any, Any] = Registration(url, self._params, events, secret, data, mark)

    # --- what is there

    async def list(self) -> Sequence[Webhook[Any]]:
        """Return all webhooks of the place, foreign ones too."""
        assert self._source.api is not None  # noqa: S101 - asked by the caller
        found: Sequence[Webhook[Any]] = await self._source.api.list(self._params, self._client)
        return found

    def sort(self, found: Sequence[Webhook[Any]], known: Collection[str], *, now: float) -> Found:
        """Tell whose they are; `known` are the tokens of endpoints that are not removed."""
        token = self._endpoint.token
        kept = [self._source.load_data(key.data) for key in self._endpoint.keys if key.data is not None]
        here = [webhook for webhook in found if self._token_of(webhook) == token]
        retiring = [w for w in here if w.data in kept and w.data != self.reg.data]
        here = [webhook for webhook in here if webhook not in retiring]
        ours = next((w for w in here if w.data == self.reg.data), here[0] if here else None)
        marked = [w for w in found if self._token_of(w) not in ("", token, *known)]
        others = [w for w in found if not self._token_of(w) and _ANY_MARK.search(w.url)]
        expired = [webhook for webhook in others if has_expired(webhook.url, now)]
        doubles = [webhook for webhook in here if webhook is not ours]
        is_known = ours is None or ours.data == self.reg.data
        alive = tuple(w.url for w in others if w not in expired)
        return Found(ours, retiring, [*marked, *doubles, *expired], len(alive), is_known, alive)

    def _token_of(self, webhook: Webhook[Any]) -> str:
        """Return the random part of a webhook's URL, whatever host it is on; "" where it has not our mark."""
        return webhook.url.partition(self.reg.mark)[2]

    # --- steps of a plan

    async def do(self, action: Action, found: Found | None) -> Registered[Any] | None:
        """Carry out one of create, adopt, update, recreate, remove, sweep.

        found: what the list said just before; None where there is no list.
        """
        if action not in ("remove", "sweep"):
            self._check_url()
        if found is None or self._source.api is None:
            return await self._through_hooks(action)
        return await self._through_api(self._source.api, action, found)

    async def stop(self, data: bytes) -> None:
        """Make a provider stop a webhook that another one has taken the place of."""
        old = attrs.evolve(self.reg, data=self._source.load_data(data))
        with suppress(NotFound):
            if self._source.api is not None:
                webhook: Webhook[Any] = Webhook(old.url, old.events.registered, old.data)
                await self._source.api.delete(old, webhook, self._client)
            elif self._source.unregister_hook is not None:
                await self._source.unregister_hook(old, self._client)

    def _kept_for_old_keys(self) -> Sequence[bytes]:
        """Return the data of webhooks that another one has taken the place of, and that still send."""
        found = (key.data for key in self._endpoint.keys)
        return [data for data in found if data is not None and self._source.load_data(data) != self.reg.data]

    async def renew(self) -> Registered[Any]:
        """Prolong a lease; NotFound where the provider has let it go."""
        self._check_url()
        lease = self._source.lease
        if lease is not None and lease.mode == "extend" and self._source.renew_hook is not None:
            renewed: Registered[Any] = await self._source.renew_hook(self.reg, self._client)
            return renewed
        again = lease is not None and lease.mode == "recall"
        return await self.make(self.reg if again else attrs.evolve(self.reg, data=None))

    async def make(self, reg: Registration[Any, Any]) -> Registered[Any]:
        """Register, whatever is there already."""
        if self._source.api is not None:
            return _registered(await self._source.api.create(reg, self._client))
        assert self._source.register_hook is not None  # noqa: S101 - else the step would be manual
        made: Registered[Any] | None = await self._source.register_hook(reg, self._client)
        if made is None:
            raise RegistrationError(
                f"the register hook of {self._source.id} returned None where a new registration was due; "
                "return Registered(...)"
            )
        return made

    async def rotate(self, found: Found | None) -> Registered[Any] | None:
        """Make the provider sign with the newest key, or with one that it returns."""
        self._check_url()
        if self._source.rotate_hook is not None:
            rotated: Registered[Any] = await self._source.rotate_hook(self.reg, self._client)
            return rotated
        if rotation_of(self._source) == "second":
            return await self.make(attrs.evolve(self.reg, data=None))
        return await self.do("update", found)

    async def ping(self) -> bool:
        """Ask for a sign of life; False where the provider offers none."""
        if self._source.ping_hook is None:
            return False
        await self._source.ping_hook(self.reg, self._client)
        return True

    def _check_url(self) -> None:
        problem = problem_of_url(self.reg.url, self._client)
        if problem:
            raise RegistrationError(problem)

    async def _through_hooks(self, action: Action) -> Registered[Any] | None:
        register, unregister = self._source.register_hook, self._source.unregister_hook
        if action in ("remove", "recreate") and unregister is not None:
            for data in self._kept_for_old_keys():
                await self.stop(data)
            with suppress(NotFound):
                await unregister(self.reg, self._client)
        if action == "remove":
            return None
        assert register is not None  # noqa: S101 - else the step would be manual
        reg = attrs.evolve(self.reg, data=None) if action == "recreate" else self.reg
        try:
            registered: Registered[Any] | None = await register(reg, self._client)
        except NotFound:  # it went away without our hearing of it
            if reg.data is None:
                raise
            reg = attrs.evolve(reg, data=None)
            registered = await register(reg, self._client)
        if registered is None and reg.data is None:
            raise RegistrationError(
                f"the register hook of {self._source.id} returned None, but nothing was registered before; "
                "return Registered(...)"
            )
        return registered

    async def _through_api(
        self, api: WebhookApi[Any, Any, Any], action: Action, found: Found
    ) -> Registered[Any] | None:
        if action == "sweep":
            await self._delete(api, found.strays)
            return None
        ours = found.ours
        if action in ("remove", "recreate"):
            await self._delete(api, [*([ours] if ours else []), *found.retiring])
            ours = None
        if action == "remove":
            return None
        if ours is not None:
            try:
                return _registered(await api.update(self.reg, ours, self._client))
            except NotFound:  # it went away since it was listed
                ours = None
        return _registered(await api.create(self.reg, self._client))

    async def _delete(self, api: WebhookApi[Any, Any, Any], webhooks: Sequence[Webhook[Any]]) -> None:
        for webhook in webhooks:
            with suppress(NotFound):
                await api.delete(self.reg, webhook, self._client)


def _registered(webhook: Webhook[Any]) -> Registered[Any]:
    return Registered(webhook.data, webhook.events, webhook.secret, webhook.expires_at)


def kept_data(registered: Registered[Any]) -> bytes:
    """Return what is kept of a registration."""
    return encode_json(registered.data)
