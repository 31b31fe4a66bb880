"""GitHub's webhooks of repositories, organizations and Apps as one source.

Facts: docs.github.com, "Webhook events and payloads", "Validating webhook
deliveries" and "REST API endpoints for repository webhooks".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from trigflow import (
    Delivery,
    Event,
    ExternalSource,
    Ignored,
    Registration,
    RegistrationError,
    Secret,
    Signal,
    hmac_sha256,
    json,
    json_or_form,
)
from trigflow_github.client import GitHubClient
from trigflow_github.options import organizations, repositories
from trigflow_github.place import HookId, Place, key_of
from trigflow_github.recovery import recover
from trigflow_github.registering import API

__all__ = ["HookId", "Place", "handle", "ping", "sample", "webhook"]

ACCOUNTS_CHANGE = ("created", "deleted", "suspend", "unsuspend")

webhook: ExternalSource[Place, GitHubClient, HookId] = ExternalSource(
    "github.webhook",
    params=Place,
    client=GitHubClient,
    data=HookId,
    key=key_of,
    secret=Secret.GENERATED,
    # The signature is over the raw body, also where the body is a form.
    verify=hmac_sha256("X-Hub-Signature-256", prefix="sha256="),
    decode=json_or_form("payload"),
    api=API,
    # An App has one webhook; only there a delivery says whose it is.
    shared=lambda place: place.app,
    account=json("installation.id"),
    instructions=(
        "in the settings of the repository or organization, under Webhooks, add the URL with content type "
        "application/json, the secret and the events; in those of a GitHub App, enter URL and secret under "
        "Webhook, and tick the events under Permissions & events"
    ),
)

webhook.recover(recover)
webhook.options("repo")(repositories)
webhook.options("org")(organizations)


@webhook.ping
async def ping(reg: Registration[Place, HookId], hub: GitHubClient) -> None:
    """Have GitHub send a ping; RegistrationError for an App, which can't be pinged."""
    if reg.params.app:
        raise RegistrationError(
            "GitHub has no ping for an App's webhook; do something that it is sent, or have a delivery sent "
            "again in the App's settings, under Advanced"
        )
    if reg.data is None:
        raise RegistrationError("the webhook's number is not known; register it first, or ping it at GitHub")
    await hub.ping_hook(reg.data.id, repo=reg.params.repo, org=reg.params.org)


@webhook.handler
def handle(delivery: Delivery[Place, HookId]) -> Iterable[Event | Ignored | Signal]:
    """Return the one event of a delivery; a redelivery has the same X-GitHub-Delivery.

    An App's webhook is also told, always, where the App was installed, suspended or removed.
    """
    name, guid = delivery.headers.get("x-github-event"), delivery.headers.get("x-github-delivery")
    if not name or not guid:
        return [Ignored("not-an-event")]
    event = Event(name, guid)
    if name == "installation" and delivery.params.app:
        return [event, *_told_of_accounts(delivery.payload)]
    return [event]


def _told_of_accounts(payload: object) -> Iterable[Signal]:
    action = cast("dict[str, object]", payload).get("action") if isinstance(payload, dict) else None
    return [Signal("accounts", str(action))] if action in ACCOUNTS_CHANGE else []


@webhook.sample
def sample(event: str, _payload: bytes, id: str) -> Sequence[tuple[str, str]]:  # noqa: A002 - the hook's word
    """Return GitHub's own header fields of a delivery."""
    return [("X-GitHub-Event", event), ("X-GitHub-Delivery", id)]
