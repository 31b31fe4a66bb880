"""A glance at a SQLite store tells that somebody has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigflow.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


async def test_a_glance_differs_after_a_write_of_whichever_process_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with SqliteStore(path, store_id=lambda: "x") as one, SqliteStore(path, store_id=lambda: "x") as two:
        for number, writer in enumerate((one, two, two)):
            before = one.glance()
            assert before is not None
            assert one.glance() == before
            await writer.beat("a", now=number)
            assert one.glance() != before
    assert one.glance() is None  # closed
