"""The -wal: somebody who reads for long lets it grow, and it is small again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore, database
from trigflow.stores.sqlite.connection import connect

pytestmark = pytest.mark.anyio
LARGEST = 200_000  # bytes


def delivery(number: int) -> r.NewDelivery:
    body = number.to_bytes(4, "big") * 2_500
    return r.NewDelivery(f"dlv_{number:06d}", "ep", None, 1, "failed", "", 200, "POST", b"[]", body)


async def test_the_log_shrinks_when_a_long_reader_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LARGEST_WAL", LARGEST)
    log = tmp_path / "s.db-wal"
    numbers = iter(range(10_000))
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        await store.accept(delivery(next(numbers)))
        reader = connect(store.path, readonly=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM deliveries").fetchall()
        while log.stat().st_size < 10 * LARGEST:
            await store.accept(delivery(next(numbers)))
        reader.execute("COMMIT")
        reader.close()
        for _ in range(1_000):  # a checkpoint, then a start from the log's beginning
            await store.accept(delivery(next(numbers)))
            if log.stat().st_size <= LARGEST:
                return
    pytest.fail("the log stayed as large as it was")
