"""A GitHub App and its installations, as GitHub's API shows them."""

from datetime import datetime

import attrs

from trigflow import Payload, payload
from trigflow_github.payloads.resources import GitHubApp


@payload
class AppDetail(GitHubApp):
    """A GitHub App; events: those ticked in its settings, beside the ones that every App gets.

    permissions: "read", "write" or "admin" by name, such as "issues".
    """

    events: tuple[str, ...] = ()
    permissions: dict[str, str] | None = None


@payload
class InstallationAccount(Payload):
    """A person or an organization; an enterprise has a slug instead of a login."""

    id: int
    login: str | None = None
    slug: str | None = None


@payload
class InstallationDetail(Payload):
    """Where a GitHub App is installed; a suspended installation gives no tokens."""

    id: int
    account: InstallationAccount | None = None
    repository_selection: str | None = None
    events: tuple[str, ...] = ()
    suspended_at: datetime | None = None


@payload
class InstallationToken(Payload):
    """What an App acts with in one installation, for an hour."""

    token: str = attrs.field(repr=False)
    expires_at: datetime


@payload
class ListedRepository(Payload):
    """A repository in a list."""

    full_name: str
    private: bool = False
    archived: bool = False


@payload
class ListedOrganization(Payload):
    """An organization in a list."""

    login: str
    description: str | None = None


@payload
class InstallationRepositories(Payload):
    """A page of the repositories that an installation may see."""

    total_count: int
    repositories: tuple[ListedRepository, ...]
