"""What this process wants, and the rows for it: committed and routable before a provider is called.

triggers ─> wants (of each process) ─┐
subscribers (run time) ──────────────┴─> rows: endpoint, key, subscription
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta

import attrs
import msgspec

from trigflow.core.ids import Ids
from trigflow.core.plan import Identity, KeyFact, Known
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.provider import new_secret
from trigflow.runtime.sealing.vault import Vault

BATCH = 500  # rows that are made in one transaction


class Rows:
    """Keeps wants, and a row for each of them."""

    def __init__(
        self,
        wants: Sequence[r.Want],
        sources: Mapping[str, AnySource],
        store: Store,
        routes: Routes,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        *,
        token: Callable[[], str],
        owner: str,
        expects: Mapping[str, int] | None = None,
    ) -> None:
        """Work for one open app.

        wants: of this process's jobs. token: makes the random part of a URL.
        expects: milliseconds in which the jobs expect something, by dynamic trigger.
        """
        self._expects = expects or {}
        self._wants, self._sources, self._store, self._routes = wants, sources, store, routes
        self._vault, self._clock, self._ids, self._token, self._owner = vault, clock, ids, token, owner
        self._accounts: dict[str, str] = {}  # of connections of apps that share a webhook, by ref
        self._of_accounts: Sequence[r.Want] = ()
        self._has_begun = False

    @property
    def wants(self) -> Sequence[r.Want]:
        """What this process wants, the accounts of its apps included."""
        return [*self._wants, *self._of_accounts]

    async def ensure(self) -> None:
        """Keep this process's wants, and rows for all of them, so that deliveries can arrive."""
        await self._find_accounts()
        await self._store.put_wants(self._owner, self.wants, at=self._ms(), expects=self._expects)
        await self.keep_rows()
        if not self._has_begun:  # what jobs want, or the public URL, may have changed
            self._has_begun = True
            await self._store.look_soon([want.identity for want in self.wants])

    async def withdraw(self) -> None:
        """Want nothing any more: what no other process wants is removed by the next plan."""
        self._wants = self._of_accounts = ()
        await self._store.put_wants(self._owner, (), at=self._ms())

    async def keep_rows(self) -> None:
        """Keep rows for what this process wants, without a want: URLs and secrets are known then."""
        wants = self.wants
        for start in range(0, len(wants), BATCH):
            some = wants[start : start + BATCH]
            known = await self._store.endpoints_for([want.identity for want in some])
            await self._follow_accounts(known.values())
            accounts = self._accounts
            new = [
                self.row_of(want, accounts.get(want.connection, ""))
                for want in some
                if want.identity not in known
            ]
            if new:
                await self._store.create_subscriptions(new)
                for endpoint, _ in new:
                    self._routes.forget(endpoint.token)

    async def _follow_accounts(self, endpoints: Iterable[r.Endpoint]) -> None:
        """Give a subscription its connection's account of now: an app that is installed anew has another."""
        for endpoint in endpoints:
            for s in endpoint.subscriptions:
                account = self._accounts.get(s.connection, s.account)
                if s.account is not None and account != s.account:
                    await self._store.save_subscription(attrs.evolve(s, account=account), was=s)
                    self._routes.forget(endpoint.token)

    def row_of(self, want: r.Want, account: str = "") -> tuple[r.Endpoint, r.Subscription]:
        """Make the rows of a want; nothing is kept yet.

        account: whose deliveries at a shared endpoint it takes; "" for those of nobody.
        """
        now = self._ms()
        source = self._sources[want.source]
        secret = new_secret(source)
        keys = () if secret is None else (r.StoredKey(1, self._vault.seal(secret), created_at=now),)
        shared = source.is_shared(source.load_params(want.params))
        endpoint = r.Endpoint(
            self._ids.new("end"), self._token(), want.source, "pending", b"{}", keys,
            shared_key=want.key if shared else None,
        )  # fmt: skip
        subscription = r.Subscription(
            self._ids.new("sub"), endpoint.id, *want.identity, want.params,
            cause="not registered yet", created_at=now, updated_at=now,
            account=account if shared else None,
        )  # fmt: skip
        return endpoint, subscription

    async def wanted(self, identities: Collection[Identity], grace: timedelta) -> Mapping[Identity, r.Want]:
        """Return the union of what all live processes and subscribers want, this process included."""
        since = self._ms() - int(grace.total_seconds() * 1000)
        found = dict(await self._store.wanted(identities, since=since))
        for want in self.wants:
            if want.identity in identities:
                has = found.get(want.identity)
                events = tuple(sorted({*want.events, *(has.events if has else ())}))
                found[want.identity] = msgspec.structs.replace(has or want, events=events)
        return found

    async def _find_accounts(self) -> None:
        """Want, for each account of an app that has a shared webhook, what is wanted of the app."""
        found: list[r.Want] = []
        for want in self._wants:
            source = self._sources[want.source]
            if not source.is_shared(source.load_params(want.params)):
                continue
            for connection in await self._store.connections(integration=want.connection):
                if connection.account is not None and connection.ref != want.connection:
                    self._accounts[connection.ref] = connection.account
                    found.append(msgspec.structs.replace(want, connection=connection.ref))
        self._of_accounts = found

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def known_of(endpoint: r.Endpoint, s: r.Subscription) -> Known:
    """Return what the plan needs to know of a row."""
    keys = tuple(
        KeyFact(key.serial, key.created_at, key.used_at, key.data is not None) for key in endpoint.keys
    )
    # An account of an app has nothing of its own at the provider.
    finished = s.data is not None or (bool(s.account) and s.state != "pending")
    return Known(
        s.identity, s.registered, finished, s.state == "active" or s.coverage == "unknown",
        leased_at=s.leased_at, lease_until=s.lease_until, asked=s.asked, keys=keys,
    )  # fmt: skip
