"""A source at its provider, whichever way the author declared it: hooks, or the four plain calls."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from trigflow.core.errors import RegistrationError
from trigflow.core.plan import Action, Actual, Listed
from trigflow.runtime import records as r
from trigflow.runtime.routes import AnySource
from trigflow.sources.external import Events, Registered, Registration, Secret, Webhook, WebhookApi

SECRET_BYTES = 32


def new_secret(source: AnySource) -> bytes | None:
    """Make a key where it is ours to make; text, because providers take it as text."""
    return secrets.token_hex(SECRET_BYTES).encode() if source.secret is Secret.GENERATED else None


def listed_as(ours: Webhook[Any] | None, *, current_url: str) -> Listed:
    """Say of a webhook that was found what the plan needs to know."""
    if ours is None:
        return Listed(None)
    return Listed(Actual(tuple(sorted(ours.events)), ours.active, ours.url == current_url))


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

    async def ours(self) -> Webhook[Any] | None:
        """Find our webhook by its path, whatever host it was registered under."""
        assert self._source.api is not None  # noqa: S101 - asked by the caller
        path = self._reg.url[self._reg.url.index(self._reg.mark) :]
        found: Sequence[Webhook[Any]] = await self._source.api.list(self._params, self._client)
        return next((webhook for webhook in found if webhook.url.endswith(path)), None)

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
        return await register(self._reg, self._client)

    async def _through_api(self, api: WebhookApi[Any, Any, Any], action: Action) -> Registered[Any] | None:
        ours = await self.ours()
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
