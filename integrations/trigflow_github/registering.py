"""How a webhook of a repository, an organization or a GitHub App is listed, made, changed and deleted.

                repository, organization         GitHub App
    list        all of them                      its one webhook
    create      POST                             PATCH, where the webhook leads nowhere yet
    update      PATCH                            PATCH
    delete      DELETE                           by a person: GitHub has no call for it
    events      as told                          as ticked in the App's settings: no call either

A refusal that a person can mend is a RegistrationError that says how.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from trigflow import NotFound, Registration, RegistrationError, Unauthorized, Webhook, WebhookApi
from trigflow_github.client import GitHubClient
from trigflow_github.grants import named
from trigflow_github.payloads import AppDetail
from trigflow_github.place import HookId, Place

# Every App gets them, ticked or not, and its settings do not list them.
ALWAYS_SENT = ("github_app_authorization", "installation", "installation_repositories")
# Names that are nobody's (RFC 2606, RFC 6761): what people enter where a form wants some URL.
_NOBODYS = ("example.com", "example.net", "example.org", "example", "invalid", "test", "localhost")


async def list_webhooks(place: Place, hub: GitHubClient) -> Sequence[Webhook[HookId]]:
    """List the webhooks of a place; an App has one, or none while its URL is empty."""
    if place.app:
        return await _list_app(hub)
    hooks = await hub.hooks(repo=place.repo, org=place.org)
    return [Webhook(hook.config.url or "", hook.events, HookId(hook.id), hook.active) for hook in hooks]


async def create_webhook(reg: Registration[Place, HookId], hub: GitHubClient) -> Webhook[HookId]:
    """Make the webhook; the one of an App is taken only where it leads nowhere yet or to us."""
    if reg.params.app:
        await _check_free(reg, hub)
        return await _configure_app(reg, hub)
    hook = await hub.create_hook(
        repo=reg.params.repo, org=reg.params.org, url=reg.url, secret=reg.secret, events=reg.events.desired
    )
    return Webhook(reg.url, hook.events, HookId(hook.id), hook.active)


async def update_webhook(
    reg: Registration[Place, HookId], webhook: Webhook[HookId], hub: GitHubClient
) -> Webhook[HookId]:
    """Leave the webhook with URL, secret and events as wanted."""
    if reg.params.app:
        return await _configure_app(reg, hub)
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


async def delete_webhook(
    reg: Registration[Place, HookId], webhook: Webhook[HookId], hub: GitHubClient
) -> None:
    """Delete the webhook; RegistrationError where it is an App's that still leads to us."""
    if reg.params.app:
        await _check_left(webhook, hub)
        return
    try:
        await hub.delete_hook(webhook.data.id, repo=reg.params.repo, org=reg.params.org)
    except NotFound:
        await _check_gone(reg.params, webhook.data, hub)


API: WebhookApi[Place, GitHubClient, HookId] = WebhookApi(
    list=list_webhooks, create=create_webhook, update=update_webhook, delete=delete_webhook
)


async def _list_app(hub: GitHubClient) -> Sequence[Webhook[HookId]]:
    app, url = await _app(hub), await _app_url(hub)
    return [Webhook(url, app.events, HookId(app.id), fixed=True)] if url else []


async def _configure_app(reg: Registration[Place, HookId], hub: GitHubClient) -> Webhook[HookId]:
    """Set URL and secret first: what is ticked then comes, whatever is missing."""
    app = await _app(hub)
    await hub.configure_app_hook(url=reg.url, secret=reg.secret)
    unticked = [name for name in reg.events.desired if name not in (*app.events, *ALWAYS_SENT)]
    if unticked:
        unsent = ", ".join(named(unticked, app))
        raise RegistrationError(
            f"the App {app.name} is not sent {unsent}, and no call can change that; in the App's "
            "settings, under Permissions & events, grant what these events need, tick them under "
            "Subscribe to events, and have each installation accept new permissions"
        )
    always = [name for name in reg.events.desired if name in ALWAYS_SENT and name not in app.events]
    return Webhook(reg.url, (*app.events, *always), HookId(app.id), fixed=True)


async def _check_free(reg: Registration[Place, HookId], hub: GitHubClient) -> None:
    """Refuse to turn a webhook away from whoever has it: an App has just one."""
    url = await _app_url(hub)
    if url and reg.mark not in url and not _is_nobodys(url):
        raise RegistrationError(
            f"the App's one webhook leads to {urlsplit(url).netloc} already; if nobody needs it there, enter "
            "the URL that `trigflow endpoints` shows as Webhook URL in the App's settings; else make "
            "an App of its own for this deployment"
        )


async def _check_left(webhook: Webhook[HookId], hub: GitHubClient) -> None:
    app = await _app(hub)
    if await _app_url(hub) == webhook.url:
        raise RegistrationError(
            f"the webhook of the App {app.name} can't be removed by a call; in the App's settings enter "
            "another Webhook URL and untick Active, or delete the App. What arrives until then is ignored"
        )


async def _check_gone(place: Place, hook: HookId, hub: GitHubClient) -> None:
    """Tell a webhook that is gone from one that the token may not delete: both are "not found"."""
    with contextlib.suppress(NotFound):
        await hub.hook(hook.id, repo=place.repo, org=place.org)
        raise Unauthorized(
            f"webhook {hook.id} is there, but the token may not delete it; give it the scope admin:repo_hook "
            "(admin:org_hook for an organization), or the permission to write webhooks"
        )


async def _app(hub: GitHubClient) -> AppDetail:
    if hub.acts_as != "app":
        raise Unauthorized(
            "an App's webhook is looked after by the App itself, not with the token of a person or an "
            "installation; set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, without GITHUB_APP_INSTALLATION_ID"
        )
    return await hub.app()


async def _app_url(hub: GitHubClient) -> str:
    """Return where the App's webhook leads; "" where it has none."""
    try:
        return (await hub.app_hook()).url or ""
    except NotFound:
        return ""


def _is_nobodys(url: str) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".")
    return not host or any(host == name or host.endswith(f".{name}") for name in _NOBODYS)
