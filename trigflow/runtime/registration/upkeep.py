"""Everything that looks after registered subscriptions while an app is open, put together.

activities   what comes, written down          alerts    people are told
judge        has it been silent for too long   outages   what was sent while nobody listened
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from trigflow.core.advice import NEEDS_PERSON
from trigflow.core.alerts import AlertSink
from trigflow.core.asked import is_asked
from trigflow.core.ids import Ids
from trigflow.core.plan import SWITCHED_OFF, Identity
from trigflow.core.settings import Settings
from trigflow.runtime import records as r
from trigflow.runtime.health.activity import Activities
from trigflow.runtime.health.alert_webhook import AlertWebhook
from trigflow.runtime.health.alerts import Alerts
from trigflow.runtime.health.silence import Judge, Pinging
from trigflow.runtime.intake.outage import Outages
from trigflow.runtime.intake.recover import Calling, Recoverer, Taking
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Clock, Store
from trigflow.runtime.registration.steps import PATIENCE
from trigflow.runtime.sealing.discreet import Scrubber


class Upkeep:
    """Looks after the subscriptions of one open app."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sources: Mapping[str, AnySource],
        clients: Calling,
        routes: Routes,
        receiver: Taking,
        activities: Activities,
        clock: Clock,
        ids: Ids,
        *,
        chance: Callable[[], float],
        url_of: Callable[[r.Endpoint], str],
        mark: str,
        alert_sinks: Sequence[AlertSink] = (),
    ) -> None:
        """Put the parts together; nothing is begun yet."""
        self._store, self._activities = store, activities
        posts = settings.alert_url
        webhook = None if posts is None else AlertWebhook(posts, settings.alert_secret, clock)
        self.alerts: Alerts = Alerts(store, clock, alert_sinks, webhook)
        self.judge: Judge = Judge(store, clock, ids)
        self.recoverer: Recoverer = Recoverer(
            store, sources, clients, receiver, clock, ids,
            keys_of=routes.keys_of, url_of=url_of, mark=mark, alerts=self.alerts,
        )  # fmt: skip
        self.outages: Outages = Outages(self.recoverer, store, clock, ids, chance)

    async def look_after(
        self,
        endpoint: r.Endpoint,
        s: r.Subscription,
        want: r.Want | None,
        *,
        provider: Pinging,
        scrub: Scrubber,
    ) -> int | None:
        """See to a subscription that is in line: judge a silence, tell people.

        Returns when it has to be looked at again (unix ms); None where nothing tells.
        """
        found = await self.judge.judge(endpoint, s, want, provider=provider, scrub=scrub)
        if found.silent and s.state != "silent":
            was, s = s, attrs.evolve(s, state="silent", cause=found.cause)
            await self._store.save_subscription(s, was=was)
        await self.alerts.follow(s)
        return found.look_at

    async def heed(self, identity: Identity, *, is_off: bool) -> None:
        """Keep that a provider has a webhook switched off, or on again, where we may not switch it on."""
        for endpoint in (await self._store.endpoints_for([identity])).values():
            for s in endpoint.subscriptions:
                if is_off and s.state in ("active", "silent", "failing"):
                    await self._keep_state(s, "disabled", f'{SWITCHED_OFF}, and register is "plan"')
                elif not is_off and s.state == "disabled":
                    await self._keep_state(s, "active", "")

    async def _keep_state(self, s: r.Subscription, state: r.SubscriptionState, cause: str) -> None:
        changed = attrs.evolve(s, state=state, cause=cause)
        await self._store.save_subscription(changed, was=s)
        await self.alerts.follow(changed)

    async def recover_if_asked(self, endpoint: r.Endpoint, s: r.Subscription) -> None:
        """Have a provider's log read where that was asked for; may return before that is done."""
        if is_asked(s.asked, "recover") and self.recoverer.can(s):
            await self.outages.read_asked(endpoint, s.id)

    async def tell_of_failure(self, s: r.Subscription) -> None:
        """Tell people that a subscription fails, once it is more than a moment's trouble."""
        if s.failures >= PATIENCE or NEEDS_PERSON in s.cause:
            await self.alerts.follow(s)

    def loops(self) -> Mapping[str, Callable[[], Awaitable[object]]]:
        """Return what goes on until the app is closed, by name."""
        return {
            "activity": self._activities.keep_noting,
            "alerts": self.alerts.keep_telling,
            "recovery": self.outages.keep_up,
        }
