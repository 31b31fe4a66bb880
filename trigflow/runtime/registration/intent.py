"""What we want of a provider that asks back, kept before it is called.

A WebSub hub asks the endpoint whether it is to end a subscription, during the call or days later,
when the subscription's row is gone. So what we mean stands with the endpoint before the hub hears
of it, and is taken back before anything is registered there again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import AnySource, Routes
from trigflow.runtime.ports import Registry
from trigflow.sources.handshake import farewell


async def keep_intent(
    source: AnySource,
    endpoint: r.Endpoint,
    s: r.Subscription,
    registry: Registry,
    routes: Routes,
    *,
    ends: bool,
) -> None:
    """Keep whether a provider is asked to end a subscription, where it asks back."""
    if all(one.ends is None for one in source.handshakes):
        return
    keys = routes.keys_of(endpoint)
    secret = keys[0].secret.decode() if keys else ""
    facts: Mapping[str, str] = {}
    if ends:
        facts = farewell(source.handshakes, source.facts_of(s.params, secret))
    kept = msgspec.json.encode(facts, order="sorted")
    if kept != endpoint.facts:
        await registry.set_facts(endpoint.id, kept)
        routes.forget(endpoint.token)
