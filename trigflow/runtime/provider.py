"""A source at its provider, whichever way the author declared it: hooks, or the four plain calls."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from trigflow.core.errors import RegistrationError
from trigflow.core.plan import Action, Actual, Listed
from trigflow.runtime import records as r
from trigflow.runtime.routes import AnySource
from trigflow.sources.registration import Events, Registered, Registration, Secret, Webhook, WebhookApi

SECRET_BYTES = 32


def new_secret(source: AnySource) -> bytes | None:
    """Make a key where it is ours to make; text, because providers take it as text."""
    return secrets.token_hex(SECRET_BYTES).encode() if source.secret is Secret.GENERATED else None


# The path of any trigflow endpoint: the mark with a store's id, then the token.
_ANY_MARK = re.compile(r"/e/[a-z2-7]{8}/[a-z2-7]{32}$")


class Provider:
    """One subscription's place at its provider."""

    def __init__(
        self,
        source: AnySource,
        client: Any,
        subscription: r.Subscription,
        *,
        url: str,
        mark: str,
        secret: str,
        desired: tuple[str, ...],
    ) -> None:
        """Know the subscription, the URL that it must have and the events that it should have."""
        self._source, self._client = source, client
        self._params = source.load_params(subscription.params)
        events = Events(desired, subscription.registered)
        data = source.load_data(subscription.data)
        self._reg: Registration[Any, Any] = Registration(url, self._params, events, secret, data, mark)

    async def listed(self, tokens: Collection[str]) -> Listed:
        """Say what is there; `tokens` are those of all endpoints that the store knows."""
        found = await self._list()
        ours = self._ours(found)
        strays = sum(self._is_stray(webhook, tokens) for webhook in found)
        others = sum(
            self._reg.mark not in webhook.url and _ANY_MARK.search(webhook.url) is not None
            for webhook in found
        )
        if ours is None:
            return Listed(None, strays, others)
        actual = Actual(tuple(sorted(ours.events)), ours.active, ours.url == self._reg.url)
        return Listed(actual, strays, others)

    async def sweep(self, tokens: Collection[str]) -> None:
        """Delete what carries our mark but belongs to no row."""
        assert self._source.api is not None  # noqa: S101 - only what was listed is swept
        for webhook in await self._list():
            if self._is_stray(webhook, tokens):
                await self._source.api.delete(self._reg, webhook, self._client)

    async def _list(self) -> Sequence[Webhook[Any]]:
        assert self._source.api is not None  # noqa: S101 - asked by the caller
        found: Sequence[Webhook[Any]] = await self._source.api.list(self._params, self._client)
        return found

    def _ours(self, found: Sequence[Webhook[Any]]) -> Webhook[Any] | None:
        """Find our webhook by its path, whatever host it was registered under."""
        path = self._reg.url[self._reg.url.index(self._reg.mark) :]
        return next((webhook for webhook in found if webhook.url.endswith(path)), None)

    def _is_stray(self, webhook: Webhook[Any], tokens: Collection[str]) -> bool:
        _, marked, token = webhook.url.partition(self._reg.mark)
        return bool(marked) and token not in tokens

    async def do(self, action: Action) -> Registered[Any] | None:
        """Carry out one step of a plan."""
        if "://" not in self._reg.url and action != "remove":
            raise RegistrationError(
                "the public URL is not known; set url=, TRIGFLOW_URL or use `trigflow dev --tunnel`"
            )
        if self._source.api is None:
            return await self._through_hooks(action)
        return await self._through_api(self._source.api, action)

    async def _through_hooks(self, action: Action) -> Registered[Any] | None:
        register, unregister = self._source.register_hook, self._source.unregister_hook
        if action in ("remove", "recreate") and unregister is not None:
            await unregister(self._reg, self._client)
        if action == "remove":
            return None
        assert register is not None  # noqa: S101 - else the step would be manual
        registered: Registered[Any] | None = await register(self._reg, self._client)
        if registered is None and self._reg.data is None:
            raise RegistrationError(
                f"the register hook of {self._source.id} returned None, but nothing was registered before; "
                "return Registered(...)"
            )
        return registered

    async def _through_api(self, api: WebhookApi[Any, Any, Any], action: Action) -> Registered[Any] | None:
        ours = self._ours(await self._list())
        if action in ("remove", "recreate") and ours is not None:
            await api.delete(self._reg, ours, self._client)
            ours = None
        if action == "remove":
            return None
        if ours is None:
            ours = await api.create(self._reg, self._client)
        else:
            ours = await api.update(self._reg, ours, self._client)
        return Registered(ours.data, ours.events, ours.secret, ours.expires_at)
