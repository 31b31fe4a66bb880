"""The one thread that writes, and group commit.

    caller --work--> queue --batch--> BEGIN … work, work, work … COMMIT --> callers

Whatever is waiting when the last commit returns shares the next one: no timer,
and the busier it is the larger the groups. Nobody is told of success before
COMMIT has returned. If anything in a group fails, all of it is rolled back and
each work is done again alone, so that neighbours neither fail nor are falsely
acknowledged (SQLITE_FULL rolls back the whole transaction whatever savepoints
there were).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import anyio
import apsw

from trigflow.core.errors import StoreUnavailable, StoreUnusable
from trigflow.runtime.loops import Caller, caller_of_this_loop
from trigflow.stores.sqlite.connection import Connection

T = TypeVar("T")
LARGEST_GROUP = 512
Work = Callable[[Connection], T]
logger: logging.Logger = logging.getLogger("trigflow.store")


class _Ticket(Generic[T]):
    """One caller's work and what came of it; `ready` is None where nobody waits."""

    __slots__ = ("error", "ready", "result", "work")

    def __init__(self, work: Work[T], ready: anyio.Event | None) -> None:
        self.work, self.ready = work, ready
        self.result: Any = None
        self.error: BaseException | None = None


class _Locked(Exception):
    """The transaction could not even begin: nothing was tried, and nothing is worth trying singly."""


class Writer:
    """Runs work in write transactions, on its own thread, in the order given."""

    def __init__(self, connection: Connection) -> None:
        """Take over a connection; nobody else may use it."""
        self._connection = connection
        self._waiting: deque[_Ticket[Any]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._ended = False
        self._lock = threading.Lock()  # between the last look for work and `_ended`
        self._caller: Caller = caller_of_this_loop()
        self._thread = threading.Thread(target=self._live, name="trigflow-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do work and return its result after the commit.

        Raises what the work raised, or StoreUnavailable where the store can't be written.
        """
        ready = anyio.Event()
        ticket = _Ticket(work, ready)
        self._put(ticket)
        await ready.wait()
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
        self._wake.set()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)
        self._connection.close()

    def _put(self, ticket: _Ticket[Any]) -> None:
        with self._lock:
            if self._closing or self._ended:
                raise StoreUnavailable("the store is closed")
            self._waiting.append(ticket)
        self._wake.set()

    def _live(self) -> None:
        try:
            self._serve()
        except BaseException:
            logger.critical("the store's writer ended; open the app again", exc_info=True)
            raise
        finally:
            self._end()

    def _end(self) -> None:
        """Leave nobody waiting for a thread that is gone."""
        with self._lock:
            self._ended = True
        rest = list(self._waiting)
        for ticket in rest:
            ticket.error = StoreUnavailable("the store is closed")
        self._tell(rest)

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            closing = self._closing  # before the last look: nothing is put in after it was set
            while self._waiting:
                size = min(len(self._waiting), LARGEST_GROUP)
                self._commit([self._waiting.popleft() for _ in range(size)])
            if closing:
                return

    def _commit(self, group: Sequence[_Ticket[Any]]) -> None:
        try:
            self._decide(group)
        except BaseException as error:
            for ticket in group:
                ticket.error = StoreUnavailable(f"the store's writer ended: {error!r}")
            raise
        finally:
            self._tell(group)

    def _decide(self, group: Sequence[_Ticket[Any]]) -> None:
        try:
            error = self._attempt(group)
            if error is None:
                return
            if len(group) == 1:
                group[0].error = error
                return
            for ticket in group:
                ticket.error = self._attempt([ticket])
        except _Locked as locked:
            for ticket in group:
                ticket.error = ticket.error or locked.__cause__

    def _attempt(self, group: Sequence[_Ticket[Any]]) -> BaseException | None:
        connection = self._connection
        self._begin()
        try:
            for ticket in group:
                ticket.result = ticket.work(connection)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the boundary: the error goes to whoever asked
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return translated(error)
        return None

    def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise _Locked from translated(error)

    def _tell(self, group: Sequence[_Ticket[Any]]) -> None:
        for ticket in group:
            if ticket.ready is None and ticket.error is not None:
                logger.warning("something that nobody waits for could not be kept: %s", ticket.error)
        if any(ticket.ready for ticket in group):
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._caller(lambda: _wake(group))


def _wake(group: Sequence[_Ticket[Any]]) -> None:
    for ticket in group:
        if ticket.ready is not None:
            ticket.ready.set()


def translated(error: Exception) -> Exception:
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
        case apsw.IOError():
            return StoreUnavailable(f"the store's disk failed: {error}")
        case apsw.CorruptError() | apsw.NotADBError():
            return StoreUnusable("the store is damaged; restore a backup")
        case _:
            return error
