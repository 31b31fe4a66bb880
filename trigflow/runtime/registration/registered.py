"""How a subscription's row is after a step that worked. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from trigflow.core.asked import no_more_asked
from trigflow.core.plan import Step
from trigflow.runtime import records as r
from trigflow.runtime.registration.provider import kept_data
from trigflow.sources.registration import Registered

SHORTEST_LEASE = 60_000  # milliseconds; else a clock that differs from ours has it renewed without end


def active(s: r.Subscription, step: Step, new: Registered[Any] | None, *, now: int) -> r.Subscription:
    """Return a row with what a provider registered; `now` is unix milliseconds."""
    state: r.SubscriptionState = "paused" if s.state == "paused" else "active"
    row = attrs.evolve(
        s, registered=step.desired, coverage="events", state=state, cause="", failures=0, updated_at=now,
        asked=no_more_asked(s.asked, step.action),
    )  # fmt: skip
    if new is None:
        return row
    row = attrs.evolve(row, data=kept_data(new))
    if new.events is not None:
        row = attrs.evolve(row, registered=tuple(sorted(new.events)))
    if new.expires_at is not None:
        until = max(int(new.expires_at.timestamp() * 1000), now + SHORTEST_LEASE)
        row = attrs.evolve(row, leased_at=now, lease_until=until)
    return row


def untold(endpoint: r.Endpoint) -> bool:
    """Tell whether a key was minted that the provider may not know yet: one of two, and unused."""
    return len(endpoint.keys) > 1 and endpoint.keys[0].used_at is None
