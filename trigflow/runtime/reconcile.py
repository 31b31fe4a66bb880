"""The path of a registration: what jobs want, what providers have, and the steps between.

    triggers ─> wants ─> rows (endpoint, key, subscription: committed, routable)
                            │
            list at the provider ─> plan (pure) ─> apply: hook, then commit
                                                     └─ refused: failing, asked again later

A row is committed before a provider is called: some call back inside the call.
Whatever crashes in between, the next run of the path finds and adopts it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
import msgspec

from trigflow.core.errors import Unauthorized
from trigflow.core.ids import Ids
from trigflow.core.payloads import encode_json
from trigflow.core.plan import GRACE, Identity, Known, Listed, Means, Step, Wanted, plan
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt, attempt_async
from trigflow.runtime.clients import Clients
from trigflow.runtime.discreet import Scrubber, knowing, log_failure, problem_of
from trigflow.runtime.ports import Clock, Registry
from trigflow.runtime.provider import Provider, new_secret
from trigflow.runtime.routes import AnySource, Routes
from trigflow.runtime.vault import Vault
from trigflow.sources.registration import Registered

logger: logging.Logger = logging.getLogger("trigflow.registrations")
CLAIM = timedelta(minutes=2)  # one process's right to register a subscription
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)


class Applied(msgspec.Struct, frozen=True):
    """A step and what came of it; `error` is empty where it worked."""

    step: Step
    error: str = ""


class Reconciler:
    """Brings providers in line with what jobs want."""

    def __init__(
        self,
        wants: Sequence[r.Want],
        sources: Mapping[str, AnySource],
        registry: Registry,
        clients: Clients,
        routes: Routes,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        *,
        token: Callable[[], str],
        base_url: str | None,
        mark: str,
        owner: str,
    ) -> None:
        """Work for one open app.

        wants: of this process's jobs. token: makes the random part of a URL.
        base_url: the public URL of the app, with its mount prefix; None while unknown.
        mark: the start of every endpoint's path, carrying the store's id.
        """
        self._wants, self._sources, self._registry, self._clients = wants, sources, registry, clients
        self._routes, self._vault, self._clock, self._ids = routes, vault, clock, ids
        self._token, self._base_url, self._mark, self._owner = token, base_url, mark, owner

    def url_of(self, endpoint: r.Endpoint) -> str:
        """Return an endpoint's public URL; only its path while the base is unknown."""
        return f"{self._base_url or ''}{self._mark}{endpoint.token}"

    async def ensure(self) -> None:
        """Keep this process's wants, and rows for all of them, so that deliveries can arrive."""
        await self._registry.put_wants(self._owner, self._wants, at=self._ms())
        await self.keep_rows()

    async def withdraw(self) -> None:
        """Want nothing any more: what no other process wants is removed by the next plan."""
        self._wants = ()
        await self._registry.put_wants(self._owner, (), at=self._ms())

    async def keep_rows(self) -> None:
        """Keep rows for what this process wants, without a want: URLs and secrets are known then."""
        known = await self._registry.endpoints_for([want.identity for want in self._wants])
        for want in self._wants:
            if want.identity not in known:
                await self._create_rows(want)

    async def _create_rows(self, want: r.Want) -> None:
        now = self._ms()
        source = self._sources[want.source]
        secret = new_secret(source)
        keys = () if secret is None else (r.StoredKey(1, self._vault.seal(secret), None),)
        endpoint = r.Endpoint(self._ids.new("end"), self._token(), want.source, "pending", b"{}", keys)
        subscription = r.Subscription(
            self._ids.new("sub"), endpoint.id, *want.identity, want.params,
            cause="not registered yet", created_at=now, updated_at=now,
        )  # fmt: skip
        await self._registry.create_subscription(endpoint, subscription)
        self._routes.forget(endpoint.token)

    async def plan(self, *, offline: bool = False, grace: timedelta = GRACE) -> Sequence[Step]:
        """Say what would be done. Providers are asked what they have, unless offline; nothing is changed."""
        endpoints = await self._registry.endpoints()
        rows = {s.identity: (endpoint, s) for endpoint in endpoints for s in endpoint.subscriptions}
        wanted = await self._wanted(grace)
        known = [
            Known(identity, s.registered, s.data is not None, confirmed=s.state == "active")
            for identity, (_, s) in rows.items()
        ]
        means = {identity: self._means(identity) for identity in {*wanted, *rows}}
        tokens = {endpoint.token for endpoint in endpoints}
        listed: dict[Identity, Listed] = {}
        for identity, (endpoint, subscription) in rows.items():
            if not offline and means[identity].automatic:
                found = await self._listed(endpoint, subscription, tokens)
                if found is not None:
                    listed[identity] = found
        events = (Wanted(identity, want.events) for identity, want in wanted.items())
        return plan(events, known, listed, means)

    async def apply(self, steps: Sequence[Step], *, respect_waits: bool = False) -> Sequence[Applied]:
        """Do the steps; one that fails does not stop the others."""
        found: list[Applied] = []
        for step in steps:
            if step.changes:
                found.append(await self._apply(step, respect_waits))
        return found

    async def _wanted(self, grace: timedelta) -> dict[Identity, r.Want]:
        """Return the union of what all live processes want, this one's first."""
        since = self._ms() - int(grace.total_seconds() * 1000)
        found: dict[Identity, r.Want] = {}
        for want in [*self._wants, *await self._registry.wants(since=since)]:
            has = found.get(want.identity)
            events = tuple(sorted({*want.events, *(has.events if has else ())}))
            found[want.identity] = msgspec.structs.replace(has or want, events=events)
        return found

    def _means(self, identity: Identity) -> Means:
        source = self._sources.get(identity[0])
        if source is None:
            return Means(automatic=False, why_not="this app does not have its source")
        if not source.registers_itself:
            return Means(automatic=False, why_not=source.instructions or "its provider has no API for it")
        if self._clients.credentials(identity[2]) is None:
            return Means(automatic=False, why_not=self._clients.missing(identity[2]))
        return Means(keeps_secret=source.secret.value != "returned")

    async def _listed(
        self, endpoint: r.Endpoint, subscription: r.Subscription, tokens: Collection[str]
    ) -> Listed | None:
        """Ask a provider what it has; None where it can't say or does not answer.

        One that does not answer is planned for from the store's rows alone; the
        step then tells what is wrong, and the others are planned all the same.
        """
        if self._sources[subscription.source].api is None:
            return None
        provider = await self._provider(endpoint, subscription, ())
        asked = await attempt_async(lambda: provider.listed(tokens))
        if isinstance(asked, Raised):
            told = problem_of(asked.error, self._discretion(endpoint, subscription.connection))
            logger.warning("%s could not be asked what it has: %s", subscription.source, told)
            return None
        return asked.value

    async def _provider(self, endpoint: r.Endpoint, s: r.Subscription, desired: tuple[str, ...]) -> Provider:
        keys = self._routes.keys_of(endpoint)
        return Provider(
            self._sources[s.source],
            await self._clients.get(s.connection),
            s,
            url=self.url_of(endpoint),
            mark=self._mark,
            secret=keys[0].secret.decode() if keys else "",
            desired=desired,
        )

    async def _apply(self, step: Step, respect_waits: bool) -> Applied:
        found = await self._find(step.identity)
        if found is None:
            return Applied(step, "its row is gone; run it again")
        endpoint, subscription = found
        if respect_waits and subscription.next_at > self._ms():
            return Applied(step, f"waits after a refusal: {subscription.cause}")
        if step.action == "manual":
            return Applied(step, step.reason)
        until = self._ms() + int(CLAIM.total_seconds() * 1000)
        if not await self._registry.claim_subscription(
            subscription.id, self._owner, now=self._ms(), until=until
        ):
            return Applied(step, "another process is registering it now")
        try:
            return await self._do_claimed(step)
        finally:
            await self._registry.release_subscription(subscription.id, self._owner)
            self._routes.forget(endpoint.token)

    async def _do_claimed(self, step: Step) -> Applied:
        """Do a step on the rows of now: between plan and claim another process may have done it."""
        found = await self._find(step.identity)
        if found is None:
            return Applied(step, "its row is gone; run it again")
        if step.action in ("create", "adopt") and found[1].data is not None:
            return Applied(step)
        return await self._do(step, *found)

    async def _find(self, identity: Identity) -> tuple[r.Endpoint, r.Subscription] | None:
        found = await self._registry.endpoints_for([identity])
        return next(((endpoint, s) for endpoint in found.values() for s in endpoint.subscriptions), None)

    async def _do(self, step: Step, endpoint: r.Endpoint, s: r.Subscription) -> Applied:
        started = self._ms()

        async def call() -> Any:
            if step.action == "remove" and s.data is None and not self._means(s.identity).automatic:
                return None
            provider = await self._provider(endpoint, s, step.desired)
            if step.action == "sweep":
                return await provider.sweep({one.token for one in await self._registry.endpoints()})
            return await provider.do(step.action)

        called = await attempt_async(call)
        if isinstance(called, Raised):
            scrub = self._discretion(endpoint, s.connection)
            error = problem_of(called.error, scrub)
            log_failure(
                logger, "subscription %s (%s): %s", s.id, s.source, error, error=called.error, scrub=scrub
            )
            await self._refused(s, called.error, error)
            await self._log(s, step, "refused", error, started)
            return Applied(step, error)
        if step.action == "sweep":
            pass
        elif step.action == "remove":
            await self._registry.remove_subscription(s.id, at=self._ms())
        else:
            await self._registered(s, step, called.value)
        await self._log(s, step, "done", "", started)
        return Applied(step)

    def _discretion(self, endpoint: r.Endpoint, connection: str) -> Scrubber:
        """Return what takes out of errors what a provider was called with: some quote a whole request."""
        credentials = self._clients.credentials(connection)
        keys = attempt(lambda: self._routes.keys_of(endpoint))
        known = (
            [] if isinstance(keys, Raised) else [key.secret.decode(errors="replace") for key in keys.value]
        )
        return knowing([*known, *(credentials.values() if credentials else ()), endpoint.token])

    async def _registered(self, s: r.Subscription, step: Step, registered: Registered[Any] | None) -> None:
        active = attrs.evolve(
            s, registered=step.desired, coverage="events", state="active", cause="", failures=0, next_at=0,
            updated_at=self._ms(),
        )  # fmt: skip
        sealed = None
        if registered is not None:
            active = attrs.evolve(active, data=encode_json(registered.data))
            if registered.events is not None:
                active = attrs.evolve(active, registered=tuple(sorted(registered.events)))
            if registered.expires_at is not None:
                active = attrs.evolve(active, lease_until=int(registered.expires_at.timestamp() * 1000))
            sealed = None if registered.secret is None else self._vault.seal(registered.secret.encode())
        await self._registry.save_subscription(active, sealed_key=sealed)

    async def _refused(self, s: r.Subscription, error: Exception, cause: str) -> None:
        failures = s.failures + 1
        wait = min(FIRST_WAIT * 2 ** min(failures - 1, 20), LONGEST_WAIT)
        next_at = self._ms() + int(wait.total_seconds() * 1000)
        until = getattr(error, "until", None)
        if until is not None:
            next_at = max(next_at, int(until.timestamp() * 1000))
        state: r.SubscriptionState = "failing"
        if isinstance(error, Unauthorized):
            cause = f"{cause}; a person is needed"
        await self._registry.save_subscription(
            attrs.evolve(
                s, state=state, cause=cause, failures=failures, next_at=next_at, updated_at=self._ms()
            )
        )

    async def _log(self, s: r.Subscription, step: Step, outcome: Any, error: str, started: int) -> None:
        now = self._ms()
        entry = r.RegistrationAttempt(
            self._ids.new("reg"), s.id, step.action, step.reason, outcome, error, now, now - started
        )
        await self._registry.log_registration(entry)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
