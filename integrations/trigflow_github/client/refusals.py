"""What an answer of GitHub that is no success means, and what to do about it.

Pure: takes the time as an argument. Never quotes a request, so no token can show up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import cast

import attrs
import msgspec

from trigflow import ApiError, Forbidden, NotFound, RateLimited, Unauthorized

# GitHub asks for at least a minute after a secondary limit that names no time.
UNKNOWN_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(days=1)  # whoever asks for more is mistaken

# What it says where no header does; "abuse" is how older GitHub Enterprise Servers word the secondary limit.
_LIMITS = ("rate limit", "abuse detection")

# What GitHub says of a webhook that it does not take, and what helps.
_REMEDIES = {
    "hook already exists": "another webhook has this URL and one of these events; apply again, and what is "
    "trigflow's own is taken over; if it stays so, remove the other one in the settings, under Webhooks",
    "cannot have more than": "so many webhooks of one place take this event at most; remove one that nobody "
    "needs in the settings, under Webhooks, or use the webhook of the organization or of a GitHub App",
    "reachable over the public internet": "GitHub must reach the URL from outside: set TRIGFLOW_URL to your "
    "public address",
}

# [0-9], not \d: that takes digits which int() refuses. Bounded, as the header is not ours.
_SECONDS = re.compile("[0-9]{1,12}")


def refusal(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> ApiError | Unauthorized:
    """Make the error for an answer; what: the request, without secrets.

    headers: names in lower case.
    """
    message = _message(body) or _phrase(status)
    if _is_rate_limit(status, headers, message):
        return RateLimited(what, status, message, _again_at(headers, now=now))
    if status == HTTPStatus.UNAUTHORIZED:
        return Unauthorized(f"{what}: GitHub refuses the token ({message}); make a new one")
    if status == HTTPStatus.FORBIDDEN:
        return Forbidden(f"{what}: the token may not do this ({message}){_wanted(headers)}", _needs(headers))
    if status == HTTPStatus.NOT_FOUND:
        hint = "it does not exist or the token may not see it: a missing scope or permission looks the same"
        return NotFound(what, status, f"{message}; {hint}{_wanted(headers)}")
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return ApiError(what, status, f"{message}{_remedy(message)}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ApiError(what, status, f"{message}; was it renamed? use the name that it has now")
    return ApiError(what, status, message)


def _is_rate_limit(status: int, headers: Mapping[str, str], message: str) -> bool:
    """Tell a limit from a missing permission: both may be a 403."""
    if status not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return False
    said = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    return status == HTTPStatus.TOO_MANY_REQUESTS or said or any(word in message.lower() for word in _LIMITS)


def _again_at(headers: Mapping[str, str], *, now: datetime) -> datetime:
    wait = _number(headers.get("retry-after"))
    if wait is not None:
        return _bounded(timedelta(seconds=wait), now=now)
    reset = _number(headers.get("x-ratelimit-reset"))
    if reset is not None and headers.get("x-ratelimit-remaining") == "0":
        return _bounded(timedelta(seconds=reset - now.timestamp()), now=now)
    return now + UNKNOWN_WAIT


def _bounded(wait: timedelta, *, now: datetime) -> datetime:
    return (now + min(max(wait, timedelta()), LONGEST_WAIT)).astimezone(UTC)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _SECONDS.fullmatch(text) else None


def _remedy(message: str) -> str:
    said = message.lower()
    return next((f"; {remedy}" for phrase, remedy in _REMEDIES.items() if phrase in said), "")


def _needs(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what the token lacks whatever it is used for; nothing where it may lack a role in one place."""
    permissions = headers.get("x-accepted-github-permissions")
    if permissions:
        return (f"the permission {permissions}",)
    accepted = _names(headers.get("x-accepted-oauth-scopes"))
    has = _names(headers.get("x-oauth-scopes"))
    lacks = "x-oauth-scopes" in headers and accepted and not accepted & has
    return tuple(f"the scope {name}" for name in sorted(accepted)) if lacks else ()


def _names(header: str | None) -> set[str]:
    return {name.strip() for name in (header or "").split(",") if name.strip()}


def _wanted(headers: Mapping[str, str]) -> str:
    """Say what GitHub would have accepted, as far as it tells."""
    permissions = headers.get("x-accepted-github-permissions")
    if permissions:
        return f"; give it the permission {permissions}"
    scopes, has = headers.get("x-accepted-oauth-scopes"), headers.get("x-oauth-scopes")
    if scopes and has is not None:
        return f"; it needs one of the scopes {scopes} and has {has or 'none'}"
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an unknown status"


def _message(body: bytes) -> str:
    """Join `message` and `errors` of an error body; "" where it has none."""
    try:
        said = msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return ": ".join(filter(None, [said.message, _details(said.errors)]))


@attrs.frozen
class _Said:
    message: str = ""
    errors: object = None


def _details(errors: object) -> str:
    try:
        return "; ".join(map(_detail, msgspec.convert(errors, list[object])))
    except msgspec.ValidationError:
        return ""


def _detail(error: object) -> str:
    """Say what one entry of `errors` says; it may be text or an object with or without a message."""
    if not isinstance(error, dict):
        return str(error)
    fields = cast("dict[str, object]", error)
    place = ".".join(str(fields[name]) for name in ("resource", "field") if fields.get(name))
    return str(fields.get("message") or f"{place} {fields.get('code') or 'is wrong'}".strip())
