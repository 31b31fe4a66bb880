"""Accounts' credentials, sealed."""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables


class ConnectionTables(Tables):
    """Where accounts' credentials are kept."""

    async def connection(self, ref: str) -> r.Connection | None:
        """Return one."""
        return self._connections.get(ref)

    async def connections(self, *, integration: str | None = None) -> Sequence[r.Connection]:
        """Return all, by ref."""
        there = (one for _, one in sorted(self._connections.items()))
        return [one for one in there if integration in (None, one.integration)]

    async def connections_due(self, *, now: int, limit: int) -> Sequence[r.Connection]:
        """Return those whose token is to be made anew by now, the longest due first."""
        there = self._connections.items()
        due = sorted((one.refresh_at, ref) for ref, one in there if one.refresh_at is not None)
        return [self._connections[ref] for at, ref in due if at <= now][:limit]

    async def put_connection(self, connection: r.Connection) -> None:
        """Keep a connection, in place of one of the same ref."""
        self._connections[connection.ref] = connection

    async def replace_connection(self, before: r.Connection, after: r.Connection) -> bool:
        """Keep a connection in place of another; what was removed is not brought back."""
        there = self._connections.get(before.ref)
        if there is None or (there.created_at, there.updated_at) != (before.created_at, before.updated_at):
            return False
        self._connections[after.ref] = after
        return True

    async def remove_connection(self, ref: str) -> bool:
        """Forget a connection."""
        self._connection_claims.pop(ref, None)
        return self._connections.pop(ref, None) is not None

    async def claim_connection(self, ref: str, owner: str, *, now: int, until: int) -> bool:
        """Take the right to make a token."""
        held_by, ends = self._connection_claims.get(ref, (owner, 0))
        # One that lasts much longer than ours would is from before the clock was set back.
        if ref not in self._connections or (held_by != owner and now <= ends <= until + (until - now)):
            return False
        self._connection_claims[ref] = (owner, until)
        return True

    async def release_connection(self, ref: str, owner: str) -> None:
        """Give the right back."""
        if self._connection_claims.get(ref, ("", 0))[0] == owner:
            del self._connection_claims[ref]

    async def connected(self, ref: str) -> int:
        """Tell how many subscriptions that are not removed go through a connection."""
        return sum(connection == ref for _, _, connection in self._identities)

    async def through(self, ref: str, *, limit: int, after: str = "") -> Sequence[r.Subscription]:
        """Return subscriptions that go through a connection."""
        there = sorted(id_ for (_, _, connection), id_ in self._identities.items() if connection == ref)
        return [self._subscriptions[id_] for id_ in there if id_ > after][:limit]

    async def subscribed_through(self, ref: str, *, limit: int) -> Sequence[r.Subscriber]:
        """Return some of those who subscribed through a connection."""
        return [one for _, one in sorted(self._subscribers.items()) if one.connection == ref][:limit]
