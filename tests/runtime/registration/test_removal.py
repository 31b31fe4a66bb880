"""What goes with a connection: all that goes through it, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.stores.test_plans import pair, subscriber
from trigflow.runtime import records as r
from trigflow.runtime.health.alerts import Alerts
from trigflow.runtime.registration import removal
from trigflow.runtime.registration.removal import remove_through
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_what_was_told_of_a_subscription_is_closed_when_its_connection_is_removed() -> None:
    async with MemoryStore(store_id="abc") as store:
        await store.create_subscriptions([pair(1)])
        (endpoint,) = await store.page(limit=1)
        (s,) = endpoint.subscriptions
        alerts = Alerts(store, VirtualClock())
        await alerts.follow(attrs.evolve(s, state="failing", cause="the provider says no"))
        assert await store.alerts()
        reconciler: Any = Refusing()
        assert await remove_through(s.connection, store, reconciler, VirtualClock())
        assert await store.alerts() == [], "nobody looks at it any more"


class Refusing:
    """A reconciler whose provider does nothing."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def remove(self, identity: Any, reason: str) -> r.RegistrationAttempt | None:
        self.asked.append(identity)
        return None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_everything_through_it_goes_page_by_page_and_nothing_else(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "PAGE", 3)
    made: Any = (
        MemoryStore(store_id="abc")
        if kind == "memory"
        else SqliteStore(tmp_path / "s.db", store_id=lambda: "abc")
    )
    async with made as store:
        await store.create_subscriptions([pair(number) for number in range(12)])
        for number in range(12):
            await store.subscribe(*subscriber(number), most=0)
        everything = [s for endpoint in await store.page(limit=999) for s in endpoint.subscriptions]
        refs = sorted({s.connection for s in everything})
        through = {s.identity for s in everything if s.connection == refs[0]}
        reconciler: Any = Refusing()
        problems = await remove_through(refs[0], store, reconciler, VirtualClock())
        left = {s.identity for endpoint in await store.page(limit=999) for s in endpoint.subscriptions}
        assert set(reconciler.asked) == through
        assert len(problems) == len(through)
        assert left == {s.identity for s in everything} - through
        assert await store.connected(refs[0]) == 0
        assert await store.subscribed_through(refs[0], limit=9) == []
