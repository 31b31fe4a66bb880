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

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio
import apsw

from trigflow.core.errors import StoreUnavailable
from trigflow.runtime.loops import Caller, caller_of_this_loop

T = TypeVar("T")
LARGEST_GROUP = 512
Work = Callable[[apsw.Connection], T]


class _Ticket(Generic[T]):
    """One caller's work and what came of it; `ready` is None where nobody waits."""

    __slots__ = ("error", "ready", "result", "work")

    def __init__(self, work: Work[T], ready: anyio.Event | None) -> None:
        self.work, self.ready = work, ready
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs work in write transactions, on its own thread, in the order given."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Take over a connection; nobody else may use it."""
        self._connection = connection
        self._waiting: deque[_Ticket[Any]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._caller: Caller = caller_of_this_loop()
        self._thread = threading.Thread(target=self._serve, name="trigflow-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Do work and return its result after the commit.

        Raises what the work raised, or StoreUnavailable where the store can't be written.
        """
        ticket = _Ticket(work, anyio.Event())
        self._put(ticket)
        assert ticket.ready is not None  # noqa: S101 - just made
        await ticket.ready.wait()
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
        if self._closing or not self._thread.is_alive():
            raise StoreUnavailable("the store is closed")
        self._waiting.append(ticket)
        self._wake.set()

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                size = min(len(self._waiting), LARGEST_GROUP)
                self._commit([self._waiting.popleft() for _ in range(size)])
            if self._closing:
                return

    def _commit(self, group: list[_Ticket[Any]]) -> None:
        error = self._attempt(group)
        if error is not None and len(group) > 1:
            for ticket in group:
                ticket.error = self._attempt([ticket])
        elif error is not None:
            group[0].error = error
        if any(ticket.ready for ticket in group):
            self._caller(lambda: _tell(group))

    def _attempt(self, group: list[_Ticket[Any]]) -> BaseException | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for ticket in group:
                ticket.result = ticket.work(connection)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the boundary: the error goes to whoever asked
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return translated(error)
        return None


def _tell(group: list[_Ticket[Any]]) -> None:
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
        case _:
            return error
