"""Where keys come from."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import anyio
import pytest

from trigflow import SetupError
from trigflow.core.settings import Settings
from trigflow.runtime import records as r
from trigflow.runtime.sealing.keyring import kept_keys, key_file, secret_keys
from trigflow.runtime.sealing.vault import Vault
from trigflow.stores.sqlite import SqliteStore

KEY, OTHER = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDA=", "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyMDE="


def ring_of(settings: Settings) -> list[str]:
    """Return the ring of a store, as an app that opens finds it."""

    async def read() -> list[str]:
        async with SqliteStore(settings.store, store_id=lambda: "abcdefgh") as kept:
            return list(await secret_keys(settings, kept, in_memory=False))

    return anyio.run(read)


def read_at_once(settings: Settings, readers: int) -> list[str]:
    start, found = threading.Barrier(readers), list[str]()

    def read() -> None:
        start.wait(10)
        found.extend(ring_of(settings))

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_processes_that_start_at_the_same_moment_read_the_same_key(tmp_path: Path) -> None:
    for number in range(8):
        found = read_at_once(Settings(store=str(tmp_path / f"{number}.db")), 6)
        assert len(found) == 6
        assert len(set(found)) == 1
        assert found[0]
    assert len([path for path in tmp_path.iterdir() if ".key" in path.name]) == 8


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    ring_of(Settings(store=str(tmp_path / "t.db")))
    assert (tmp_path / "t.db.key").stat().st_mode & 0o077 == 0


def test_a_key_that_is_set_goes_first(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "t.db"), secret_key="one, two")
    assert ring_of(settings) == ["one", "two"]
    assert not key_file(settings).exists()


def sealed_in(place: str, key: str) -> r.Connection | r.Endpoint | r.NewDelivery:
    """Return a row that holds something sealed."""
    sealed = Vault([key]).seal(b"hush")
    if place == "connection":
        return r.Connection("depots", "depots", "api-key", sealed, created_at=1, updated_at=1)
    return r.NewDelivery(
        "dlv_1", "ep_1", "sub_1", 1, "accepted", "", 200, "POST", b"[]", sealed, sealed=True, events=()
    )


async def keep(settings: Settings, row: r.Connection | r.Endpoint | r.NewDelivery) -> None:
    async with SqliteStore(settings.store, store_id=lambda: "abcdefgh") as kept:
        if isinstance(row, r.Connection):
            await kept.put_connection(row)
        elif isinstance(row, r.NewDelivery):
            await kept.accept(row)


@pytest.mark.parametrize("place", ["connection", "delivery"])
def test_a_key_that_has_gone_is_not_replaced_while_something_is_sealed_with_it(
    tmp_path: Path, place: str
) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    (key,) = ring_of(settings)
    anyio.run(keep, settings, sealed_in(place, key))
    key_file(settings).rename(tmp_path / "elsewhere")
    with pytest.raises(SetupError) as raised:
        ring_of(settings)
    assert str(key_file(settings)) in str(raised.value)
    assert "TRIGFLOW_SECRET_KEY" in str(raised.value)
    assert not key_file(settings).exists()
    (tmp_path / "elsewhere").rename(key_file(settings))
    assert ring_of(settings) == [key]


def test_a_key_that_has_gone_is_made_anew_where_nothing_is_sealed(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    (key,) = ring_of(settings)
    key_file(settings).unlink()
    (new,) = ring_of(settings)
    assert new != key


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hunter2-hunter2", "something else than keys"),
        (f"{KEY}\nhunter2-hunter2".encode(), "something else than keys"),
        (b"\xff\xfe", "holds no keys"),
    ],
)
def test_a_file_that_holds_no_keys_is_named_and_left_as_it_is(
    tmp_path: Path, content: bytes, told: str
) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    key_file(settings).write_bytes(content)
    with pytest.raises(SetupError, match=told) as raised:
        ring_of(settings)
    assert str(key_file(settings)) in str(raised.value)
    assert "TRIGFLOW_SECRET_KEY" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert key_file(settings).read_bytes() == content


def test_a_file_that_is_none_or_leads_nowhere_is_named(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    key_file(settings).mkdir()
    with pytest.raises(SetupError, match="can't be read"):
        kept_keys(settings)
    key_file(settings).rmdir()
    key_file(settings).symlink_to(tmp_path / "unmounted")
    with pytest.raises(SetupError, match="leads nowhere"):
        ring_of(settings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    key_file(settings).write_text(KEY)
    key_file(settings).chmod(0)
    with pytest.raises(SetupError, match="can't be read"):
        ring_of(settings)


def test_a_file_that_others_may_read_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    key_file(settings).write_text(KEY)
    key_file(settings).chmod(0o644)
    with caplog.at_level(logging.WARNING, "trigflow"):
        for _ in range(3):
            assert ring_of(settings) == [KEY]
    (record,) = caplog.records
    assert "chmod 600" in record.getMessage()
    assert KEY not in record.getMessage()


@pytest.mark.parametrize("content", ["", "junk", f"{KEY},junk"])
def test_a_ring_in_use_goes_on_while_its_file_can_not_be_used(tmp_path: Path, content: str) -> None:
    settings = Settings(store=str(tmp_path / "t.db"))
    key_file(settings).write_text(KEY)
    vault = Vault(kept_keys(settings), lambda: kept_keys(settings))
    key_file(settings).write_text(content)
    assert Vault([KEY]).open(vault.seal(b"x")) == b"x"
    key_file(settings).write_text(f"{OTHER},{KEY}")
    assert list(vault.ring()) == [OTHER, KEY]
    key_file(settings).unlink()
    assert Vault([OTHER]).open(vault.seal(b"x")) == b"x"
