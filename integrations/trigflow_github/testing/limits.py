"""How GitHub refuses who asks too often."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from trigflow.testing.fake_server import Reply

_LIMITS = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"
_SECONDARY = (
    "https://docs.github.com/free-pro-team@latest/rest/overview/"
    "rate-limits-for-the-rest-api#about-secondary-rate-limits"
)


def primary_limit(status: int, *, now: datetime, wait: timedelta, limit: int) -> Reply:
    """Word the refusal of a used-up limit."""
    headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Used": str(limit),
        "X-RateLimit-Reset": str(int((now + wait).timestamp())),
    }
    return _limited(status, "API rate limit exceeded for user ID 583231.", _LIMITS, headers)


def secondary_limit(status: int, *, retry_after: int | None) -> Reply:
    """Word the refusal of too much at once; retry_after: seconds, None where GitHub names no time."""
    message = (
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
        "If you reach out to GitHub Support for help, please include the request ID FAKE:1."
    )
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return _limited(status, message, _SECONDARY, headers)


def _limited(status: int, message: str, url: str, headers: Mapping[str, str]) -> Reply:
    body: dict[str, Any] = {"documentation_url": url, "message": message, "status": str(status)}
    return Reply(status, body, headers)
