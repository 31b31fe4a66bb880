"""GitHub as an integration: its events, its credentials, its client."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from trigflow import Account, Checked, Credentials, Specification, Trigger, When
from trigflow_github.accounts import ORG_HOOKS, accounts_of, check
from trigflow_github.app_auth import api_url
from trigflow_github.client import GitHubClient
from trigflow_github.events import GitHubEvents
from trigflow_github.grants import uncovered
from trigflow_github.settings import filter_of
from trigflow_github.source import webhook
from trigflow_github.ways import SCOPES, ways


class GitHub(GitHubEvents, id="github", auth=ways()):
    """Repositories, organizations and Apps on github.com or GitHub Enterprise Server.

    repo, org: where events come from unless a trigger says otherwise.
    app: events come through the webhook of a GitHub App, one for all of its installations;
        `repo` and `org` then choose among what it is sent, and make no webhooks.
    base_url: of the API; GitHub Enterprise Server has https://HOST/api/v3.
        Default: GITHUB_API_URL, else https://api.github.com.
    scopes: what a person is asked to agree to (OAuth); default: what webhooks need.
    """

    def __attrs_post_init__(self) -> None:
        """Have tokens made where the API is, not at a stranger's; an App goes before a token."""
        if type(self).auth is GitHub.auth:
            scopes = self.scopes or SCOPES + ORG_HOOKS * (self.org is not None)
            object.__setattr__(self, "auth", tuple(ways(self.base_url, app=self.app, scopes=scopes)))

    def client(self, credentials: Credentials) -> GitHubClient:
        """Make the client of a connection."""
        return GitHubClient(
            credentials["token"],
            base_url=api_url(self.base_url),
            installation=credentials.get("installation_id"),
        )

    async def check(self, client: GitHubClient) -> Checked:
        """Tell whose credentials they are, and which scopes they lack to make webhooks."""
        return await check(client, repo=self.repo is not None, org=self.org is not None)

    async def uncovered(self, client: GitHubClient, events: Collection[str]) -> Sequence[str]:
        """Name the events that a GitHub App's permissions don't cover, each with what it needs."""
        return await uncovered(client, events)

    async def accounts(self, client: GitHubClient) -> Sequence[Account]:
        """Return the installations of our App that are not suspended; none without an App."""
        return await accounts_of(client)

    def other(
        self,
        name: str,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[str] | None = None,
    ) -> Trigger[dict[str, Any]]:
        """Any event of GitHub by its name, as in X-GitHub-Event: for those that are newer than this package.

        Raises SetupError where GitHub does not send it to such a webhook.
        """
        found = self._where(name, repo, org, filter_of(actions))
        when = found if isinstance(found, When) else When(found, {})
        return Trigger(_untyped(name), when.params, f"github.other({name!r})", self, when.filter or None)


@cache
def _untyped(name: str) -> Specification:
    """Describe an event that has no class here; the same object each time."""
    registers = () if name == "ping" else (name,)
    return Specification(name, webhook, dict[str, Any], registers, f"GitHub's {name} event")


github: GitHub = GitHub()
