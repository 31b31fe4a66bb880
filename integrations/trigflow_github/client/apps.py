"""The methods of the client for GitHub Apps, and for lists of what a token may see.

An App acts as itself, with its own JWT, or as one of its installations, with a token of theirs.
What a method needs stands with it; GitHub refuses the other.
"""

from __future__ import annotations

import re
from typing import TypeVar

from trigflow_github.client.connection import LARGEST_PAGE, Connection
from trigflow_github.client.paths import org_path, path_of
from trigflow_github.payloads import (
    AppDetail,
    HookConfig,
    HookDeliveryDetail,
    InstallationDetail,
    InstallationRepositories,
    InstallationToken,
    ListedOrganization,
    ListedRepository,
)

T = TypeVar("T")

_PAGE = re.compile("[1-9][0-9]{0,5}")
APP_DELIVERIES = "/app/hook/deliveries"


class Apps(Connection):
    """GitHub Apps: the App itself, its one webhook, its installations."""

    async def app(self) -> AppDetail:
        """Tell which App it is (as the App)."""
        return (await self.request("GET", "/app")).decode(AppDetail)

    async def app_hook(self) -> HookConfig:
        """Get the configuration of the App's webhook (as the App)."""
        return (await self.request("GET", "/app/hook/config")).decode(HookConfig)

    async def configure_app_hook(self, *, url: str, secret: str) -> HookConfig:
        """Set where the App's webhook sends to, and its secret (as the App); it always sends JSON."""
        told = {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret}
        return (await self.request("PATCH", "/app/hook/config", json=told)).decode(HookConfig)

    async def app_delivery(self, delivery_id: int) -> HookDeliveryDetail:
        """Get an attempt of the App's webhook with what was sent (as the App)."""
        path = path_of("app", "hook", "deliveries", delivery_id)
        return (await self.request("GET", path)).decode(HookDeliveryDetail)

    async def redeliver_app(self, delivery_id: int) -> None:
        """Have GitHub deliver again (as the App); the new attempt carries the old GUID."""
        await self.request("POST", path_of("app", "hook", "deliveries", delivery_id, "attempts"))

    async def installations(self) -> list[InstallationDetail]:
        """List where the App is installed (as the App)."""
        return [found async for found in self.paginate("/app/installations", InstallationDetail)]

    async def installation_token(self, installation_id: str) -> InstallationToken:
        """Make a token of an installation, good for an hour (as the App)."""
        path = path_of("app", "installations", installation_id, "access_tokens")
        return (await self.request("POST", path)).decode(InstallationToken)

    async def installation_repositories(
        self, page: str | None = None, *, per_page: int = LARGEST_PAGE
    ) -> tuple[InstallationRepositories, str | None]:
        """Return a page of the repositories that an installation may see, and the next page's name."""
        answer = await self.request(
            "GET", "/installation/repositories", query={"per_page": per_page, "page": _number(page)}
        )
        return answer.decode(InstallationRepositories), _following(page, answer.next)

    async def repositories(self, page: str | None = None) -> tuple[list[ListedRepository], str | None]:
        """Return a page of the repositories that a person's token may see, and the next page's name."""
        return await self._page("/user/repos", ListedRepository, page, sort="full_name")

    async def organizations(self, page: str | None = None) -> tuple[list[ListedOrganization], str | None]:
        """Return a page of the organizations that a person's token may see, and the next page's name."""
        return await self._page("/user/orgs", ListedOrganization, page)

    async def organization_repositories(
        self, org: str, page: str | None = None
    ) -> tuple[list[ListedRepository], str | None]:
        """Return a page of the repositories of an organization, and the next page's name."""
        return await self._page(org_path(org, "repos"), ListedRepository, page, sort="full_name")

    async def _page(
        self, path: str, kind: type[T], page: str | None, **query: str
    ) -> tuple[list[T], str | None]:
        asked: dict[str, str | int] = {**query, "per_page": LARGEST_PAGE, "page": _number(page)}
        answer = await self.request("GET", path, query=asked)
        found = answer.decode(list[kind])  # type: ignore[valid-type]  # a type variable, at run time a class
        return found, _following(page, answer.next)


def _number(page: str | None) -> int:
    """Read a page's name, which is its number; it may come from a form, so it is never a URL."""
    if page is not None and not _PAGE.fullmatch(page):
        raise ValueError(f"{page[:20]!r} is not a page; start again without one")
    return 1 if page is None else int(page)


def _following(page: str | None, link: str | None) -> str | None:
    return None if link is None else str(_number(page) + 1)
