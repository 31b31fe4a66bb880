"""Who is looked at next: many at a time, but few through one connection and few at one provider.

    due ──room for its connection and its integration?──> under way ──> ended: its places are free
     └─no: left to the store, which is asked without what is full

A provider that is slow holds its own places and nobody else's. One that was quiet until a
moment ago is called by one look at a time: every process has waited for the same moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

OF_ONE_CONNECTION = 8
AT_ONE_PROVIDER = 10  # more: one connection that is slow leaves places to the others
IN_ALL = 32


class Places:
    """How many looks are under way, by connection and by integration."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._connections: Counter[str] = Counter()
        self._integrations: Counter[str] = Counter()
        self.gently: Collection[str] = ()  # connections that were quiet until a moment ago

    @property
    def taken(self) -> int:
        """How many looks are under way."""
        return self._integrations.total()

    @property
    def is_full(self) -> bool:
        """Tell whether nobody can begin."""
        return self.taken >= IN_ALL

    @property
    def full_connections(self) -> Collection[str]:
        """Those through which nobody can begin."""
        return [name for name, count in self._connections.items() if count >= self._most(name)]

    @property
    def full_integrations(self) -> Collection[str]:
        """Those at whose provider nobody can begin."""
        return [name for name, count in self._integrations.items() if count >= AT_ONE_PROVIDER]

    def has_room(self, connection: str) -> bool:
        """Tell whether a look through a connection can begin."""
        integration = connection.partition("/")[0]
        return (
            not self.is_full
            and self._connections[connection] < self._most(connection)
            and self._integrations[integration] < AT_ONE_PROVIDER
        )

    def _most(self, connection: str) -> int:
        return 1 if connection in self.gently else OF_ONE_CONNECTION

    def take(self, connection: str) -> bool:
        """Take a place for a look through a connection; False where there is none."""
        if not self.has_room(connection):
            return False
        self._connections[connection] += 1
        self._integrations[connection.partition("/")[0]] += 1
        return True

    def give_back(self, connection: str) -> None:
        """Let others have the place of a look that has ended."""
        for counts, name in (
            (self._connections, connection),
            (self._integrations, connection.partition("/")[0]),
        ):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
