"""A writer whose thread has ended, or whose connection is closed: whoever asks is told so."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from trigflow.core.errors import StoreError, StoreUnavailable
from trigflow.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_works_of_a_writer_without_its_thread_are_refused(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "t.db", store_id=lambda: "x") as store:
        await store.beat("a", now=1)
        writer = store._writer
        assert writer is not None
        writer._jobs.put("no job")  # type: ignore[arg-type]  # a fault that ends the thread
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(refused, store, number)
        with anyio.fail_after(10), pytest.raises(StoreUnavailable):
            await store.beat("b", now=1)
        assert await store.endpoints() == []  # it can still be read


async def refused(store: SqliteStore, number: int) -> None:
    with pytest.raises(StoreUnavailable, match="start the process anew"):
        await store.beat(f"p{number}", now=1)


async def test_works_on_a_closed_connection_are_refused(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "t.db", store_id=lambda: "x") as store:
        writer = store._writer
        assert writer is not None
        writer._connection.close()
        for number in range(2):
            with anyio.fail_after(10), pytest.raises(StoreError):
                await store.beat(f"p{number}", now=1)
