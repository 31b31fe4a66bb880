"""What GitHub's log of deliveries has that never arrived.

    attempts, newest first ─> back to `since` ─> those of events that no attempt delivered ─> their payloads

An event is its GUID: attempts at the same event share it, and one that succeeded is enough.
GitHub keeps the log for days only; how long is its own affair, and it does not say what it dropped.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs
import msgspec

from trigflow import Headers, Lost, Missed, NotFound, Registration
from trigflow_github.client import GitHubClient
from trigflow_github.client.apps import APP_DELIVERIES
from trigflow_github.client.paths import hooks_path
from trigflow_github.payloads import HookDelivery, HookDeliveryDetail
from trigflow_github.place import HookId, Place

# Attempts are listed as they were made, but shown with the time at which they ended.
SLACK = timedelta(minutes=5)


@attrs.frozen
class _Undelivered:
    """An event that no attempt delivered: its newest attempt, and when the first was made."""

    attempt: HookDelivery
    first_at: datetime


async def recover(
    reg: Registration[Place, HookId], since: datetime, hub: GitHubClient
) -> AsyncGenerator[Missed | Lost, None]:
    """Yield each event that GitHub failed to deliver since then, oldest first, once.

    Nothing where the webhook is not there: then GitHub has no log of it either. Nothing for an
    installation: the App reads the log of its webhook, for all of them.
    """
    if reg.params.app and hub.acts_as != "app":
        return
    hook_id = await _hook_id(reg, hub)
    if hook_id is None:
        return
    undelivered = await _undelivered(reg.params, hook_id, since, hub)
    for event in sorted(undelivered, key=lambda found: found.first_at):
        yield await _read(reg.params, hook_id, event, hub)


async def _hook_id(reg: Registration[Place, HookId], hub: GitHubClient) -> int | None:
    """Return the webhook's number; of one that was made by hand, by its URL."""
    if reg.params.app:
        return 0  # an App has one, without a number
    if reg.data is not None:
        return reg.data.id
    hooks = await hub.hooks(repo=reg.params.repo, org=reg.params.org)
    return next((hook.id for hook in hooks if hook.config.url == reg.url), None)


async def _undelivered(place: Place, hook_id: int, since: datetime, hub: GitHubClient) -> list[_Undelivered]:
    """Find the failed events; those that arrived are asked for only where one failed: they are the many."""
    found: dict[str, _Undelivered] = {}
    async for attempt in _attempts(place, hook_id, since, hub, "failure"):
        if not _arrived(attempt):
            newest = found[attempt.guid].attempt if attempt.guid in found else attempt
            found[attempt.guid] = _Undelivered(newest, attempt.delivered_at)
    if found:
        async for attempt in _attempts(place, hook_id, since, hub, "success"):
            if _arrived(attempt):
                found.pop(attempt.guid, None)
    return list(found.values())


async def _attempts(
    place: Place, hook_id: int, since: datetime, hub: GitHubClient, status: Literal["success", "failure"]
) -> AsyncIterator[HookDelivery]:
    path = APP_DELIVERIES if place.app else hooks_path(place.repo, place.org, hook_id, "deliveries")
    async with aclosing(hub.paginate(path, HookDelivery, query={"status": status})) as pages:
        async for attempt in pages:
            if attempt.delivered_at < since - SLACK:
                break
            if attempt.delivered_at >= since:
                yield attempt


def _arrived(attempt: HookDelivery) -> bool:
    return 200 <= attempt.status_code < 300 and attempt.status == "OK"


async def _read(place: Place, hook_id: int, event: _Undelivered, hub: GitHubClient) -> Missed | Lost:
    attempt = event.attempt
    try:
        whole = await _detail(place, hook_id, attempt.id, hub)
    except NotFound:
        return Lost(event.first_at, f"GitHub has let go of delivery {attempt.guid} ({attempt.event})")
    if whole.request.payload is None:
        return Lost(event.first_at, f"GitHub keeps no payload of delivery {attempt.guid} ({attempt.event})")
    return Missed(msgspec.json.encode(whole.request.payload), event.first_at, _headers(whole))


async def _detail(place: Place, hook_id: int, delivery_id: int, hub: GitHubClient) -> HookDeliveryDetail:
    if place.app:
        return await hub.app_delivery(delivery_id)
    return await hub.hook_delivery(hook_id, delivery_id, repo=place.repo, org=place.org)


def _headers(whole: HookDeliveryDetail) -> Headers:
    """Return GitHub's own fields of the request; nothing that proves who sent it, and JSON as the type.

    The log has the payload as JSON, also where the webhook sends forms.
    """
    sent: Mapping[str, Any] = whole.request.headers or {}
    own = {name: value for name, value in sent.items() if name.lower().startswith("x-github-")}
    texts = {name.lower(): value for name, value in own.items() if isinstance(value, str)}
    return Headers.of(
        {
            **texts,
            "x-github-event": whole.event,
            "x-github-delivery": whole.guid,
            "content-type": "application/json",
        }
    )
