"""Everything that a key ring sealed, sealed anew.

    a look (a thread that reads, opens and seals) ──> a write (checks that it is still what was read)

Tables are walked one after the other in the order of their keys. What is written
behind the walk is sealed with the new key by whoever writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import msgspec

from trigflow.stores.sqlite.connection import Connection, Value, overwriting
from trigflow.stores.sqlite.database import Database, pack, unpack

LOOKED = 5_000  # rows looked at in a call, of which few may be sealed

_Name: TypeAlias = tuple[Value, ...]
_Seal: TypeAlias = Callable[[bytes], bytes]


@attrs.frozen
class _Table:
    """Sealed values of a table.

    first: a name before all others. walk: names and whether there is something sealed; bindings: name,
    limit. read, write: of one value; bindings: name, and before it the new value.
    """

    first: _Name
    walk: str
    read: str
    write: str
    packed: bool = False


_TABLES: Sequence[_Table] = (
    _Table(
        ("", 0),
        "SELECT endpoint_id, serial, 1 FROM keys WHERE (endpoint_id, serial) > (?, ?) "
        "ORDER BY endpoint_id, serial LIMIT ?",
        "SELECT sealed FROM keys WHERE endpoint_id = ? AND serial = ?",
        "UPDATE keys SET sealed = ? WHERE endpoint_id = ? AND serial = ?",
    ),
    _Table(
        ("",),
        "SELECT ref, 1 FROM connections WHERE ref > ? ORDER BY ref LIMIT ?",
        "SELECT sealed FROM connections WHERE ref = ?",
        "UPDATE connections SET sealed = ? WHERE ref = ?",
    ),
    _Table(
        ("",),
        "SELECT id, sealed AND body IS NOT NULL FROM deliveries WHERE id > ? ORDER BY id LIMIT ?",
        "SELECT body FROM deliveries WHERE id = ? AND body IS NOT NULL",
        "UPDATE deliveries SET body = ? WHERE id = ?",
        packed=True,
    ),
    _Table(
        ("",),
        "SELECT id, sealed AND payload IS NOT NULL FROM events WHERE id > ? ORDER BY id LIMIT ?",
        "SELECT payload FROM events WHERE id = ? AND payload IS NOT NULL",
        "UPDATE events SET payload = ? WHERE id = ?",
        packed=True,
    ),
)


class SealedRows(Database):
    """Where what is sealed is sealed anew."""

    async def reseal(self, seal: _Seal, *, after: str, limit: int) -> str | None:
        """Replace up to `limit` sealed values of one table; `seal` is called in a thread, too."""
        number, name = _at(after) if after else (0, _TABLES[0].first)
        table = _TABLES[number]

        def look(connection: Connection) -> tuple[dict[_Name, tuple[bytes, bytes]], _Name | None]:
            names, last = _walk(connection, table, name, limit)
            there = {one: _value(connection, table, one) for one in names}
            return {one: (old, _anew(table, seal, old)) for one, old in there.items() if old}, last

        found, last = await self.read(look)
        if found:
            await self.write(lambda connection: _put(connection, table, seal, found))
        if last is not None:
            return _place(number, last)
        if number + 1 < len(_TABLES):
            return _place(number + 1, _TABLES[number + 1].first)
        await self.empty_wal()
        return None


def _walk(
    connection: Connection, table: _Table, after: _Name, limit: int
) -> tuple[list[_Name], _Name | None]:
    """Return names of sealed values, and where to go on; None at the end of the table."""
    found: list[_Name] = []
    looked = 0
    for *name, is_sealed in connection.execute(table.walk, (*after, LOOKED)):
        looked, after = looked + 1, tuple(name)
        if is_sealed:
            found.append(after)
        if len(found) == limit:
            return found, after
    return found, after if looked == LOOKED else None


def _value(connection: Connection, table: _Table, name: _Name) -> bytes:
    """Return a value as it is kept; empty where it has gone."""
    rows = connection.execute(table.read, name).fetchall()
    return rows[0][0] if rows else b""


def _anew(table: _Table, seal: _Seal, old: bytes) -> bytes:
    if not table.packed:
        return seal(old)
    text = unpack(old)
    return pack(seal(text)) if text else old  # a body that never came was not sealed either


def _put(connection: Connection, table: _Table, seal: _Seal, found: dict[_Name, tuple[bytes, bytes]]) -> None:
    with overwriting(connection):
        for name, (old, new) in found.items():
            kept = _value(connection, table, name)
            if not kept:
                continue
            value = new if kept == old else _anew(table, seal, kept)
            if value != kept:
                connection.execute(table.write, (value, *name))


def _place(number: int, name: _Name) -> str:
    return msgspec.json.encode((number, name)).decode()


def _at(place: str) -> tuple[int, _Name]:
    number, name = msgspec.json.decode(place, type=tuple[int, list[str | int]])
    return number, tuple(name)
