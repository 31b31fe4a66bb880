"""A row that was changed by two at once keeps what both have done."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from trigflow.runtime import records as r
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

pytestmark = pytest.mark.anyio
A = ("source", "key", "connection")


def made() -> tuple[r.Endpoint, r.Subscription]:
    endpoint = r.Endpoint("end_1", "token", "source", "pending", b"{}")
    return endpoint, r.Subscription(
        "sub_1", "end_1", *A, b"{}", data=b"1", next_at=7, state="active", asked="renew recover"
    )


def store_of(kind: str, folder: Path) -> MemoryStore | SqliteStore:
    if kind == "memory":
        return MemoryStore(store_id="abc")
    return SqliteStore(folder / "t.db", store_id=lambda: "abc")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_came_since_a_row_was_read_stays_and_what_was_done_is_written(
    kind: str, tmp_path: Path
) -> None:
    store = store_of(kind, tmp_path)
    async with store:
        pair = made()
        await store.create_subscriptions([pair])
        was = pair[1]
        gone = r.Update("sub_1", cause="gone", state="failing", gone=True, asked="rotate")
        new = r.NewDelivery(
            "dlv_1", "end_1", "sub_1", 0, "accepted", "", 200, "POST", b"[]", b"", updates=(gone,)
        )
        await store.accept(new, lambda _: None)
        await store.set_lease("end_1", at=5, until=9)
        done = attrs.evolve(was, registered=("push",), next_at=99, asked="recover", failures=2)
        await store.save_subscription(done, was=was)
        now = await store.subscription("sub_1")
        assert now is not None
        assert (now.registered, now.failures) == (("push",), 2)
        assert (now.data, now.state, now.cause) == (None, "failing", "gone")
        assert (now.leased_at, now.lease_until) == (5, 9)
        assert now.next_at == -1
        assert sorted(now.asked.split()) == ["recover", "rotate"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_was_missed_while_a_log_was_read_is_read_again(kind: str, tmp_path: Path) -> None:
    store = store_of(kind, tmp_path)
    async with store:
        pair = made()
        await store.create_subscriptions([pair])
        await store.ask("sub_1", "recover")
        await store.save_subscription(attrs.evolve(pair[1], asked=""), was=pair[1])
        now = await store.subscription("sub_1")
        assert now is not None
        assert now.asked == "recover"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_is_removed_stays_removed_and_makes_room(kind: str, tmp_path: Path) -> None:
    store = store_of(kind, tmp_path)
    async with store:
        pair = made()
        await store.create_subscriptions([pair])
        await store.remove_subscription("sub_1", at=1)
        await store.save_subscription(pair[1], was=pair[1], sealed_key=b"key")
        await store.save_rotated(pair[1], b"key", was=pair[1], old_webhook=None, at=2)
        other = attrs.evolve(pair[0], id="end_2", token="other", subscriptions=())
        await store.create_subscriptions([(other, attrs.evolve(pair[1], id="sub_2", endpoint_id="end_2"))])
        assert [one.id for one in await store.endpoints()] == ["end_2"]
