"""The methods of the client for webhooks of repositories and organizations."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Literal

from trigflow_github.client.connection import LARGEST_PAGE, Connection
from trigflow_github.client.paths import given, hooks_path, listed
from trigflow_github.payloads import Hook, HookDelivery, HookDeliveryDetail

DeliveryStatus = Literal["success", "failure"]


class Hooks(Connection):
    """Webhooks, named by `repo` ("owner/name") or `org`."""

    async def hooks(self, *, repo: str | None = None, org: str | None = None) -> list[Hook]:
        """List the webhooks; OAuth apps see their own only."""
        return [hook async for hook in self.paginate(hooks_path(repo, org), Hook)]

    async def hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> Hook:
        """Get a webhook."""
        return (await self.request("GET", hooks_path(repo, org, hook_id))).decode(Hook)

    async def create_hook(
        self,
        url: str,
        events: Iterable[str],
        *,
        repo: str | None = None,
        org: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] = "json",
        active: bool = True,
    ) -> Hook:
        """Make a webhook; GitHub sends a ping to it at once, maybe before this returns."""
        config = given(url=url, content_type=content_type, insecure_ssl="0", secret=secret)
        told = {"name": "web", "active": active, "events": listed(events), "config": config}
        return (await self.request("POST", hooks_path(repo, org), json=told)).decode(Hook)

    async def update_hook(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        events: Iterable[str] | None = None,
        add_events: Iterable[str] | None = None,
        remove_events: Iterable[str] | None = None,
        active: bool | None = None,
        url: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] = "json",
    ) -> Hook:
        """Change a webhook; always give `url` and `secret`, or GitHub removes the secret.

        events: replaces all; add_events, remove_events: for webhooks of a repository only.
        To change parts of the configuration, and to keep the secret: `configure_hook`.
        Raises ValueError for a secret without a url: GitHub takes the configuration whole.
        """
        if url is None and secret is not None:
            raise ValueError("give the url with the secret, or change the secret alone with configure_hook")
        if repo is None and (add_events is not None or remove_events is not None):
            raise ValueError("webhooks of an organization take no add_events or remove_events; give events")
        config = given(url=url, content_type=content_type, insecure_ssl="0", secret=secret) if url else None
        told = given(
            events=listed(events),
            add_events=listed(add_events),
            remove_events=listed(remove_events),
            active=active,
            config=config,
        )
        return (await self.request("PATCH", hooks_path(repo, org, hook_id), json=told)).decode(Hook)

    async def configure_hook(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        url: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] | None = None,
    ) -> None:
        """Change what is given of a webhook's configuration and keep the rest, its secret too."""
        told = given(url=url, secret=secret, content_type=content_type)
        await self.request("PATCH", hooks_path(repo, org, hook_id, "config"), json=told)

    async def delete_hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> None:
        """Delete a webhook."""
        await self.request("DELETE", hooks_path(repo, org, hook_id))

    async def ping_hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> None:
        """Have GitHub send a ping."""
        await self.request("POST", hooks_path(repo, org, hook_id, "pings"))

    async def hook_deliveries(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        status: Literal["success", "failure"] | None = None,
        limit: int = LARGEST_PAGE,
    ) -> list[HookDelivery]:
        """List the latest attempts to deliver, newest first; at most `limit`."""
        found: list[HookDelivery] = []
        path, query = hooks_path(repo, org, hook_id, "deliveries"), given(status=status)
        pages = self.paginate(path, HookDelivery, query=query, per_page=min(limit, LARGEST_PAGE))
        async with aclosing(pages):
            async for delivery in pages:
                found.append(delivery)
                if len(found) >= limit:
                    break
        return found

    async def hook_delivery(
        self, hook_id: int, delivery_id: int, *, repo: str | None = None, org: str | None = None
    ) -> HookDeliveryDetail:
        """Get an attempt with what was sent; delivery_id: its number, not its GUID."""
        path = hooks_path(repo, org, hook_id, "deliveries", delivery_id)
        return (await self.request("GET", path)).decode(HookDeliveryDetail)

    async def redeliver(
        self, hook_id: int, delivery_id: int, *, repo: str | None = None, org: str | None = None
    ) -> None:
        """Have GitHub deliver again; the new attempt carries the old GUID."""
        await self.request("POST", hooks_path(repo, org, hook_id, "deliveries", delivery_id, "attempts"))
