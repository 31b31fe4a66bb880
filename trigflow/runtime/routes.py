"""From the random part of a URL to the endpoint behind it, without a read per request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from trigflow.core.http import Request
from trigflow.runtime import records as r
from trigflow.runtime.ports import Clock, Registry
from trigflow.runtime.vault import Vault
from trigflow.sources.external import ExternalSource
from trigflow.sources.verify import Key

FRESH = 5.0  # seconds that an endpoint is used without asking the store again
MOST_UNKNOWN = 10_000  # tokens remembered as unknown, so that a scan costs no reads

AnySource = ExternalSource[Any, Any, Any]


@attrs.frozen
class Route:
    """An endpoint, ready to receive: keys opened, source found."""

    endpoint: r.Endpoint
    source: AnySource
    keys: tuple[Key, ...] = attrs.field(repr=False)
    facts: Mapping[str, str]
    loaded_at: float
    subscriptions: tuple[r.Subscription, ...]
    by_account: Mapping[str, Sequence[r.Subscription]]

    @property
    def pending(self) -> bool:
        """Tell whether the provider has not confirmed the endpoint yet."""
        return self.endpoint.state == "pending"

    def addressed(self, request: Request) -> Sequence[r.Subscription]:
        """Return the subscriptions that a delivery is for."""
        if self.source.account is None:
            return self.subscriptions[:1]
        accounts = {value.decode("utf-8", "replace") for value in self.source.account.values(request)}
        return [one for account in accounts for one in self.by_account.get(account, ())]


class Routes:
    """Finds endpoints; what it remembers is at most FRESH seconds old."""

    def __init__(
        self, sources: Mapping[str, AnySource], registry: Registry, vault: Vault, clock: Clock
    ) -> None:
        """Know the sources by id."""
        self._sources, self._registry, self._vault, self._clock = sources, registry, vault, clock
        self._known: dict[str, Route] = {}
        self._unknown: dict[str, float] = {}

    async def find(self, token: str) -> Route | None:
        """Return the route of a token; None for a URL that is not ours, or whose source this app lacks."""
        route = self._known.get(token)
        now = self._clock.now()
        if route is not None and now - route.loaded_at < FRESH:
            return route
        if now - self._unknown.get(token, -FRESH) < FRESH:
            return None
        return await self._load(token)

    def knows(self, token: str) -> bool:
        """Tell whether an endpoint was found under this token before."""
        return token in self._known

    def forget(self, token: str) -> None:
        """Read an endpoint anew on its next request: its row has changed."""
        self._known.pop(token, None)
        self._unknown.pop(token, None)

    async def _load(self, token: str) -> Route | None:
        endpoint = await self._registry.endpoint(token)
        now = self._clock.now()
        source = None if endpoint is None else self._sources.get(endpoint.source)
        if endpoint is None or source is None:
            self._known.pop(token, None)
            if len(self._unknown) >= MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[token] = now
            return None
        keys = self.keys_of(endpoint)
        route = Route(
            endpoint, source, keys, _facts(endpoint, source, keys), now, *_receiving(endpoint.subscriptions)
        )
        self._known[token] = route
        return route

    def keys_of(self, endpoint: r.Endpoint) -> tuple[Key, ...]:
        """Open an endpoint's keys."""
        return tuple(
            Key(self._vault.open(key.sealed), None if key.valid_until is None else key.valid_until / 1000)
            for key in endpoint.keys
        )


def _receiving(
    subscriptions: Sequence[r.Subscription],
) -> tuple[tuple[r.Subscription, ...], Mapping[str, Sequence[r.Subscription]]]:
    """Return the subscriptions that take deliveries, and the same by account."""
    receiving = tuple(one for one in subscriptions if one.state not in ("removed", "disabled"))
    by_account: defaultdict[str, list[r.Subscription]] = defaultdict(list)
    for one in receiving:
        if one.account is not None:
            by_account[one.account].append(one)
    return receiving, dict(by_account)


def _facts(endpoint: r.Endpoint, source: AnySource, keys: tuple[Key, ...]) -> Mapping[str, str]:
    kept: dict[str, str] = msgspec.json.decode(endpoint.facts, type=dict[str, str])
    secret = keys[0].secret.decode() if keys else ""
    for subscription in endpoint.subscriptions[:1]:
        kept |= source.facts_of(subscription.params, secret)
    return kept
