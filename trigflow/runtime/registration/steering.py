"""What a person does with one subscription; each act is written down.

active ──pause──> paused: deliveries are taken, runs held ──resume──> active, the held runs go on
renew, rotate     asked for, then done at once
remove            at its provider, unless a job wants it
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal

import anyio
import attrs

from trigflow.core.errors import TrigflowError
from trigflow.core.plan import GRACE, Identity, Means, Step
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import AnySource
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.reconcile import Reconciler
from trigflow.runtime.registration.steps import Applied
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.registration import Secret

PATIENCE = 15.0  # seconds that another process may take with a subscription until we give up
A_WHILE = 0.2  # seconds between two looks whether it is done
WAITING = "registered by hand: waiting for the first verified delivery"
Upkeep = Literal["renew", "rotate"]
Row = tuple[r.Endpoint, r.Subscription]
_NO_ROTATION = {
    Secret.APP: "it belongs to your app at the provider; change it there, then enter it anew with "
    "`trigflow subscriptions add KEY --manual`",
    Secret.HANDSHAKE: "it arrives in the provider's handshake; register the webhook anew there",
    Secret.NONE: "it has none: its deliveries are not signed",
}


class Steering:
    """Does what people ask for."""

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        sources: Mapping[str, AnySource],
        vault: Vault,
        clock: Clock,
        *,
        who: str,
    ) -> None:
        """Work with the parts of one open app, for one person."""
        self._store, self._reconciler, self._sources = store, reconciler, sources
        self._vault, self._clock, self._who = vault, clock, who

    # --- holding runs

    async def pause(self, identity: Identity) -> bool:
        """Hold the runs of what comes from now on; False where that is so already."""
        async with self._alone(identity) as (_, s):
            if s.state == "paused":
                return False
            if s.state in r.TAKES_NOTHING:
                raise TrigflowError(f"{s.source} {s.key} is {s.state}: it takes nothing that could be held")
            await self._save(s, "paused", f"paused by {self._who}")
        await self._audit("pause", s)
        return True

    async def resume(self, identity: Identity) -> int | None:
        """Let the held runs go; return how many there were, None where it was not paused."""
        async with self._alone(identity) as (endpoint, s):
            if s.state != "paused":
                return None
            works = s.data is not None or bool(s.registered)
            by_hand = not works and (s.coverage == "unknown" or await self._has_taken(endpoint))
            if works or by_hand:
                await self._save(s, "active", "", coverage="unknown" if by_hand else None)
            else:
                await self._save(s, "pending", "not registered yet")
        released = await self._store.release_held(s.id)
        await self._store.look_soon([identity])
        await self._audit("resume", s, f"{released} runs let go")
        return released

    async def _has_taken(self, endpoint: r.Endpoint) -> bool:
        return bool(await self._store.deliveries(limit=1, endpoint=endpoint.id, outcome="accepted"))

    async def _save(
        self, s: r.Subscription, state: r.SubscriptionState, cause: str, coverage: r.Coverage | None = None
    ) -> None:
        changed = attrs.evolve(
            s, state=state, cause=cause, coverage=coverage or s.coverage, updated_at=self._ms()
        )
        await self._store.save_subscription(changed, was=s)

    # --- lease and key

    async def ask(self, s: r.Subscription, what: Upkeep) -> Sequence[Applied]:
        """Prolong a lease or change a key now, and return what came of it.

        Raises TrigflowError that says why where that can't be done.
        """
        self._check(s, what, await self._reconciler.means_for(s))
        if s.identity not in await self._reconciler.rows.wanted([s.identity], GRACE):
            raise TrigflowError(f"no job wants {s.source} {s.key} any more; `trigflow plan` shows it")
        started = self._ms()
        await self._store.ask(s.id, what)
        await self._audit(what, s)
        applied = await self._reconciler.look(s.identity, may_remove=False)
        if any(one.step.action == what or one.error for one in applied):
            return applied
        return [*applied, await self._done_elsewhere(s, what, started)]

    def _check(self, s: r.Subscription, what: Upkeep, means: Means) -> None:
        name = f"{s.source} {s.key}"
        if means.covered:
            raise TrigflowError(f"{name} is one account of an app; {what} the app's own webhook instead")
        if not means.automatic:
            raise TrigflowError(f"to {what} {name} takes a person: {means.why_not}")
        if what == "renew" and means.renews_after is None:
            raise TrigflowError(f"{name} has no lease: its provider keeps it until it is removed")
        if what == "rotate" and means.rotation == "no":
            why = _NO_ROTATION.get(self._sources[s.source].secret, "its source declares no way to")
            raise TrigflowError(f"the key of {name} can't be rotated by itself: {why}")
        if s.data is None:
            raise TrigflowError(f"{name} is not registered yet; `trigflow apply` does it")

    async def _done_elsewhere(self, s: r.Subscription, what: Upkeep, since: int) -> Applied:
        """Wait for the process that has the subscription, and tell what it did."""
        step = Step(what, s.identity, "asked for", s.registered)
        until = self._clock.now() + PATIENCE
        while self._clock.now() < until:
            for one in await self._store.registrations(s.id):
                if one.action == what and one.at >= since:
                    return Applied(step, one.error)
            await self._clock.wait(anyio.Event(), until=self._clock.now() + A_WHILE)
        return Applied(step, "another process has it and did not say what came of it; see its attempts")

    # --- its end, and its beginning by hand

    async def remove(self, identity: Identity, *, force: bool, grace: timedelta) -> Applied:
        """Remove a subscription at its provider now.

        Raises TrigflowError where a job wants it, unless forced: it would be made anew.
        """
        want = (await self._reconciler.rows.wanted([identity], grace)).get(identity)
        if want is not None and not force:
            raise TrigflowError(
                f"{identity[0]} {identity[1]} is wanted ({', '.join(want.events)}) and would be made anew; "
                "take the trigger out of the app first, or pause it; --force removes it all the same "
                "(wants of a process that is gone count for 10 minutes: --grace 0s)"
            )
        s: r.Subscription | None = None
        until = self._clock.now() + PATIENCE
        while True:
            s = s or await self._known(identity)
            done = await self._reconciler.remove(identity, f"removed by {self._who}")
            if done is not None:
                break
            if self._clock.now() >= until:
                raise _busy(identity)
            await self._clock.wait(anyio.Event(), until=self._clock.now() + A_WHILE)
        await self._audit("remove", s, done.error or ("forced" if force else ""))
        if want is not None and not done.error:
            await self._keep_subscribers(s, want)
        return done

    async def _keep_subscribers(self, s: r.Subscription, want: r.Want) -> None:
        """Keep a new row for those who subscribed at run time; what jobs want gets one by itself."""
        if (await self._store.subscribers_of([s.identity])).get(s.identity):
            pair = self._reconciler.rows.row_of(want, s.account or "")
            await self._store.create_subscriptions([pair])

    async def sweep(self, s: r.Subscription) -> Applied | None:
        """Remove what nobody knows at a subscription's place; None where there is nothing now."""
        done = await self._reconciler.sweep(s.identity)
        if done is not None:
            await self._audit("sweep", s, done.step.reason)
        return done

    async def begin_by_hand(self, identity: Identity, secret: str | None) -> bool:
        """Keep that a person registers it, and the key that the provider gave them, if it makes it.

        False where it was begun before: the key that we made has been shown then.
        """
        async with self._alone(identity) as (_, s):
            begun = s.state != "pending" or s.cause == WAITING
            sealed = None if secret is None else self._vault.seal(secret.encode())
            cause = WAITING if s.state == "pending" else s.cause
            kept = attrs.evolve(s, cause=cause, updated_at=self._ms())
            await self._store.save_subscription(kept, was=s, sealed_key=sealed)
        await self._audit("add by hand", s, "a key was entered" if secret is not None else "")
        return not begun

    # --- alone with a row

    @asynccontextmanager
    async def _alone(self, identity: Identity) -> AsyncGenerator[Row, None]:
        """Hold the right to change a subscription, once nobody else registers it."""
        await self._known(identity)
        until = self._clock.now() + PATIENCE
        while True:
            async with self._reconciler.claimed(identity) as row:
                if row is not None:
                    yield row
                    return
            if self._clock.now() >= until:
                raise _busy(identity)
            await self._clock.wait(anyio.Event(), until=self._clock.now() + A_WHILE)

    async def _known(self, identity: Identity) -> r.Subscription:
        for endpoint in (await self._store.endpoints_for([identity])).values():
            for s in endpoint.subscriptions:
                return s
        raise TrigflowError(f"{identity[0]} {identity[1]} is not there any more")

    async def _audit(self, what: str, s: r.Subscription, detail: str = "") -> None:
        entry = r.AuditEntry(self._ms(), self._who, what, f"subscription {s.id}", detail)
        await self._store.log_audit(entry)

    def _ms(self) -> int:
        return int(self._clock.now() * 1000)


def _busy(identity: Identity) -> TrigflowError:
    return TrigflowError(
        f"another process is at {identity[0]} {identity[1]} and does not end; try again in a moment"
    )
