"""What was read a moment ago: how often it is read, by whom, and what is remembered of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import attrs
import pytest
from anyio.abc import TaskGroup
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime.intake.lookups import MOST_AT_ONCE, Lookups
from trigflow.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio
FRESH = 5.0


@attrs.define
class Table:
    """Rows that are read when `gate` is open; every read is noted."""

    rows: dict[str, str] = attrs.field(factory=lambda: {"a": "1", "b": "2"})
    reads: list[tuple[str, ...]] = attrs.field(factory=list[tuple[str, ...]])
    problems: list[Exception] = attrs.field(factory=list[Exception])
    gate: anyio.Event | None = None
    clock: VirtualClock = attrs.field(factory=VirtualClock)

    def lookups(
        self, make: Callable[[str, str | None], str] = lambda _, row: row or "", most: int = 100
    ) -> Lookups[str, str, str]:
        return Lookups(self.read, make, self.clock, fresh=FRESH, most=most)

    async def read(self, keys: Sequence[str]) -> dict[str, str]:
        self.reads.append(tuple(keys))
        found = {key: self.rows[key] for key in keys if key in self.rows}
        if self.gate is not None:
            await self.gate.wait()
        await anyio.lowlevel.checkpoint()
        if self.problems:
            raise self.problems.pop()
        return found


@asynccontextmanager
async def together() -> AsyncGenerator[TaskGroup]:
    """Start tasks, and wait for them: not for ever."""
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            yield group


async def settle() -> None:
    """Let every task run until it waits."""
    await anyio.wait_all_tasks_blocked()


async def test_what_was_read_is_used_until_it_is_too_old_and_so_is_what_was_not_there() -> None:
    table = Table()
    found = table.lookups()
    for _ in range(3):
        assert [await found.find("a"), await found.find("x")] == ["1", ""]
    assert table.reads == [("a",), ("x",)]
    table.rows = {"x": "3"}
    table.clock.advance(timedelta(seconds=FRESH - 0.5))
    assert [await found.find("a"), await found.find("x")] == ["1", ""]
    table.clock.advance(timedelta(seconds=0.5))
    assert [await found.find("a"), await found.find("x")] == ["", "3"]


async def test_all_who_ask_for_one_key_at_once_share_one_read() -> None:
    table = Table(gate=anyio.Event())
    found, told = table.lookups(), list[str]()

    async def ask() -> None:
        told.append(await found.find("a"))

    async with together() as group:
        for _ in range(50):
            group.start_soon(ask)
        await settle()
        assert table.gate is not None
        table.gate.set()
    assert (table.reads, told) == ([("a",)], ["1"] * 50)


async def test_what_is_asked_during_a_read_shares_the_next_one() -> None:
    table = Table(gate=anyio.Event())
    found = table.lookups()
    async with together() as group:
        for key in ("a", "b", "c", "d", "b"):
            group.start_soon(found.find, key)
            await settle()
        assert table.reads == [("a",)]
        assert table.gate is not None
        table.gate.set()
    assert table.reads == [("a",), ("b", "c", "d")]


async def test_a_cancelled_reader_is_followed_by_one_who_waits() -> None:
    table = Table(gate=anyio.Event())
    found, told = table.lookups(), list[str]()

    async def ask(key: str) -> None:
        told.append(await found.find(key))

    async with together() as group:
        async with anyio.create_task_group() as first:
            first.start_soon(found.find, "a")
            await settle()
            for key in ("a", "b", "a"):
                group.start_soon(ask, key)
                await settle()
            first.cancel_scope.cancel()
        await settle()
        assert table.gate is not None
        table.gate.set()
    assert sorted(told) == ["1", "1", "2"]
    assert table.reads == [("a",), ("a", "b")]


async def test_what_nobody_waits_for_any_more_is_found_by_whoever_asks_next() -> None:
    table = Table(gate=anyio.Event())
    found = table.lookups()
    async with together() as group:
        group.start_soon(found.find, "a")
        await settle()
        group.cancel_scope.cancel()
    table.gate = None
    with anyio.fail_after(10):
        assert [await found.find("b"), await found.find("a")] == ["2", "1"]


async def test_a_key_forgotten_while_it_is_read_is_read_anew() -> None:
    table = Table(gate=anyio.Event())
    found, told = table.lookups(), list[str]()

    async def ask() -> None:
        told.append(await found.find("a"))

    async with together() as group:
        group.start_soon(ask)
        await settle()
        table.rows["a"] = "new"
        found.forget("a")
        group.start_soon(ask)
        await settle()
        assert table.gate is not None
        table.gate.set()
    assert told == ["1", "new"]  # whoever asked before the change may see what was
    assert await found.find("a") == "new"


async def test_an_old_answer_that_comes_after_its_key_was_forgotten_is_not_remembered() -> None:
    table = Table(gate=anyio.Event())
    found = table.lookups()
    async with together() as group:
        group.start_soon(found.find, "a")
        await settle()
        table.rows["a"] = "new"
        found.forget("a")
        assert table.gate is not None
        table.gate.set()
    assert await found.find("a") == "new"


async def test_a_store_that_does_not_answer_is_an_error_for_all_who_wait_and_asked_again_later() -> None:
    table = Table(gate=anyio.Event(), problems=[StoreUnavailable("it is away")])
    found, told = table.lookups(), list[str]()

    async def ask() -> None:
        with pytest.raises(StoreUnavailable, match="it is away"):
            await found.find("a")
        told.append("refused")

    async with together() as group:
        for _ in range(5):
            group.start_soon(ask)
        await settle()
        assert table.gate is not None
        table.gate.set()
    assert (told, len(table.reads)) == (["refused"] * 5, 1)
    assert await found.find("a") == "1"


async def test_a_bug_in_a_read_hangs_nobody() -> None:
    table = Table(gate=anyio.Event(), problems=[ZeroDivisionError()])
    found, told = table.lookups(), list[str]()

    async def ask(key: str) -> None:
        try:
            told.append(await found.find(key))
        except ZeroDivisionError:
            told.append("bug")

    async with together() as group:
        for key in ("a", "b", "a"):
            group.start_soon(ask, key)
            await settle()
        assert table.gate is not None
        table.gate.set()
    assert sorted(told) == ["1", "2", "bug"]


async def test_a_row_that_nothing_can_be_made_of_fails_alone_and_is_tried_again() -> None:
    def make(key: str, row: str | None) -> str:
        if row == "broken":
            raise ValueError(key)
        return row or ""

    table = Table({"a": "1", "b": "broken"})
    found = table.lookups(make)
    assert await found.find("a") == "1"
    with pytest.raises(ValueError, match="b"):
        await found.find_all(["a", "b"])
    table.rows["b"] = "mended"
    assert await found.find("b") == "mended"


async def test_thousands_of_keys_are_read_in_parts_so_that_others_get_their_turn() -> None:
    table = Table({}, gate=anyio.Event())
    found = table.lookups()
    many = [f"k{number}" for number in range(3 * MOST_AT_ONCE)]
    async with together() as group:
        group.start_soon(found.find_all, many)
        await settle()
        group.start_soon(found.find, "a")
        await settle()
        assert table.gate is not None
        table.gate.set()
    assert len(table.reads) >= 3
    assert max(map(len, table.reads)) <= MOST_AT_ONCE + 1
    assert "a" in table.reads[1]


async def test_what_was_read_last_is_remembered_longest() -> None:
    table = Table()
    found = table.lookups(most=2)
    for key, wait in (("a", 3), ("b", 2), ("a", 0), ("x", 0)):
        await found.find(key)
        table.clock.advance(timedelta(seconds=wait))
    table.rows["c"] = "3"
    await found.find("c")
    table.reads.clear()
    assert await found.find_all(["a", "c", "b"]) == ["1", "3", "2"]
    assert table.reads == [("b",)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0.0, 1.0, FRESH])), max_size=40),
    st.sets(st.sampled_from("abcdefgh")),
    st.integers(1, 4),
)
async def test_a_flood_is_bounded_and_the_unknown_never_displaces_the_known(
    asked: list[tuple[str, float]], there: set[str], most: int
) -> None:
    table = Table({key: key for key in there})
    found = table.lookups(most=most)
    read_at: dict[str, float] = {}
    known: list[str] = []  # the last different ones, as a person would note them down
    for key, wait in asked:
        table.clock.advance(timedelta(seconds=wait))
        reads = len(table.reads)
        assert await found.find(key) == (key if key in there else "")
        assert len(found) <= 2 * most
        is_fresh = key in known and table.clock.now() - read_at[key] < FRESH
        if key in there:
            assert (len(table.reads) == reads) == is_fresh
        if len(table.reads) > reads:
            read_at[key] = table.clock.now()
            if key in there:
                known = [*(one for one in known if one != key), key][-most:]
