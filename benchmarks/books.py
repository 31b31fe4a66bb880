"""Where a contender keeps what it has finished, and how much that is."""

from __future__ import annotations

import sqlite3
import urllib.request
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs


@attrs.frozen
class Place:
    """What books may be read from."""

    port: int
    database: Path
    service: str


class Books(Protocol):
    """Counts finished work."""

    def count(self, place: Place) -> int:
        """Return how much work is finished."""
        ...


@attrs.frozen
class Told:
    """By the app itself, which keeps nothing else: GET /count."""

    def count(self, place: Place) -> int:
        """Ask the app."""
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/count") as answer:
            return int(answer.read())


@attrs.frozen
class Sqlite:
    """In a SQLite file."""

    query: str

    def count(self, place: Place) -> int:
        """Ask the file."""
        db = sqlite3.connect(f"file:{place.database}?mode=ro", uri=True, timeout=30)
        try:
            return int(db.execute(self.query).fetchone()[0])
        finally:
            db.close()


@attrs.frozen
class Postgres:
    """In a PostgreSQL database."""

    query: str

    def count(self, place: Place) -> int:
        """Ask the database."""
        import psycopg

        with psycopg.connect(place.service) as db:
            row = db.execute(self.query.encode()).fetchone()
            return int(row[0]) if row else 0


@attrs.frozen
class Redis:
    """As the keys of one of Redis' databases."""

    number: int

    def count(self, place: Place) -> int:
        """Ask Redis."""
        import redis

        address = urlsplit(place.service)
        client: Any = redis.Redis(address.hostname or "", address.port or 0, self.number)
        try:
            return int(client.dbsize())
        finally:
            client.close()
