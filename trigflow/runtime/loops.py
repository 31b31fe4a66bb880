"""What anyio leaves to the event loops, on asyncio and trio alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from anyio.lowlevel import current_token

Caller: TypeAlias = Callable[[Callable[[], object]], object]


def caller_of_this_loop() -> Caller:
    """Return what makes the running loop call a function soon; it may be used in any thread.

    anyio's own from_thread.run_sync waits for the result, which would make a
    thread stand still for each call.
    """
    native: Any = current_token().native_token
    caller: Caller = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    return caller


def is_being_cancelled() -> bool:
    """Tell whether a cancellation error that was caught is meant for this task.

    On asyncio, code that awaits somebody else's cancelled task raises one that is
    not. On trio there is no such thing.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or task.cancelling() > 0
