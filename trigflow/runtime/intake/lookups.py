"""What was read from a store a moment ago, so that it is not read for each request.

    ask ─> remembered? ─> asked by somebody else? wait with them
                │                       │
                └─ no ──────────────────┴─ no ─> gathered ─> one read for all that is gathered

One read at a time: what is asked while it is under way shares the next one, so that a
flood costs few reads. Nobody owns a read: whoever waits takes it over where its reader
is cancelled. What is remembered is bounded, and the unknown never displaces the known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import anyio

from trigflow.core.errors import StoreError
from trigflow.runtime.boundary import Raised, attempt
from trigflow.runtime.ports import Clock

MOST_AT_ONCE = 500  # keys that one asker adds to a read, so that the others need not wait for thousands

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
V = TypeVar("V")


class Answer(Generic[V]):
    """What came of asking for a key: a value or an error, and when it was read (unix seconds)."""

    __slots__ = ("at", "error", "is_there", "value")

    value: V

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_there: bool = False
        self.at: float = 0.0

    def told(self) -> V:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error.with_traceback(None)  # it is raised for many: their frames would pile up
        return self.value


class Lookups(Generic[K, R, V]):
    """Values made of what a store has for keys; a falsy one counts as unknown."""

    def __init__(
        self,
        read: Callable[[Sequence[K]], Awaitable[Mapping[K, R]]],
        make: Callable[[K, R | None], V],
        clock: Clock,
        *,
        fresh: float,
        most: int,
    ) -> None:
        """Use a value for `fresh` seconds, and remember `most` known keys and as many unknown ones.

        read: gives what there is, by key. make: turns that, or None, into a value; what
        it raises is raised for that key alone and is not remembered.
        """
        self._read, self._make, self._now = read, make, clock.now
        self._fresh, self._most = fresh, most
        # Sorted by when they were read, so that the first is the first to be too old.
        self._known: OrderedDict[K, Answer[V]] = OrderedDict()
        self._unknown: OrderedDict[K, Answer[V]] = OrderedDict()
        self._asked: dict[K, Answer[V]] = {}  # who asks for the same joins, unless it was forgotten
        self._gathered: list[tuple[K, Answer[V]]] = []
        self._reading: anyio.Event | None = None

    def remembered(self, key: K) -> Answer[V] | None:
        """Return what was read less than `fresh` seconds ago; asks nobody."""
        answer = self._known.get(key) or self._unknown.get(key)
        if answer is None or self._now() - answer.at >= self._fresh:
            return None
        return answer

    async def find(self, key: K) -> V:
        """Return the value of a key. Raises StoreError where it can't be read now."""
        (value,) = await self.find_all((key,))
        return value

    async def find_all(self, keys: Sequence[K]) -> list[V]:
        """Return the values of keys, in their order. Raises StoreError where they can't be read now."""
        values: list[V] = []
        for start in range(0, len(keys), MOST_AT_ONCE):
            some = keys[start : start + MOST_AT_ONCE]
            answers = [self.remembered(key) or self._asked.get(key) or self._ask(key) for key in some]
            for answer in answers:
                await self._wait(answer)
            values += [answer.told() for answer in answers]
        return values

    def forget(self, key: K) -> None:
        """Read a key anew when it is asked for next, even if a read of it is under way."""
        self._known.pop(key, None)
        self._unknown.pop(key, None)
        self._asked.pop(key, None)

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._known) + len(self._unknown)

    def _ask(self, key: K) -> Answer[V]:
        answer = self._asked[key] = Answer[V]()
        self._gathered.append((key, answer))
        return answer

    async def _wait(self, answer: Answer[V]) -> None:
        while not answer.is_there:
            if self._reading is None:
                await self._read_gathered()
            else:
                await self._reading.wait()

    async def _read_gathered(self) -> None:
        asked, self._gathered = self._gathered, []
        ended = self._reading = anyio.Event()
        at = self._now()  # before the read: what changes from now on may be missed
        try:
            rows = await self._read(tuple(dict.fromkeys(key for key, _ in asked)))
        except StoreError as error:
            for key, answer in asked:
                self._fail(key, answer, error)
        else:
            for key, answer in asked:
                self._answer(key, answer, rows.get(key), at)
        finally:
            # Cancelled, or a bug: the next one who waits reads it.
            self._gathered[:0] = [one for one in asked if not one[1].is_there]
            self._reading = None
            ended.set()

    def _answer(self, key: K, answer: Answer[V], row: R | None, at: float) -> None:
        made = attempt(lambda: self._make(key, row))
        if isinstance(made, Raised):
            self._fail(key, answer, made.error)
            return
        answer.value, answer.at, answer.is_there = made.value, at, True
        if self._asked.get(key) is answer:
            del self._asked[key]
            self._remember(key, answer)

    def _fail(self, key: K, answer: Answer[V], error: Exception) -> None:
        answer.error, answer.is_there = error, True
        if self._asked.get(key) is answer:
            del self._asked[key]

    def _remember(self, key: K, answer: Answer[V]) -> None:
        table, other = (self._known, self._unknown) if answer.value else (self._unknown, self._known)
        other.pop(key, None)
        table[key] = answer
        table.move_to_end(key)
        # Two for each that comes: what is too old goes, and nobody waits long for it.
        for _ in range(2):
            oldest = next(iter(table.values()))
            if len(table) > self._most or answer.at - oldest.at >= self._fresh:
                table.popitem(last=False)
