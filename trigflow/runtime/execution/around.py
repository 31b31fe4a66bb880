"""What the executor asks of those around it: clients, deliveries, and who hears of refusals."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

from trigflow.runtime import records as r


class Surroundings(Protocol):
    """What a job may ask for that the run itself does not hold."""

    async def client(self, annotation: Any, run: r.LoadedRun) -> object:
        """Return the client of the connection that a run's event came from."""
        ...

    async def delivery(self, run: r.LoadedRun) -> object:
        """Return the delivery that brought a run's event."""
        ...


class Lending(Protocol):
    """Where one attempt's clients are counted, and a refusal of their credentials is heard.

    Entered around the attempt, whose error it hears, too.
    """

    async def heed(self, error: BaseException, /) -> None:
        """Hear what went wrong in a task."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
