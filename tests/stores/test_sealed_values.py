"""What is sealed: shredded so that no file has its bytes, and sealed anew so that no old one is left."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio.from_thread
import pytest

from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore, resealing
from trigflow.stores.sqlite.connection import connect

ENDINGS = ("", "-wal", "-shm", "-journal")


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore(store_id="abc")
    return SqliteStore(tmp_path / "s.db", store_id=lambda: "abc")


def connection(ref: str, sealed: bytes) -> r.Connection:
    return r.Connection(ref, ref.partition("/")[0], "key", sealed)


def pair(number: int, sealed: bytes) -> tuple[r.Endpoint, r.Subscription]:
    key = r.StoredKey(1, sealed)
    endpoint = r.Endpoint(f"ep_{number:04d}", f"t{number}", "shop", "active", b"{}", (key,))
    return endpoint, r.Subscription(f"sub_{number:04d}", endpoint.id, "shop", f"k{number}", "c", b"{}")


def delivery(number: int, body: bytes, payload: bytes | None, *, sealed: bool) -> r.NewDelivery:
    name = f"{number:04d}"
    event = r.NewEvent(f"evt_{name}", name, "sale", None, payload, None, (), sealed=sealed)
    return r.NewDelivery(
        f"dlv_{name}", "ep_0001", "sub_0001", number, "accepted", "", 200, "POST", b"[]", body,
        events=(event,), sealed=sealed,
    )  # fmt: skip


# --- shredding


def holding(path: Path, secrets: Iterable[bytes]) -> set[tuple[str, bytes]]:
    """Return which of a store's files hold which bytes, whole or in part."""
    files = {ending: Path(f"{path}{ending}") for ending in ENDINGS}
    there = {ending: file.read_bytes() for ending, file in files.items() if file.exists()}
    return {(ending, one) for one in secrets for ending, all_ in there.items() if one in all_}


@pytest.mark.anyio
@pytest.mark.parametrize("size", [20, 900, 3_000, 20_000])
async def test_no_file_holds_what_a_removed_connection_held(tmp_path: Path, size: int) -> None:
    """Of any size: in a page with others, or on pages of its own that are free afterwards."""
    path = tmp_path / "s.db"
    noise = random.Random(size)
    values = {f"github/{number:03d}": noise.randbytes(size) for number in range(120)}
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        for ref, sealed in values.items():  # pages are split meanwhile, which copies rows
            await store.put_connection(connection(ref, sealed))
        for ref in noise.sample(sorted(values), 40):  # and refreshed
            old, values[ref] = values[ref], noise.randbytes(size)
            assert holding(path, [old[:16], old[-16:]]), "what is looked for could be found"
            assert await store.claim_connection(ref, "some process", now=1, until=2)
            await store.put_connection(connection(ref, values[ref]))
            await store.release_connection(ref, "some process")
        gone = noise.sample(sorted(values), 60)
        for ref in gone:
            assert await store.remove_connection(ref)
            assert not await store.remove_connection(ref)
        pieces = [values[ref][start : start + 16] for ref in gone for start in range(0, size - 16, 500)]
        assert holding(path, pieces) == set()
        kept = {one.ref: one.sealed for one in await store.connections()}
        assert kept == {ref: sealed for ref, sealed in values.items() if ref not in gone}


@pytest.mark.anyio
async def test_what_a_refreshed_token_replaced_is_gone_once_the_wal_is(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        await store.put_connection(connection("a", b"the first token of this account" * 50))
        await store.put_connection(connection("a", b"its successor" * 9))
        assert await store.empty_wal()
        assert holding(path, [b"the first token"]) == set()
        assert holding(path, [b"its successor"]) == {("", b"its successor")}


@pytest.mark.anyio
async def test_retired_keys_are_gone_once_the_wal_is(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    async with SqliteStore(path, store_id=lambda: "abc") as store:
        await store.create_subscriptions([pair(1, b"the old key")])
        await store.add_key("ep_0001", b"the new key", at=5)
        await store.retire_keys("ep_0001", [1])
        assert await store.empty_wal()
        assert holding(path, [b"the old key", b"the new key"]) == {("", b"the new key")}


@pytest.mark.anyio
async def test_a_reader_that_is_in_the_way_is_said_and_the_removal_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigflow.stores.sqlite.database.WAL_MS", 20)
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        await store.put_connection(connection("a", b"token"))
        reader = connect(tmp_path / "s.db", readonly=True)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM connections").fetchall()
        assert await store.remove_connection("a")
        assert await store.connection("a") is None
        assert "stays in the -wal" in caplog.text
        reader.close()


# --- sealing anew


def sealed_anew(value: bytes) -> bytes:
    assert value.startswith((b"old ", b"new ")), value
    return b"new " + value[4:]


async def reseal(store: Store, limit: int, seal: Callable[[bytes], bytes] = sealed_anew) -> None:
    after: str | None = ""
    while after is not None:
        after = await store.reseal(seal, after=after, limit=limit)


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("looked", [2, 5_000])
async def test_everything_sealed_is_sealed_anew_and_nothing_else_is_touched(
    store: Store, limit: int, looked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "LOOKED", looked)
    async with store:
        await store.create_subscriptions([pair(number, b"old key") for number in range(7)])
        await store.add_key("ep_0003", b"new key", at=1)
        for ref in ("a", "b", "b/c"):
            await store.put_connection(connection(ref, b"old " + ref.encode()))
        for number in range(9):
            payload = b"old payload" if number % 2 else None
            await store.accept(delivery(number, b"old body", payload, sealed=True))
            await store.accept(delivery(100 + number, b"old, and not sealed", payload, sealed=False))
        await store.accept(delivery(50, b"", None, sealed=True))
        await reseal(store, limit)
        keys = [key.sealed for one in await store.endpoints() for key in one.keys]
        assert keys == [b"new key"] * 8
        assert [one.sealed for one in await store.connections()] == [b"new a", b"new b", b"new b/c"]
        for number in range(9):
            assert await body(store, number) == b"new body"
            assert await body(store, 100 + number) == b"old, and not sealed"
            assert await store.payload(f"evt_{number:04d}") == (b"new payload" if number % 2 else b"new body")
        assert await store.payload("evt_0101") == b"old payload"
        assert await body(store, 50) == b""


async def body(store: Store, number: int) -> bytes | None:
    found = await store.delivery(f"dlv_{number:04d}")
    assert found is not None
    return found[1]


@pytest.mark.anyio
async def test_a_place_is_where_the_next_call_goes_on(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        await store.create_subscriptions([pair(number, b"old key") for number in range(5)])
        after = await store.reseal(sealed_anew, after="", limit=2)
        keys = [key.sealed for one in await store.endpoints() for key in one.keys]
        assert keys == [b"new key"] * 2 + [b"old key"] * 3
        assert after is not None
        await store.reseal(sealed_anew, after=after, limit=2)
        keys = [key.sealed for one in await store.endpoints() for key in one.keys]
        assert keys == [b"new key"] * 4 + [b"old key"]


@pytest.mark.anyio
async def test_what_is_written_or_removed_between_a_look_and_the_write_stays_so(tmp_path: Path) -> None:
    """Written by a process that seals with the old key still, so it is sealed anew as well."""
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        for ref in ("a", "b", "c"):
            await store.put_connection(connection(ref, b"old token"))
        after = await store.reseal(sealed_anew, after="", limit=9)
        assert after is not None

        def refreshed_meanwhile(value: bytes) -> bytes:
            seen.append(value)
            if len(seen) == 3:  # still in the thread that looks
                anyio.from_thread.run(store.put_connection, connection("a", b"old 2"))
                anyio.from_thread.run(store.remove_connection, "b")
            return sealed_anew(value)

        seen: list[bytes] = []
        await store.reseal(refreshed_meanwhile, after=after, limit=9)
        kept = {one.ref: one.sealed for one in await store.connections()}
        assert kept == {"a": b"new 2", "c": b"new token"}


@pytest.mark.anyio
async def test_a_value_that_cannot_be_opened_ends_it_and_leaves_the_step_undone(store: Store) -> None:
    class NoKeyFitsError(Exception):
        pass

    def seal(value: bytes) -> bytes:
        if value == b"old b":
            raise NoKeyFitsError
        return sealed_anew(value)

    async with store:
        for ref in ("a", "b"):
            await store.put_connection(connection(ref, b"old " + ref.encode()))
        with pytest.raises(NoKeyFitsError):
            await reseal(store, 9, seal)
        kept = [one.sealed for one in await store.connections()]
        assert kept == [b"old a", b"old b"]
