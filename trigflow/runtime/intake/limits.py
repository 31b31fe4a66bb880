"""How much a process takes in: so often per endpoint, so many requests and bytes at a time.

Pure: takes the time as an argument, reads no clock, waits for nothing. Memory is bounded whatever
is asked: an attacker may invent tokens as he likes.
"""

from __future__ import annotations

STRANGERS = ""  # the key that all tokens share that no endpoint is known for
MOST_KEYS = 10_000  # entries until those that say nothing are dropped


class Rates:
    """How often each endpoint may be called: so many at once, then so many a second.

    The generic cell rate algorithm (ITU-T I.371): of each key only the moment is kept when its
    allowance is whole again. A moment that has passed says what no entry says, so it may be dropped.
    """

    __slots__ = ("_ahead", "_prune_at", "_step", "_whole_at")

    def __init__(self, *, per_second: int, burst: int) -> None:
        """Allow `burst` calls at once and `per_second` after them; 0 a second: no limit."""
        self._step = 1 / per_second if per_second else 0.0  # seconds that one call takes off
        self._ahead = self._step * (burst - 0.99)  # .01 for what floats lose
        self._whole_at: dict[str, float] = {}
        self._prune_at = MOST_KEYS

    def wait(self, key: str, *, now: float) -> float:
        """Take one call off a key's allowance and return 0.0; else the seconds until it may come again.

        now: seconds on a clock that never goes back.
        """
        if not self._step:
            return 0.0
        whole_at = self._whole_at.get(key, now)
        if whole_at < now:  # noqa: PLR1730 - max() takes three times as long
            whole_at = now
        if whole_at - now > self._ahead:
            return whole_at - now - self._ahead
        self._whole_at[key] = whole_at + self._step
        if len(self._whole_at) > self._prune_at:
            self._prune(now)
        return 0.0

    def _prune(self, now: float) -> None:
        self._whole_at = {key: at for key, at in self._whole_at.items() if at > now}
        # Twice what is in use: the cost of dropping stays constant per call.
        self._prune_at = max(MOST_KEYS, 2 * len(self._whole_at))

    def __len__(self) -> int:
        return len(self._whole_at)


class Room:
    """The requests in flight, and the bytes of their bodies: from the first byte to the answer."""

    __slots__ = ("_bytes", "_most_bytes", "_most_requests", "_requests")

    def __init__(self, *, most_bytes: int, most_requests: int) -> None:
        """Hold so much at a time."""
        self._most_bytes, self._most_requests = most_bytes, most_requests
        self._bytes = self._requests = 0

    def enter(self, size: int) -> bool:
        """Take in a request that holds `size` bytes; False, and nothing taken, where there is no room."""
        if self._requests >= self._most_requests or self._bytes + size > self._most_bytes:
            return False
        self._requests += 1
        self._bytes += size
        return True

    def grow(self, size: int) -> bool:
        """Let a request hold `size` bytes more; False, and nothing taken, where there is no room."""
        if self._bytes + size > self._most_bytes:
            return False
        self._bytes += size
        return True

    def shrink(self, size: int) -> None:
        """Give back what `grow` took."""
        self._bytes -= size

    def leave(self, size: int) -> None:
        """Give back a request and all that it holds."""
        self._requests -= 1
        self._bytes -= size

    @property
    def requests(self) -> int:
        """Requests in flight."""
        return self._requests

    @property
    def bytes(self) -> int:
        """Bytes of bodies in flight."""
        return self._bytes
