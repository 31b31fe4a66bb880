"""A store whose process may be killed at any write: before it, or after it and before the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from tests.runtime.providers import Killed, Model
from trigflow.stores.memory import MemoryStore

WRITES = frozenset(
    {
        "put_wants", "look_soon", "create_subscriptions", "save_subscription", "save_rotated", "add_key",
        "keep_webhook", "retire_keys", "remove_subscription", "release_held", "claim_subscription",
        "release_subscription", "look_again", "log_registration",
    }
)  # fmt: skip


@attrs.define
class Mortal:
    """One process's way to a store; a dead one writes nothing, not even while it unwinds."""

    store: MemoryStore
    model: Model
    dies_at: int | None = None  # the number of the write, from 0
    dies_after: bool = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        return self._write(found) if name in WRITES else found

    def _write(self, call: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def write(*args: object, **options: object) -> object:
            if self.model.is_dead:
                raise Killed
            is_last = self.dies_at == 0
            self.dies_at = None if self.dies_at is None else self.dies_at - 1
            if is_last and not self.dies_after:
                self.model.is_dead = True
                raise Killed
            done = await call(*args, **options)
            if is_last:
                self.model.is_dead = True
                raise Killed
            return done

        return write
