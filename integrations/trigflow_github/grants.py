"""What a GitHub App was granted, held against the events that jobs want."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trigflow_github.catalogue import lacks
from trigflow_github.client import GitHubClient
from trigflow_github.payloads import AppDetail


async def uncovered(hub: GitHubClient, events: Iterable[str]) -> Sequence[str]:
    """Name the events that the App's permissions don't cover; none where other credentials are used."""
    if hub.acts_as != "app":
        return ()
    app = await hub.app()
    return named([name for name in events if _lacks(name, app)], app)


def named(events: Iterable[str], app: AppDetail) -> Sequence[str]:
    """Name events, each with the permission that the App lacks for it."""
    lacked = {name: _lacks(name, app) for name in events}
    return [f"{name} (needs {lack})" if lack else name for name, lack in lacked.items()]


def _lacks(event: str, app: AppDetail) -> str:
    return "" if app.permissions is None else lacks(event, app.permissions)
