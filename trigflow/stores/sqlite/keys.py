"""Endpoints' keys: several are valid while one takes another's place."""

from __future__ import annotations

from collections.abc import Collection

from trigflow.stores.sqlite.connection import Connection, overwriting
from trigflow.stores.sqlite.database import Database
from trigflow.stores.sqlite.subscriptions import text

_ADD = (
    "INSERT INTO keys(endpoint_id, serial, sealed, created_at) "
    "SELECT ?1, coalesce(max(serial), 0) + 1, ?2, ?3 FROM keys WHERE endpoint_id = ?1 RETURNING serial"
)
_CAPTURE = (
    "INSERT INTO keys(endpoint_id, serial, sealed, created_at) SELECT ?1, 1, ?2, ?3 "
    "WHERE EXISTS(SELECT 1 FROM endpoints WHERE id = ?1 AND state = 'pending') "
    "AND NOT EXISTS(SELECT 1 FROM keys WHERE endpoint_id = ?1)"
)


class KeyRows(Database):
    """Where endpoints' keys are kept."""

    async def add_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> int:
        """Keep a further, newer key of an endpoint; return its serial."""
        return await self.write(lambda connection: add_key(connection, endpoint_id, sealed, at))

    async def keep_webhook(self, endpoint_id: str, serial: int, data: bytes | None) -> None:
        """Keep with a key that another webhook than the subscription's signs with it."""
        row = (text(data), endpoint_id, serial)

        def work(connection: Connection) -> None:
            sql = "UPDATE keys SET data = ? WHERE endpoint_id = ? AND serial = ?"
            with overwriting(connection):
                connection.execute(sql, row)

        await self.write(work)

    async def retire_keys(self, endpoint_id: str, serials: Collection[int]) -> None:
        """Take keys away."""

        def work(connection: Connection) -> None:
            sql = "DELETE FROM keys WHERE endpoint_id = ? AND serial = ?"
            with overwriting(connection):
                for serial in serials:
                    connection.execute(sql, (endpoint_id, serial))

        await self.write(work)

    async def capture_key(self, endpoint_id: str, sealed: bytes, *, at: int) -> bool:
        """Keep a key that arrived in a handshake, once and only while pending."""

        def work(connection: Connection) -> bool:
            with overwriting(connection):
                connection.execute(_CAPTURE, (endpoint_id, sealed, at))
            return connection.changes() == 1

        return await self.write(work)


def add_key(connection: Connection, endpoint_id: str, sealed: bytes, at: int) -> int:
    """Keep a further key; its serial is higher than those of all that are kept."""
    with overwriting(connection):
        ((serial,),) = connection.execute(_ADD, (endpoint_id, sealed, at)).fetchall()
    return int(serial)


def replace_keys(connection: Connection, endpoint_id: str, sealed: bytes, at: int) -> None:
    """Keep one key in place of all others; its serial is new, so that nothing said of theirs is about it."""
    serial = add_key(connection, endpoint_id, sealed, at)
    with overwriting(connection):
        connection.execute("DELETE FROM keys WHERE endpoint_id = ? AND serial < ?", (endpoint_id, serial))
