"""One writer, and group commit.

    loop:    work, work, work …                   work, work …            told
                    │ BEGIN IMMEDIATE … group         ^ group               ^
    thread:         └──────────> COMMIT (fsync) ──────┘──> COMMIT ──────────┘

Whatever is asked while one group is being committed shares the next one: no
timer, and the busier it is the larger the groups. Nobody is told of success
before COMMIT has returned. If anything in a group fails, all of it is rolled
back and each work is done again alone, so that neighbours neither fail nor are
falsely acknowledged (SQLITE_FULL rolls back the whole transaction whatever
savepoints there were).

Statements run on the loop, only COMMIT and the wait for a lock in the thread:
a statement takes a few µs, but a thread that runs it gives up Python's lock
around each one, and waits for it again (up to 5 ms while the loop is busy; it
was half of the time of an event). Inserts at the end of a table touch pages
that are in memory; COMMIT is what waits for a disk.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import apsw

from trigflow.core.errors import StoreStopped, StoreUnavailable, StoreUnusable
from trigflow.runtime.loops import Caller, Waiter, caller_of_this_loop, waiters_of_this_loop
from trigflow.stores.sqlite.connection import BUSY_MS, Connection

T = TypeVar("T")
LARGEST_GROUP = 512
Work = Callable[[Connection], T]
logger: logging.Logger = logging.getLogger("trigflow.store")


class _Ticket(Generic[T]):
    """One caller's work and what came of it; `ready` is None where nobody waits."""

    __slots__ = ("error", "ready", "result", "then", "work")

    def __init__(
        self, work: Work[T], ready: Waiter | None, then: Callable[[T], object] | None = None
    ) -> None:
        self.work, self.ready, self.then = work, ready, then
        self.result: Any = None
        self.error: BaseException | None = None


_Group: TypeAlias = Sequence[_Ticket[Any]]
_Job: TypeAlias = tuple[Callable[[], object], Callable[[BaseException | None], object]]


class Writer:
    """Runs work in write transactions, in the order given. Used from one loop only."""

    def __init__(self, connection: Connection) -> None:
        """Take over a connection that waits for no lock; nobody else may use it."""
        self._connection = connection
        self._waiting: deque[_Ticket[Any]] = deque()
        self._alone: deque[_Ticket[Any]] = deque()  # of a group that failed: done again one by one
        self._busy = False  # a group is in hand, or about to be
        self._closing = False
        self._idle = anyio.Event()
        self._caller: Caller = caller_of_this_loop()
        self._waiter = waiters_of_this_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._then: Callable[[BaseException | None], object] | None = None  # whom the thread will tell
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="trigflow-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T], then: Callable[[T], object] | None = None) -> T:
        """Do work and return its result after the commit.

        Work that was asked for is done, also where the caller is cancelled while it
        waits; `then` is called with the result after the commit in any case.
        Raises what the work raised, or StoreUnavailable where the store can't be written.
        """
        ready = self._waiter()
        ticket = _Ticket(work, ready, then)
        self._put(ticket)
        await ready
        if ticket.error is not None:
            raise ticket.error
        result: T = ticket.result
        return result

    def post(self, work: Work[object]) -> None:
        """Do work that nobody waits for."""
        self._put(_Ticket(work, None))

    async def close(self) -> None:
        """Do what is waiting, then end the thread."""
        self._closing = True
        with anyio.CancelScope(shield=True):
            while self._busy:
                self._idle = anyio.Event()
                await self._idle.wait()
            self._jobs.put(None)
            await anyio.to_thread.run_sync(self._thread.join)
        self._connection.close()

    # --- on the loop

    def _put(self, ticket: _Ticket[Any]) -> None:
        if self._closing:
            raise StoreUnavailable("the store is closed")
        self._waiting.append(ticket)
        if not self._busy:
            self._busy = True
            # Soon, not now: whoever else is ready in this turn of the loop joins the group.
            self._caller(self._next)

    def _next(self) -> None:
        group = self._take()
        if not group:
            self._busy = False
            self._idle.set()
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            self._hand_over(self._wait_for_lock, lambda error: self._begun(group, error))
        except apsw.Error as error:
            self._refuse(group, translated(error))
        else:
            self._fill(group)

    def _take(self) -> _Group:
        if self._alone:
            return [self._alone.popleft()]
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]

    def _begun(self, group: _Group, error: BaseException | None) -> None:
        if error is None:
            self._fill(group)
            return
        # Nothing was tried, and nothing is worth trying singly.
        self._refuse([*group, *self._alone], error)

    def _refuse(self, group: _Group, error: BaseException) -> None:
        self._alone.clear()
        for ticket in group:
            ticket.error = error
        _tell(group)
        self._caller(self._next)  # not called here: hundreds that fail would nest as deep

    def _fill(self, group: _Group) -> None:
        try:
            for ticket in group:
                ticket.result = ticket.work(self._connection)
        except BaseException as error:  # noqa: BLE001 - the boundary: the error goes to whoever asked
            self._roll_back()
            self._failed(group, translated(error))
        else:
            self._hand_over(self._commit, lambda error: self._committed(group, error))

    def _committed(self, group: _Group, error: BaseException | None) -> None:
        if error is not None:
            self._failed(group, error)
            return
        try:
            _tell(group)
        finally:
            self._next()

    def _failed(self, group: _Group, error: BaseException) -> None:
        if len(group) > 1:
            self._alone.extend(group)
        else:
            group[0].error = error
            _tell(group)
        self._caller(self._next)  # see _refuse

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    # --- in the thread

    def _hand_over(self, call: Callable[[], object], then: Callable[[BaseException | None], object]) -> None:
        self._then = then
        if self._ended:
            self._caller(self._abandoned)
        else:
            self._jobs.put((call, then))

    def _told(self, then: Callable[[BaseException | None], object], error: BaseException | None) -> None:
        self._then = None
        then(error)

    def _abandoned(self) -> None:
        """Refuse what the thread had in hand: a fault has ended it, and nothing can be committed any more."""
        then, self._then = self._then, None
        if then is not None:
            self._roll_back()
            then(StoreStopped("the store's writer has ended; start the process anew"))

    def _serve(self) -> None:
        try:
            self._serve_jobs()
        finally:
            self._ended = True  # before `_abandoned`: what is handed over until then is abandoned by it
            with suppress(RuntimeError):
                self._caller(self._abandoned)

    def _serve_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, then = job
            told: BaseException | None = None
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - the boundary: the error goes to whoever asked
                told = translated(error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._caller(partial(self._told, then, told))

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _wait_for_lock(self) -> None:
        self._connection.set_busy_timeout(BUSY_MS)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.set_busy_timeout(0)


def _tell(group: _Group) -> None:
    for ticket in group:
        if ticket.ready is not None:
            ticket.ready.set()
        elif ticket.error is not None:
            logger.warning("something that nobody waits for could not be kept: %s", ticket.error)
    for ticket in group:  # before those who wait go on: they were only told to
        if ticket.then is not None and ticket.error is None:
            ticket.then(ticket.result)


_OTHER_TABLES = re.compile(r"no such (table|column|index)|has no column named|malformed")


def translated(error: BaseException) -> BaseException:
    """Say in our words what SQLite says about its file."""
    match error:
        case apsw.FullError():
            return StoreUnavailable("the store is full; free disk space")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return StoreUnavailable(
                "the store can't be written; check the permissions of its file and folder"
            )
        case apsw.BusyError() | apsw.LockedError():
            return StoreUnavailable("the store is locked by another process; stop it, or try again")
        case apsw.ConnectionClosedError():
            return StoreStopped("the connection to the store is closed; start the process anew")
        case apsw.IOError():
            return StoreUnavailable(f"the store's disk failed: {error}")
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreUnusable("the store is damaged; restore a backup")
        case apsw.SQLError() if _OTHER_TABLES.search(str(error)):
            # Our statements fit the tables that we make: these are others.
            return StoreUnusable(
                f"the store's tables are not as they were made ({error}): it is damaged; restore a backup"
            )
        case apsw.ProtocolError() | apsw.NoMemError() | apsw.InterruptError() | apsw.AbortError():
            return StoreUnavailable(f"the store could not be used for a moment: {error}; try again")
        case _:
            return error
