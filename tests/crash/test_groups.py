"""One bad work in a group commit: its neighbours neither fail nor are falsely acknowledged (invariant 12)."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import apsw
import attrs
from hypothesis import given, strategies as st

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime import records as r
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.connection import Connection

# What a caller asks for. The bad ones fail in different places: in SQL, in Python, in a constraint, in what
# is called after the commit, or because they do not fit on the disk.
Kind = Literal["good", "wrong sql", "raises", "clash", "half", "stops", "too large", "gives up"]
KINDS: Sequence[Kind] = ("good", "wrong sql", "raises", "clash", "half", "stops", "too large", "gives up")
ROOM = 120  # pages beyond the empty store


class Broken(Exception):
    """What a work raises by itself."""


class Stopped(BaseException):
    """What is no ordinary exception."""


@attrs.frozen
class Ask:
    """One caller: what it asks for, and after how many turns of the loop."""

    kind: Kind
    turns: int


asks = st.lists(st.builds(Ask, st.sampled_from([*KINDS, "good", "good"]), st.integers(0, 3)), max_size=40)


def delivery(number: int) -> r.NewDelivery:
    name = f"{number:06d}"
    event = r.NewEvent(f"evt_{name}", name, "push", None, None, None, ())
    return r.NewDelivery(
        f"dlv_{name}", "ep", "sub", 1, "accepted", "", 200, "POST", b"[]", b"{}", events=(event,)
    )


def mark(connection: Connection, name: str, value: str = "") -> None:
    connection.execute("INSERT INTO meta VALUES(?, ?)", (name, value))


def work_of(kind: Kind, number: int) -> Callable[[Connection], object]:
    def work(connection: Connection) -> object:
        match kind:
            case "wrong sql":
                connection.execute("INSRT INTO meta VALUES(1, 2)")
            case "raises":
                raise Broken
            case "clash":
                mark(connection, "store_id")
            case "half":  # what was done before it fails is undone
                mark(connection, f"half {number}")
                raise Broken
            case "stops":
                mark(connection, f"half {number}")
                raise Stopped
            case "too large":
                mark(connection, f"large {number}", random.Random(number).randbytes(2_000_000).hex())
            case "good" | "gives up":
                mark(connection, f"kept {number}")
        return number

    return work


EXPECTED: dict[Kind, tuple[type[BaseException], ...]] = {
    # A statement that is none, or breaks a rule, is a mistake of ours: it rises as it is.
    "wrong sql": (apsw.SQLError,),
    "raises": (Broken,),
    "clash": (apsw.ConstraintError,),
    "half": (Broken,),
    "stops": (Stopped,),
    "too large": (StoreUnavailable,),
}


class Callers:
    """What each caller was told."""

    def __init__(self) -> None:
        self.told: set[int] = set()
        self.then: list[int] = []
        self.wrong: list[str] = []

    async def ask(self, store: SqliteStore, number: int, ask: Ask) -> None:
        for _ in range(ask.turns):
            await anyio.lowlevel.checkpoint()
        expected = EXPECTED.get(ask.kind, ())
        try:
            with anyio.CancelScope() as scope:
                if ask.kind == "gives up":
                    scope.cancel()  # while it waits; what it asked for is done all the same
                result = await store.write(work_of(ask.kind, number), self.then.append)  # type: ignore[arg-type]
                self.told.add(number)
                if result != number:
                    self.wrong.append(f"{number} ({ask.kind}) was told {result}")
                if expected:
                    self.wrong.append(f"{number} ({ask.kind}) was told of success")
        except BaseException as error:  # noqa: BLE001 - every kind is looked at
            if not isinstance(error, expected):
                self.wrong.append(f"{number} ({ask.kind}) met {error!r}")


async def marks(store: SqliteStore) -> set[str]:
    rows = await store.read(lambda connection: connection.execute("SELECT name FROM meta").fetchall())
    return {name for (name,) in rows}


@given(asks, st.sampled_from(["asyncio", "trio"]))
def test_any_mix_of_good_and_bad_works_is_told_the_truth(asked: list[Ask], backend: str) -> None:
    callers = Callers()

    async def main(path: Path) -> set[str]:
        async with SqliteStore(path, store_id=lambda: "abc") as store:
            await limit(store, ROOM)
            async with anyio.create_task_group() as group:
                for number, ask in enumerate(asked):
                    group.start_soon(callers.ask, store, number, ask)
            await store.accept(delivery(1))  # the writer goes on
            return await marks(store)

    with tempfile.TemporaryDirectory() as folder:
        there = anyio.run(main, Path(folder) / "s.db", backend=backend)
        again = anyio.run(reopened, Path(folder) / "s.db")
    good = {number for number, ask in enumerate(asked) if ask.kind == "good"}
    assert callers.wrong == []
    assert callers.told >= good
    assert {f"kept {number}" for number in callers.told} <= there
    # Nothing of what failed is there, and nobody's `then` was called for it, nor twice.
    left = {number for number, ask in enumerate(asked) if ask.kind == "gives up"}
    assert {name for name in there if name.startswith(("kept", "half", "large"))} <= {
        f"kept {number}" for number in good | left
    }
    assert sorted(callers.then) == sorted(set(callers.then))
    assert {f"kept {number}" for number in callers.then} == {
        name for name in there if name.startswith("kept")
    }
    assert again == there


async def reopened(path: Path) -> set[str]:
    async with SqliteStore(path, store_id=lambda: "unused") as store:
        return await marks(store)


async def limit(store: SqliteStore, more: int) -> None:
    """Let the store grow by so many pages only."""
    pages: int = await store.write(lambda connection: connection.pragma("page_count"))
    await store.write(lambda connection: connection.pragma("max_page_count", pages + more))


# --- a disk that fails now and then


class FaultyFile(apsw.VFSFile):
    """A file whose writes and syncs fail by the turn of a die."""

    def __init__(self, base: str, name: str | apsw.URIFilename, flags: list[int], die: Callable[[], bool]):
        self._die = die
        super().__init__(base, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's word
        if self._die():
            raise apsw.IOError
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's word
        if self._die():
            raise apsw.IOError
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """The default file system of SQLite, with faulty files while `share` is not 0."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.share = 0.0
        self._base = apsw.vfs_names()[0]
        super().__init__(f"faulty-{seed}", base=self._base, makedefault=True)

    def fails(self) -> bool:
        return self._chance.random() < self.share

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's word
        return FaultyFile(self._base, name, flags, self.fails)


@contextmanager
def faulty_disk(seed: int) -> Generator[FaultyDisk, None, None]:
    disk = FaultyDisk(seed)
    try:
        yield disk
    finally:
        disk.unregister()


@given(st.integers(0, 1 << 30), st.sampled_from([0.02, 0.1, 0.5]))
def test_a_disk_that_fails_now_and_then_refuses_some_and_acknowledges_nobody_falsely(
    seed: int, share: float
) -> None:
    kept: set[str] = set()
    strange: list[BaseException] = []

    async def accept(store: SqliteStore, number: int) -> None:
        try:
            await store.accept(delivery(number))
            kept.add(f"dlv_{number:06d}")
        except StoreUnavailable:
            pass
        except Exception as error:  # noqa: BLE001 - every kind is looked at
            strange.append(error)

    async def main(path: Path, disk: FaultyDisk) -> set[str]:
        async with SqliteStore(path, store_id=lambda: "abc") as store:
            for batch in range(6):
                disk.share = share
                async with anyio.create_task_group() as group:
                    for number in range(batch * 10, batch * 10 + 10):
                        group.start_soon(accept, store, number)
                disk.share = 0.0
                await accept(store, 1_000 + batch)  # as soon as it works again, so do we
                assert f"dlv_{1_000 + batch:06d}" in kept
        return await names(path)

    with tempfile.TemporaryDirectory() as folder, faulty_disk(seed) as disk:
        there = anyio.run(main, Path(folder) / "s.db", disk)
    assert strange == []
    assert kept <= there


async def names(path: Path) -> set[str]:
    async with SqliteStore(path, store_id=lambda: "unused") as store:
        return {row.id for row in await store.deliveries(limit=10_000)}
