"""How often providers are asked while an app is open."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from tests.runtime.registration.test_reconcile_model import World
from trigflow.core.plan import Identity
from trigflow.testing import VirtualClock
from trigflow.web.registering import Registering

pytestmark = pytest.mark.anyio


async def test_a_plan_asks_providers_as_often_as_a_check_and_not_more() -> None:
    world, clock = World(returns_secret=False, lease=None), VirtualClock()
    process = world.process({"a": {"push"}})
    await process.rows.ensure()
    asked: list[float] = []

    async def note() -> None:
        asked.append(clock.now())
        world.model.meanwhile.append(note)

    async def heed(identity: Identity, *, is_off: bool) -> None: ...

    world.model.meanwhile.append(note)
    planning = Registering(
        process, world.store, clock, "secret", base_url=None, mounted_at=lambda: None, heed=heed
    )
    async with anyio.create_task_group() as group:
        group.start_soon(planning.keep_planning)
        for _ in range(4 * 60):  # an hour
            await anyio.wait_all_tasks_blocked()
            clock.advance(timedelta(seconds=15))
        group.cancel_scope.cancel()
    assert len(asked) == 4, "check_every is 15 minutes"
