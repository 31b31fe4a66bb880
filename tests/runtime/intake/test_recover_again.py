"""A log that is read again and again is not written down again and again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.runtime.logged import Logged, Sent, app_of
from trigflow.testing import VirtualClock


@pytest.mark.anyio
async def test_what_this_process_took_from_a_log_stands_in_ours_once() -> None:
    provider, time = Logged(), VirtualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    app = app_of(provider, "memory:", time, [])
    async with app.inspect():
        await app.apply()
        (endpoint,) = await app.opened.store.endpoints()
        since = datetime.fromtimestamp(time.now(), UTC)
        provider.sent = [Sent("a", time.now()), Sent("b", time.now())]

        taken = list[int]()
        for _ in range(3):
            row = await app.opened.upkeep.recoverer.recover(endpoint, endpoint.subscriptions[0], since)
            taken.append(row.recovered)

        assert taken == [2, 0, 0]
        assert len(await app.opened.store.deliveries(limit=10)) == 2
