"""One step of a plan for one subscription: the provider is called, and what came of it is committed.

create adopt update recreate remove sweep   the webhook itself
renew                                       its lease: prolonged, or a new one takes its place
rotate ─> retire                            its key: mint, accept both, tell; later stop the old one
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from trigflow.core.advice import NEEDS_PERSON
from trigflow.core.alerts import blamed_in, blaming
from trigflow.core.errors import NotFound, RegistrationError
from trigflow.core.ids import Ids
from trigflow.core.plan import SWITCHED_OFF, Means, Step
from trigflow.core.waits import Refusal, refusal_of
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt, attempt_async
from trigflow.runtime.connections.clients import Clients, Lent
from trigflow.runtime.connections.quiet import Quiets
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.intent import keep_intent
from trigflow.runtime.registration.provider import Found, Provider, kept_data, new_secret, tokens_in
from trigflow.runtime.registration.registered import active, untold
from trigflow.runtime.registration.timely import LatePing, Unanswered, in_time
from trigflow.runtime.sealing.discreet import Scrubber, knowing, log_failure, problem_of
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.registration import Registered, Secret

logger: logging.Logger = logging.getLogger("trigflow.registrations")
PATIENCE = 3  # failures in a row that nobody hears of


class Applied(msgspec.Struct, frozen=True):
    """A step and what came of it; `error` is empty where it worked.

    left_out: why it was not even tried; empty where it was.
    """

    step: Step
    error: str = ""
    left_out: str = ""


class Steps:
    """Carries out steps at providers."""

    def __init__(
        self,
        sources: Mapping[str, AnySource],
        store: Store,
        clients: Clients,
        routes: Routes,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        *,
        chance: Callable[[], float],
        base_url: str | None,
        mark: str,
    ) -> None:
        """Work for one open app.

        base_url: the public URL of the app, with its mount prefix; None while unknown.
        mark: the start of every endpoint's path, carrying the store's id.
        """
        self._sources, self._store, self._clients = sources, store, clients
        self._routes, self._vault, self._clock, self._ids = routes, vault, clock, ids
        self._chance, self._mark = chance, mark
        self.quiets: Quiets = Quiets(store, clock, chance)
        self.base_url: str | None = base_url

    def url_of(self, endpoint: r.Endpoint) -> str:
        """Return an endpoint's public URL; only its path while the base is unknown."""
        return f"{self.base_url or ''}{self._mark}{endpoint.token}"

    async def find(self, endpoint: r.Endpoint, s: r.Subscription) -> Found | Unanswered | None:
        """Ask a provider what it has; None where it can't say.

        One that does not answer is planned for from the store's rows alone; the
        step then tells what is wrong, and the others are planned all the same.
        """
        quiet = await self.quiets.told(s.connection)
        if quiet:
            return Unanswered(RegistrationError(quiet), quiet, quiet=True)
        lent = Lent(self._clients)
        asked = await attempt_async(lambda: in_time(lambda: lent.to(lambda: self._ask(endpoint, s))))
        if isinstance(asked, Raised) and lent.again:
            asked = await attempt_async(lambda: in_time(lambda: self._ask(endpoint, s)))
        if isinstance(asked, Raised):
            await self.quiets.begin_if_asked(s.connection, asked.error)
            told = problem_of(asked.error, self.discretion(endpoint, s.connection))
            logger.warning("%s could not be asked what it has: %s", s.source, told)
            return Unanswered(asked.error, told)
        return asked.value

    async def unanswered(self, s: r.Subscription, why: Unanswered) -> r.Subscription:
        """Keep that a provider did not say whether what is registered is still there; return the row.

        It is asked again soon. What may pass is no failure before the third time in a row.
        """
        refusal = refusal_of(why.error, s.failures, now=self._clock.now(), chance=self._chance())
        entry = r.RegistrationAttempt(
            self._ids.new("reg"), s.id, "check", "is it still there?", refusal.outcome, why.told,
            self._ms(), 0,
        )  # fmt: skip
        await self._store.log_registration(entry)
        if refusal.outcome == "refused" or s.failures + 1 >= PATIENCE or s.state in r.FAILS:
            return await self._refused(s, refusal, why.told)
        later = attrs.evolve(s, failures=s.failures + 1, next_at=int(refusal.until * 1000))
        await self._store.save_subscription(later, was=s)
        return later

    async def _ask(self, endpoint: r.Endpoint, s: r.Subscription) -> Found | None:
        """Ask a provider what it has; None where it can't say. Raises what its client raises."""
        if self._sources[s.source].api is None:
            return None
        provider = await self.provider(endpoint, s, ())
        webhooks = await provider.list()
        ours = await self._store.endpoints_at(tokens_in(webhooks, self._mark))
        known = [token for token, one in ours.items() if one.state != "removed"]
        return provider.sort(webhooks, known, now=self._clock.now())

    async def provider(self, endpoint: r.Endpoint, s: r.Subscription, desired: tuple[str, ...]) -> Provider:
        """Return a subscription's place at its provider; Unauthorized where it has no credentials."""
        keys = self._routes.keys_of(endpoint)
        return Provider(
            self._sources[s.source],
            await self._clients.get(s.connection),
            endpoint,
            s,
            url=self.url_of(endpoint),
            mark=self._mark,
            secret=keys[0].secret.decode() if keys else "",
            desired=desired,
        )

    async def do(
        self, step: Step, endpoint: r.Endpoint, s: r.Subscription, found: Found | None, means: Means
    ) -> Applied:
        """Carry out a step; what the provider refuses is kept with the subscription and returned.

        found: what it said just before that it has; None where it did not.
        """
        started = self._ms()
        quiet = await self.quiets.told(s.connection)
        if quiet:
            return await self.left_alone(s, step, quiet)
        lent = Lent(self._clients)
        called = await attempt_async(
            lambda: in_time(lambda: lent.to(lambda: self._call(step, endpoint, s, found, means)))
        )
        if isinstance(called, Raised):
            scrub = self.discretion(endpoint, s.connection)
            error = problem_of(called.error, scrub)
            log_failure(
                logger, "subscription %s (%s): %s", s.id, s.source, error, error=called.error, scrub=scrub
            )
            if lent.again:
                return await self._soon_again(s, step, error, started)
            refusal = refusal_of(called.error, s.failures, now=self._clock.now(), chance=self._chance())
            await self._refused(s, refusal, error, is_off=bool(step.is_off))
            if await self.quiets.begin_if_asked(s.connection, called.error):
                error = f"{error}; all of {s.connection} is {await self.quiets.told(s.connection)}"
            await self._log(s, step, refusal.outcome, error, started)
            return Applied(step, error)
        await self._log(s, step, "done", "", started)
        return Applied(step)

    async def _soon_again(self, s: r.Subscription, step: Step, error: str, started: int) -> Applied:
        """Keep that a token was refused before its end: the next look has another, and nobody is told."""
        await self._log(s, step, "failed", error, started)
        await self._store.save_subscription(attrs.evolve(s, next_at=self._ms()), was=s)
        return Applied(step, error)

    async def left_alone(self, s: r.Subscription, step: Step, quiet: str) -> Applied:
        """Keep that a step was not even tried: its provider wants to be left alone for now."""
        await self._log(s, step, "quiet", quiet, self._ms())
        return Applied(step, quiet)

    async def _call(
        self, step: Step, endpoint: r.Endpoint, s: r.Subscription, found: Found | None, means: Means
    ) -> None:
        """Call the provider for one step, and commit what came of it."""
        if found is None and means.automatic and not means.covered:
            found = await self._ask(endpoint, s)
        if step.action == "remove":
            if means.automatic and not means.covered:
                await self._take_away(endpoint, s, found)
            await self._store.remove_subscription(s.id, at=self._ms())
            if s.state == "paused":  # nobody resumes it any more, and nothing that was taken is dropped
                await self._store.release_held(s.id)
        elif means.covered:
            await self._registered(s, step, None)
        elif step.action == "sweep":
            await (await self.provider(endpoint, s, step.desired)).do("sweep", found)
        elif step.action == "retire":
            await self._retire(endpoint, s)
        else:
            await keep_intent(self._sources[s.source], endpoint, s, self._store, self._routes, ends=False)
            await self._register(step, endpoint, s, found)

    async def _register(
        self, step: Step, endpoint: r.Endpoint, s: r.Subscription, found: Found | None
    ) -> None:
        if step.action == "rotate":
            await self._rotate(step, endpoint, s, found)
        elif step.action == "renew":
            await self._renew(step, endpoint, s)
        else:
            registered = await (await self.provider(endpoint, s, step.desired)).do(step.action, found)
            await self._registered(s, step, registered)

    async def _take_away(self, endpoint: r.Endpoint, s: r.Subscription, found: Found | None) -> None:
        provider = await self.provider(endpoint, s, ())
        await keep_intent(self._sources[s.source], endpoint, s, self._store, self._routes, ends=True)
        if found is None and s.registered:
            # Nobody can be asked later whether it went, should the answer be lost: if it is wanted
            # again, it is registered again.
            await self._store.save_subscription(attrs.evolve(s, registered=()), was=s)
        await provider.do("remove", found)

    async def _renew(self, step: Step, endpoint: r.Endpoint, s: r.Subscription) -> None:
        provider = await self.provider(endpoint, s, step.desired)
        try:
            renewed = await provider.renew()
        except NotFound:  # let go before its time: the next look makes it anew
            state: r.SubscriptionState = "paused" if s.state == "paused" else "expired"
            gone = attrs.evolve(s, state=state, cause="the provider let it go", data=None, next_at=0)
            await self._store.save_subscription(gone, was=s)
            return
        await self._take_over(s, step, endpoint, renewed)

    async def _rotate(self, step: Step, endpoint: r.Endpoint, s: r.Subscription, found: Found | None) -> None:
        """Mint a key, accept both, tell the provider; what was minted and not told is told now."""
        source = self._sources[s.source]
        ours_to_make = source.secret is Secret.GENERATED
        if ours_to_make and not untold(endpoint):
            endpoint = await self._mint(endpoint, source)
        provider = await self.provider(endpoint, s, step.desired)
        rotated = await provider.rotate(found)
        if rotated is None:
            await self._registered(s, step, None)
        else:
            await self._take_over(s, step, endpoint, rotated)

    async def _take_over(
        self, s: r.Subscription, step: Step, endpoint: r.Endpoint, new: Registered[Any]
    ) -> None:
        """Keep a registration that may be another webhook than before, or have another key.

        What it takes the place of goes on for now: it is stopped when its key is retired.
        """
        old = s.data if s.data is not None and kept_data(new) != s.data else None
        if new.secret is not None:
            sealed, now = self._vault.seal(new.secret.encode()), self._ms()
            row = active(s, step, new, now=self._ms())
            await self._store.save_rotated(row, sealed, was=s, old_webhook=old, at=now)
            return
        if old is not None and endpoint.keys:
            await self._store.keep_webhook(endpoint.id, endpoint.keys[0].serial, old)
        await self._registered(s, step, new)
        if old is not None and not endpoint.keys:  # nowhere to remember it
            await (await self.provider(endpoint, s, s.registered)).stop(old)

    async def _mint(self, endpoint: r.Endpoint, source: AnySource) -> r.Endpoint:
        """Accept a new key beside the others, before anybody is told."""
        secret, now = new_secret(source), self._ms()
        assert secret is not None  # noqa: S101 - asked for keys that are ours to make
        sealed = self._vault.seal(secret)
        serial = await self._store.add_key(endpoint.id, sealed, at=now)
        self._routes.forget(endpoint.token)
        return attrs.evolve(endpoint, keys=(r.StoredKey(serial, sealed, created_at=now), *endpoint.keys))

    async def _retire(self, endpoint: r.Endpoint, s: r.Subscription) -> None:
        """Stop the webhooks that sign with old keys, then take the keys away."""
        newest, *older = endpoint.keys
        for key in endpoint.keys:
            if key.data is not None and key.data != s.data:
                await (await self.provider(endpoint, s, s.registered)).stop(key.data)
        await self._store.retire_keys(endpoint.id, [key.serial for key in older])
        if newest.data is not None:
            await self._store.keep_webhook(endpoint.id, newest.serial, None)

    def discretion(self, endpoint: r.Endpoint, connection: str) -> Scrubber:
        """Return what takes out of errors what a provider was called with: some quote a whole request."""
        credentials = self._clients.credentials(connection)
        keys = attempt(lambda: self._routes.keys_of(endpoint))
        known = (
            [] if isinstance(keys, Raised) else [key.secret.decode(errors="replace") for key in keys.value]
        )
        return knowing([*known, *(credentials.values() if credentials else ()), endpoint.token])

    def pinging(self, endpoint: r.Endpoint, s: r.Subscription) -> LatePing:
        """Return what asks a provider for a sign of life; its client is made when that is asked for."""
        return LatePing(lambda: self.provider(endpoint, s, s.registered), self.quiets, s.connection)

    async def _registered(self, s: r.Subscription, step: Step, registered: Registered[Any] | None) -> None:
        secret = None if registered is None else registered.secret
        sealed = None if secret is None else self._vault.seal(secret.encode())
        await self._store.save_subscription(
            active(s, step, registered, now=self._ms()), was=s, sealed_key=sealed
        )

    async def _refused(
        self, s: r.Subscription, refusal: Refusal, cause: str, *, is_off: bool = False
    ) -> r.Subscription:
        if is_off:
            cause = f"{SWITCHED_OFF}, and could not be switched on: {cause}"
        if refusal.needs_person:
            cause = f"{cause}; {NEEDS_PERSON}"
        # What may pass says nothing of the credentials: whether they are mended is not known by it.
        blames = refusal.blames or (refusal.outcome == "failed" and blamed_in(s.connection, s.cause))
        if blames:
            cause = blaming(s.connection, blames, cause)
        is_off = is_off or (refusal.outcome == "failed" and s.state == "disabled")
        failing = attrs.evolve(
            s, state="paused" if s.state == "paused" else "disabled" if is_off else "failing", cause=cause,
            failures=s.failures + 1, next_at=int(refusal.until * 1000), updated_at=self._ms(),
        )  # fmt: skip
        await self._store.save_subscription(failing, was=s)
        return failing

    async def _log(self, s: r.Subscription, step: Step, outcome: Any, error: str, started: int) -> None:
        now = self._ms()
        entry = r.RegistrationAttempt(
            self._ids.new("reg"), s.id, step.action, step.reason, outcome, error, now, now - started
        )
        await self._store.log_registration(entry)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)
