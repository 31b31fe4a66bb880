"""A rotation of the secret key that is killed at any step loses nothing, and the next one ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from tests.cli.commandline import Cli
from trigflow.core.settings import Settings
from trigflow.runtime import records as r
from trigflow.runtime.sealing.keyring import secret_keys
from trigflow.runtime.sealing.vault import Vault
from trigflow.stores.sqlite import SqliteStore

COUNT = 3
# Called with the number of the step that is the last, and the command.
KILLED = """
import os, signal, sys
from pathlib import Path
from trigflow.cli import keys, main
from trigflow.runtime.sealing import keyring
from trigflow.stores.sqlite.resealing import SealedRows

left = [int(sys.argv[1])]

def step():
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

replace, reseal = Path.replace, SealedRows.reseal

def slow_replace(self, target):
    step()
    found = replace(self, target)
    step()
    return found

async def slow_reseal(self, seal, **more):
    step()
    found = await reseal(self, seal, **more)
    step()
    return found

keys.BATCH, Path.replace, SealedRows.reseal = 1, slow_replace, slow_reseal
sys.exit(main(sys.argv[2:]))
"""


def ring_of(settings: Settings) -> list[str]:
    """Return the ring of a store, as an app that opens finds it."""

    async def read() -> list[str]:
        async with SqliteStore(settings.store, store_id=lambda: "abcdefgh") as kept:
            return list(await secret_keys(settings, kept, in_memory=False))

    return anyio.run(read)


async def fill(store: Path, vault: Vault) -> None:
    async with SqliteStore(str(store), store_id=lambda: "abcdefgh") as kept:
        for number in range(COUNT):
            sealed = vault.seal(f"secret {number}".encode())
            row = r.Connection(f"parcels/{number}", "parcels", "api-key", sealed, created_at=1, updated_at=1)
            await kept.put_connection(row)


async def read(store: Path, vault: Vault) -> list[bytes]:
    async with SqliteStore(str(store), store_id=lambda: "unused22") as kept:
        return [vault.open(row.sealed) for row in await kept.connections()]


def killed(command: str, step: int, store: Path) -> bool:
    """Run a command that is killed at a step; tell whether it came so far."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIGFLOW_")}
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), "keys", command, "--store", str(store)],
        cwd=store.parent, env=environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
    return ran.returncode != 0


@pytest.mark.parametrize("step", [1, 5, 9, 10, 11, 14, 17, 19, 20, 21, 22])
def test_a_rotation_that_is_killed_loses_nothing(cli: Cli, folder: Path, step: int) -> None:
    (folder / "app.py").write_text("from trigflow import App\napp = App(register='off')\n")
    store = folder / "trigflow.db"
    settings = Settings(store=str(store))
    old = ring_of(settings)
    anyio.run(fill, store, Vault(old))
    was_killed = killed("rotate", step, store)
    values = [f"secret {number}".encode() for number in range(COUNT)]
    assert anyio.run(read, store, Vault(ring_of(settings))) == values
    for path in folder.glob("*.key*"):  # as one that was left long ago
        if path.name != "trigflow.db.key":
            os.utime(path, (1, 1))
    rotated = cli("keys", "rotate")
    assert rotated.code == 0, rotated.err
    ring = ring_of(settings)
    assert len(ring) == 1
    assert ring[0] not in old
    assert anyio.run(read, store, Vault(ring)) == values
    assert [path.name for path in folder.glob("*.key*")] == ["trigflow.db.key"]
    assert was_killed or step > 20


def test_old_keys_are_not_retired_while_something_is_sealed_with_none_of_the_ring(
    cli: Cli, folder: Path
) -> None:
    (folder / "app.py").write_text("from trigflow import App\napp = App(register='off')\n")
    store = folder / "trigflow.db"
    anyio.run(fill, store, Vault([Vault.new_key()]))
    path = folder / "trigflow.db.key"
    ring = f"{Vault.new_key()}\n{Vault.new_key()}"
    path.write_text(ring)
    for command in ("retire", "rotate"):
        refused = cli("keys", command)
        assert (refused.code, "can't be opened" in refused.err) == (2, True)
        assert path.read_text() == ring


def test_old_keys_are_not_retired_while_a_process_works_that_was_started_before(
    cli: Cli, folder: Path
) -> None:
    (folder / "app.py").write_text("from trigflow import App\napp = App(register='off')\n")
    store = folder / "trigflow.db"
    ring_of(Settings(store=str(store)))

    async def beat(kept: SqliteStore, *, ago: int) -> None:
        await kept.beat("ins_server", now=int(time.time() * 1000) - ago)

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(SqliteStore(str(store), store_id=lambda: "unused22")) as kept,
    ):
        portal.call(partial(beat, kept, ago=60_000))
        portal.call(partial(beat, kept, ago=0))
        assert cli("keys", "rotate").code == 0
        refused = cli("keys", "retire")
        assert (refused.code, "restart it first" in refused.err) == (1, True)
        assert len((folder / "trigflow.db.key").read_text().split()) == 2
        assert cli("keys", "retire", "--force").code == 0
        assert len((folder / "trigflow.db.key").read_text().split()) == 1
