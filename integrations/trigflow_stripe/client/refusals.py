"""What an answer of Stripe that is no success means, and what to do about it.

Pure: takes the time as an argument. Never quotes a request, and takes out of what Stripe
says whatever looks like a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import attrs
import msgspec

from trigflow import ApiError, Forbidden, NotFound, RateLimited, Unauthorized

# Stripe documents no Retry-After; it asks for exponential backoff.
UNKNOWN_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(days=1)  # whoever asks for more is mistaken

# [0-9], not \d: that takes digits which int() refuses. Bounded, as the header is not ours.
_SECONDS = re.compile("[0-9]{1,12}")
# Stripe masks most of a key that it refuses; what is left is nobody's business either.
_KEY = re.compile(r"\b(sk|rk|pk|whsec|ek)_[A-Za-z0-9_*]+")


# How a refusal of a restricted key names what it lacks. Seen in answers, but documented nowhere.
_PERMISSION = re.compile(r"'(rak_[a-z_]+)'")


class NotPermitted(Forbidden):
    """The key is good, but may not do this; permissions: by Stripe's names, where it told them."""

    def __init__(self, text: str, permissions: tuple[str, ...]) -> None:
        super().__init__(text, tuple(f"the permission {name}" for name in permissions))
        self.permissions = permissions


def refusal(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> ApiError | Unauthorized:
    """Make the error for an answer; what: the request, without secrets.

    headers: names in lower case.
    """
    said = _said(body)
    message = _KEY.sub(r"\1_***", said.message) or _phrase(status)
    if said.param:
        message += f" (parameter {said.param})"
    if status == HTTPStatus.TOO_MANY_REQUESTS or said.code == "rate_limit":
        reason = headers.get("stripe-rate-limited-reason")
        told = f"{message} ({reason})" if reason else message
        return RateLimited(what, status, told, _again_at(headers, now=now))
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthorized(f"{what}: Stripe refuses the API key ({message}); set STRIPE_API_KEY anew")
    if status == HTTPStatus.FORBIDDEN:
        text = f"{what}: the API key may not do this ({message}); give it the permission"
        return NotPermitted(text, _permissions(said.message))
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(what, status, f"{message}; it does not exist, or not in the mode of the key")
    return ApiError(what, status, message)


def _permissions(message: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PERMISSION.findall(message)))


@attrs.frozen
class _Error:
    message: str = ""
    code: str | None = None
    param: str | None = None


@attrs.frozen
class _Said:
    error: _Error = _Error()


def _said(body: bytes) -> _Error:
    try:
        return msgspec.json.decode(body, type=_Said).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error()


def _again_at(headers: Mapping[str, str], *, now: datetime) -> datetime:
    asked = headers.get("retry-after", "")
    wait = timedelta(seconds=int(asked)) if _SECONDS.fullmatch(asked) else UNKNOWN_WAIT
    return (now + min(wait, LONGEST_WAIT)).astimezone(UTC)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"
