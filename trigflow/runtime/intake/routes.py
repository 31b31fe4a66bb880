"""From the random part of a URL to the endpoint behind it, and from an account to its subscriptions.

What is found is remembered, so that there is no read per request, and only what a
request needs is read, however many subscriptions share its endpoint.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from trigflow.core.errors import PayloadError, StoreUnusable
from trigflow.core.http import Request
from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.intake.lookups import Lookups
from trigflow.runtime.ports import Clock, Registry
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.external import ExternalSource
from trigflow.sources.verify import Key

FRESH = 5.0  # seconds that what was read is used without asking the store again
MOST = 10_000  # endpoints and accounts that are remembered, and as many unknown ones: a scan costs few reads
A_MOMENT = 1.0  # seconds; a flood of forged requests costs one read in them
LATE = 7 * 86_400.0  # seconds that an endpoint still answers after its last subscription was removed
MOST_WAITED = 100  # accounts of one delivery that it waits for, where none of them is known
LONGEST_ACCOUNT = 200  # characters; longer ones are read each time: they are the sender's to choose

NOBODY = (b"",)  # the account of what comes to an app's endpoint without one
AnySource = ExternalSource[Any, Any, Any]


@attrs.frozen(eq=False)
class Route:
    """An endpoint, ready to receive: keys opened, source found.

    subscriptions: those that take all deliveries, where the source does not tell accounts apart.
    """

    endpoint: r.Endpoint
    source: AnySource
    keys: tuple[Key, ...] = attrs.field(repr=False)
    facts: Mapping[str, str]
    subscriptions: tuple[r.Subscription, ...]

    @property
    def is_removed(self) -> bool:
        """Tell whether no job wants anything from it any more: what comes is late."""
        return self.endpoint.state == "removed"

    @property
    def tells_accounts_apart(self) -> bool:
        """Tell whether it is one for all accounts of an app."""
        return self.source.account is not None and (
            self.endpoint.shared_key is not None or not self.source.shares_some
        )

    def topic_of(self, subscription: r.Subscription) -> Identity:
        """Return what triggers are found by."""
        return topic_of(self.endpoint, subscription)

    def serial(self, key: int | None) -> int | None:
        """Return the serial of one of its keys."""
        return None if key is None else self.endpoint.keys[key].serial

    @property
    def pending(self) -> bool:
        """Tell whether the provider has not confirmed the endpoint yet."""
        return self.endpoint.state == "pending"


def topic_of(endpoint: r.Endpoint, subscription: r.Subscription) -> Identity:
    """Return what triggers in code are found by: an account's events are those of its app."""
    if endpoint.shared_key is None:
        return subscription.identity
    return (subscription.source, subscription.key, subscription.connection.partition("/")[0])


_Addressed: TypeAlias = tuple[Route, str]  # with the route: its accounts are forgotten with it
_Receiving: TypeAlias = tuple[r.Subscription, ...]


class Routes:
    """Finds endpoints and accounts; what it remembers is at most FRESH seconds old."""

    def __init__(
        self, sources: Mapping[str, AnySource], registry: Registry, vault: Vault, clock: Clock
    ) -> None:
        """Know the sources by id."""
        self._sources, self._registry, self._vault, self._clock = sources, registry, vault, clock
        self._found: set[str] = set()
        self._reread: dict[str, float] = {}  # when, by token
        self._endpoints: Lookups[str, r.Endpoint, Route | None] = Lookups(
            registry.endpoints_at, self._route, clock, fresh=FRESH, most=MOST
        )
        self._accounts: Lookups[_Addressed, _Receiving, _Receiving] = Lookups(
            self._receiving, lambda _, found: found or (), clock, fresh=FRESH, most=MOST
        )

    async def find(self, token: str) -> Route | None:
        """Return the route of a token; None for a URL that is not ours, or whose source this app lacks."""
        answer = self._endpoints.remembered(token)
        return await self._endpoints.find(token) if answer is None else answer.value

    async def addressed(self, route: Route, request: Request) -> Sequence[r.Subscription]:
        """Return the subscriptions that a delivery is for.

        Asks the store only where the source tells accounts apart and one of them is not remembered.
        """
        part = route.source.account
        if part is None or not route.tells_accounts_apart:
            return route.subscriptions
        values = part.values(request) or NOBODY
        if len(values) == 1:
            answer = self._accounts.remembered((route, values[0].decode("utf-8", "replace")))
            if answer is not None:
                return answer.value
        accounts = dict.fromkeys((route, value.decode("utf-8", "replace")) for value in values)
        return await self._find_accounts(list(accounts))

    def accounts_of(self, route: Route, request: Request) -> tuple[str, ...]:
        """Return the accounts that a delivery is of, but for more than can be waited for."""
        part = route.source.account
        values = () if part is None else part.values(request) or NOBODY
        accounts = dict.fromkeys(value.decode("utf-8", "replace") for value in values[:MOST_WAITED])
        return tuple(account for account in accounts if len(account) <= LONGEST_ACCOUNT)

    def knows(self, token: str) -> bool:
        """Tell whether an endpoint was found under this token before."""
        return token in self._found

    def forget(self, token: str) -> None:
        """Read an endpoint, and the accounts there, anew on its next request: a row has changed."""
        self._endpoints.forget(token)

    def keys_of(self, endpoint: r.Endpoint) -> tuple[Key, ...]:
        """Open an endpoint's keys."""
        return tuple(
            Key(self._vault.open(key.sealed), None if key.valid_until is None else key.valid_until / 1000)
            for key in endpoint.keys
        )

    def __len__(self) -> int:
        """Return how many endpoints and accounts are remembered."""
        return len(self._endpoints) + len(self._accounts)

    def _route(self, token: str, endpoint: r.Endpoint | None) -> Route | None:
        source = None if endpoint is None else self._sources.get(endpoint.source)
        if endpoint is None or source is None or self._is_forgotten(endpoint):
            self._found.discard(token)
            return None
        keys = self.keys_of(endpoint)
        facts, receiving = _facts(endpoint, source, keys), _first_receiving(endpoint.subscriptions)
        route = Route(endpoint, source, keys, facts, receiving)
        self._found.add(token)
        return route

    def _is_forgotten(self, endpoint: r.Endpoint) -> bool:
        return endpoint.removed_at is not None and endpoint.removed_at / 1000 + LATE < self._clock.now()

    async def reread(self, route: Route) -> Route:
        """Return a route as it is now, unless that was asked a moment ago: a key may have been added."""
        token, now = route.endpoint.token, self._clock.now()
        if 0 <= now - self._reread.get(token, now - A_MOMENT) < A_MOMENT:
            return await self.find(token) or route
        if len(self._reread) >= MOST:
            self._reread.clear()
        self._reread[token] = now
        self.forget(token)
        return await self.find(token) or route

    async def _find_accounts(self, accounts: Sequence[_Addressed]) -> Sequence[r.Subscription]:
        found = await self._accounts.find_all(accounts)
        for one in accounts:
            if len(one[1]) > LONGEST_ACCOUNT:
                self._accounts.forget(one)
        return [subscription for some in found for subscription in some]

    async def _receiving(self, asked: Collection[_Addressed]) -> Mapping[_Addressed, _Receiving]:
        found = await self._registry.receiving({(route.endpoint.id, account) for route, account in asked})
        return {one: tuple(found.get((one[0].endpoint.id, one[1]), ())) for one in asked}


def _first_receiving(subscriptions: Sequence[r.Subscription]) -> tuple[r.Subscription, ...]:
    """Return the first that takes deliveries, if there is one."""
    return tuple(one for one in subscriptions if one.state not in r.TAKES_NOTHING)[:1]


def _facts(endpoint: r.Endpoint, source: AnySource, keys: tuple[Key, ...]) -> Mapping[str, str]:
    try:
        kept: dict[str, str] = msgspec.json.decode(endpoint.facts, type=dict[str, str])
        secret = keys[0].secret.decode() if keys else ""
        for subscription in endpoint.subscriptions[:1]:
            kept |= source.facts_of(subscription.params, secret)
    except (msgspec.DecodeError, PayloadError, UnicodeDecodeError) as error:
        raise StoreUnusable(
            f"what is kept of endpoint {endpoint.id} can't be read; `trigflow db check` says what is wrong"
        ) from error
    return kept
