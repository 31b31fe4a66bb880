"""GitHub's repository and organization webhooks as one source.

Facts: docs.github.com, "Webhook events and payloads", "Validating webhook
deliveries" and "REST API endpoints for repository webhooks".
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence

import attrs

from trigflow import (
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    NotFound,
    Registration,
    Secret,
    SetupError,
    Webhook,
    WebhookApi,
    hmac_sha256,
    json_or_form,
)
from trigflow_github.client import GitHubClient

# Letters, digits, "-", "_" and "."; the first character of an owner is a letter or a digit.
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_ORG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
REMEDY = 'give repo="owner/name" or org="name" to the event, or to the integration: GitHub(repo="owner/name")'


@attrs.frozen(kw_only=True)
class Place:
    """Where a webhook is: in one repository, or in an organization for all of its repositories."""

    repo: str | None = None
    org: str | None = None


@attrs.frozen
class HookId:
    """What is kept of a webhook: its number at GitHub."""

    id: int


def _key(place: Place) -> str:
    """Name the webhook of a place; GitHub's names are the same in any case."""
    if place.repo is not None and place.org is not None:
        raise SetupError("both repo= and org= are given, which are two webhooks; give one")
    if place.repo is not None:
        return f"repo:{_checked(place.repo, _REPO, 'owner/name')}"
    if place.org is not None:
        return f"org:{_checked(place.org, _ORG, 'name')}"
    raise SetupError(f"nothing says which webhook to make; {REMEDY}")


def _checked(name: str, pattern: re.Pattern[str], shape: str) -> str:
    if not pattern.fullmatch(name):
        raise SetupError(f"{name!r} is not the name of a place at GitHub; write {shape!r}")
    return name.lower()


async def _list(place: Place, hub: GitHubClient) -> Sequence[Webhook[HookId]]:
    hooks = await hub.hooks(repo=place.repo, org=place.org)
    return [Webhook(hook.config.url or "", hook.events, HookId(hook.id), hook.active) for hook in hooks]


async def _create(reg: Registration[Place, HookId], hub: GitHubClient) -> Webhook[HookId]:
    hook = await hub.create_hook(
        repo=reg.params.repo, org=reg.params.org, url=reg.url, secret=reg.secret, events=reg.events.desired
    )
    return Webhook(reg.url, hook.events, HookId(hook.id), hook.active)


async def _update(
    reg: Registration[Place, HookId], webhook: Webhook[HookId], hub: GitHubClient
) -> Webhook[HookId]:
    # The secret goes along every time: a PATCH of the config without it takes it away.
    hook = await hub.update_hook(
        webhook.data.id,
        repo=reg.params.repo,
        org=reg.params.org,
        url=reg.url,
        secret=reg.secret,
        events=reg.events.desired,
        active=True,
    )
    return Webhook(reg.url, hook.events, HookId(hook.id), hook.active)


async def _delete(reg: Registration[Place, HookId], webhook: Webhook[HookId], hub: GitHubClient) -> None:
    with contextlib.suppress(NotFound):
        await hub.delete_hook(webhook.data.id, repo=reg.params.repo, org=reg.params.org)


webhook: ExternalSource[Place, GitHubClient, HookId] = ExternalSource(
    "github.webhook",
    params=Place,
    client=GitHubClient,
    data=HookId,
    key=_key,
    secret=Secret.GENERATED,
    # The signature is over the raw body, also where the body is a form.
    verify=hmac_sha256("X-Hub-Signature-256", prefix="sha256="),
    decode=json_or_form("payload"),
    api=WebhookApi(list=_list, create=_create, update=_update, delete=_delete),
    instructions=(
        "in the repository's or organization's settings, under Webhooks, add the URL with content type "
        "application/json, the secret and the events"
    ),
)


@webhook.handler
def handle(delivery: Delivery[Place, HookId]) -> Iterable[Event | Ignored]:
    """Return the one event of a delivery; a redelivery has the same X-GitHub-Delivery."""
    name, guid = delivery.headers.get("x-github-event"), delivery.headers.get("x-github-delivery")
    if not name or not guid:
        return [Ignored("not-an-event")]
    return [Event(name, guid)]


@webhook.sample
def sample(event: str, _payload: bytes, id: str) -> Sequence[tuple[str, str]]:  # noqa: A002 - the hook's word
    """Return GitHub's own header fields of a delivery."""
    return [("X-GitHub-Event", event), ("X-GitHub-Delivery", id)]
