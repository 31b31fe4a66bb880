"""Where keys come from."""

from __future__ import annotations

import threading
from pathlib import Path

from trigflow.core.settings import Settings
from trigflow.runtime.sealing.keyring import secret_keys


def read_at_once(settings: Settings, readers: int) -> list[str]:
    start, found = threading.Barrier(readers), list[str]()

    def read() -> None:
        start.wait(10)
        found.extend(secret_keys(settings, in_memory=False))

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return found


def test_processes_that_start_at_the_same_moment_read_the_same_key(tmp_path: Path) -> None:
    for number in range(20):
        found = read_at_once(Settings(store=str(tmp_path / f"{number}.db")), 6)
        assert len(found) == 6
        assert len(set(found)) == 1
        assert found[0]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".key"] * 20


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    secret_keys(Settings(store=str(tmp_path / "t.db")), in_memory=False)
    assert (tmp_path / "t.db.key").stat().st_mode & 0o077 == 0


def test_a_key_that_is_set_goes_first(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "t.db"), secret_key="one, two")
    assert list(secret_keys(settings, in_memory=False)) == ["one", "two"]
    assert list(tmp_path.iterdir()) == []
