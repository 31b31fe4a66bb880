"""What `repo=` and `org=` may be: the repositories and organizations that a token may see.

A page's name is its number: it may come back from a form, and a URL must not.
"""

from __future__ import annotations

from trigflow import Choice, Choices
from trigflow_github.client import GitHubClient
from trigflow_github.payloads import ListedRepository


async def repositories(hub: GitHubClient, page: str | None) -> Choices:
    """List a page of repositories; an App itself sees none, its installations do."""
    if hub.acts_as == "app":
        return Choices(())
    if hub.acts_as == "installation":
        seen, following = await hub.installation_repositories(page)
        return Choices([_choice(one) for one in seen.repositories], following)
    listed, following = await hub.repositories(page)
    return Choices([_choice(one) for one in listed], following)


async def organizations(hub: GitHubClient, page: str | None) -> Choices:
    """List a page of organizations; only a person has several."""
    if hub.acts_as != "user":
        return Choices(())
    listed, following = await hub.organizations(page)
    return Choices([Choice(one.login, one.description or "") for one in listed], following)


def _choice(repository: ListedRepository) -> Choice:
    notes = ["private"] * repository.private + ["archived, so it takes no webhooks"] * repository.archived
    said = f" ({', '.join(notes)})" if notes else ""
    return Choice(repository.full_name, f"{repository.full_name}{said}")
