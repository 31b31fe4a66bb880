"""A file that was damaged: a clear error or a store that works, but no false acknowledgement.

CRASH_SEEDS: how many damaged copies are tried.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import apsw
import pytest

from trigflow import IO, App, trigger
from trigflow.core.errors import SetupError, StoreUnusable, TrigflowError
from trigflow.core.payloads import encode_json
from trigflow.sources.external import is_webhook
from trigflow.stores.sqlite.connection import connect
from trigflow.stores.sqlite.database import unpack
from trigflow.stores.sqlite.writer import translated
from trigflow.testing.deliveries import signed
from trigflow_github import github

SEEDS = int(os.environ.get("CRASH_SEEDS", "40"))
KEPT = 60  # deliveries before the damage


def double(number: int) -> int:
    return number * 2


OPENED = github.issues(repo="acme/web", actions=["opened"])


@trigger(OPENED, id="job")
async def job(payload: dict[str, Any], io: IO) -> int:
    return await io.task("double", double, payload["number"])


def app_at(path: Path) -> App:
    return App(jobs=[job], store=str(path), register="off")


def body_of(number: int) -> bytes:
    noise = random.Random(number).randbytes(400).hex()
    return encode_json({"action": "opened", "number": number, "noise": noise})


async def send(app: App, number: int) -> int:
    """Deliver as GitHub would; return the status."""
    source = OPENED.source
    assert is_webhook(source)
    try:
        token, request = await signed(app.opened, source, "issues", body_of(number), str(UUID(int=number)))
    except SetupError:  # the endpoint's own row is gone
        return 404
    return (await app.opened.receive(token, request)).status


async def wait_for_runs(app: App) -> None:
    with anyio.fail_after(30):
        while any(run.ended_at is None for run in await app.opened.store.runs(limit=1_000)):
            await anyio.sleep(0.005)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has seen some work."""
    folder = tmp_path_factory.mktemp("pristine")

    async def main() -> None:
        async with app_at(folder / "s.db") as app:
            for number in range(KEPT):
                assert await send(app, number) == 200
            await wait_for_runs(app)

    anyio.run(main)
    assert {path.name for path in folder.iterdir()} == {"s.db", "s.db.key", "s.db.lock"}
    return folder


def flip(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 30))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def scribble(content: bytearray, chance: random.Random) -> None:
    page = chance.randrange(len(content) // 4096) * 4096
    content[page : page + 4096] = chance.choice((chance.randbytes(4096), bytes(4096), b"\xff" * 4096))


def swap(content: bytearray, chance: random.Random) -> None:
    one, other = (chance.randrange(len(content) // 4096) * 4096 for _ in range(2))
    content[one : one + 4096], content[other : other + 4096] = (
        content[other : other + 4096],
        content[one : one + 4096],
    )


def truncate(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def cut_at_a_page(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content) // 4096) * 4096 :]


# 401, 404: the row of the endpoint, or of its key, is gone.
ANSWERS = (200, 401, 404, 503)
Harm = Callable[[bytearray, random.Random], None]


async def acknowledged_by(path: Path) -> set[int]:
    """Open a damaged store and send to it; return which new deliveries were acknowledged."""
    found: set[int] = set()
    async with app_at(path) as app:
        for number in range(1_000, 1_000 + 20):
            status = await send(app, number)
            assert status in ANSWERS
            if status == 200:
                found.add(number)
        for number in range(0, KEPT, 7):
            assert await send(app, number) in ANSWERS
        await anyio.sleep(0.02)  # let some runs begin, and meet what is damaged
    return found


def bodies_in(path: Path) -> set[bytes]:
    """Read the table itself, whatever indexes have become."""
    connection = connect(path)
    try:
        rows = connection.execute("SELECT body FROM deliveries NOT INDEXED").fetchall()
        return {unpack(packed) for (packed,) in rows if packed is not None}
    except apsw.Error as error:
        raise translated(error) from error
    finally:
        connection.close()


def is_ours(error: BaseException) -> bool:
    """Tell whether an error, or the only kind in a group, is one that says what to do."""
    _, others = BaseExceptionGroup("", [error]).split(TrigflowError)
    return others is None


@pytest.mark.parametrize("harm", [flip, scribble, swap, truncate, cut_at_a_page])
def test_a_damaged_file_is_refused_or_works_and_acknowledges_nothing_that_it_does_not_keep(
    pristine: Path, tmp_path: Path, harm: Harm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    surprises: list[str] = []
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        shutil.copytree(pristine, folder)
        content = bytearray((folder / "s.db").read_bytes())
        harm(content, random.Random(seed))
        (folder / "s.db").write_bytes(content)
        try:
            surprises += [f"{seed}: {lost}" for lost in lost_in(folder / "s.db")]
        except BaseException as error:  # noqa: BLE001 - every kind is looked at
            if not is_ours(error):
                surprises.append(f"{seed}: {error!r}")
        shutil.rmtree(folder)
    assert not surprises, "\n".join(surprises)


def lost_in(path: Path) -> list[str]:
    """Say which acknowledged deliveries a damaged store does not show."""
    acknowledged = anyio.run(acknowledged_by, path)
    there = bodies_in(path)
    return [f"{number} was acknowledged" for number in acknowledged if body_of(number) not in there]


def test_a_file_that_lost_its_tables_is_refused_by_name(pristine: Path, tmp_path: Path) -> None:
    shutil.copytree(pristine, tmp_path / "copy")
    path = tmp_path / "copy" / "s.db"
    path.write_bytes(path.read_bytes()[:8192])
    with pytest.raises(StoreUnusable, match="restore a backup"):
        anyio.run(acknowledged_by, path)
