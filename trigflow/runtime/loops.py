"""How another thread speaks to the event loop, on asyncio and trio alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from anyio.lowlevel import current_token

Caller: TypeAlias = Callable[[Callable[[], object]], object]


def caller_of_this_loop() -> Caller:
    """Return what makes the running loop call a function soon; it may be used in any thread.

    anyio's own from_thread.run_sync waits for the result, which would make a
    thread stand still for each call.
    """
    native = current_token().native_token
    caller: Caller = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    return caller
