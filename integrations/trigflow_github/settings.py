"""What an integration with GitHub is told, and what its events' keywords mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from trigflow import Integration, When
from trigflow_github.catalogue import check_actions, check_place, check_sent
from trigflow_github.place import Place, kind_of, org_name, repo_name

Where: TypeAlias = Place | When[Place]


class GitHubSettings(Integration, id="github"):
    """The fields of `GitHub`; the classes of its events are built on it."""

    repo: str | None = None
    org: str | None = None
    app: bool = False
    base_url: str | None = None
    scopes: tuple[str, ...] = ()

    def _at(
        self,
        event: str,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[str] | None = None,
        narrowed: Mapping[str, object] | None = None,
    ) -> Where:
        """Say which webhook is meant, and what of it; SetupError for an action that there is not."""
        check_actions(event, actions)
        return self._where(event, repo, org, {**filter_of(actions), **(narrowed or {})})

    def _where(self, event: str, repo: str | None, org: str | None, narrowed: Mapping[str, object]) -> Where:
        where = Place(repo=repo, org=org) if repo or org else Place(repo=self.repo, org=self.org)
        place = Place(app=True) if self.app else where
        check_sent(event, kind_of(place) if place != Place() else None)
        if self.app:
            check_place(event, repo=where.repo is not None, org=where.org is not None)
        found = {**(_chosen(where) if self.app else {}), **narrowed}
        return When(place, found) if found else place


def filter_of(names: Sequence[str] | None) -> Mapping[str, object]:
    """Return a filter on the action."""
    return {} if names is None else {"action": list(names)}


def _chosen(where: Place) -> Mapping[str, object]:
    """Return a filter for what happens there: names are the same in any case."""
    found: dict[str, object] = {}
    if where.repo is not None:
        found["repository"] = {"full_name": {"$ignoreCaseEquals": repo_name(where.repo)}}
    if where.org is not None:
        found["organization"] = {"login": {"$ignoreCaseEquals": org_name(where.org)}}
    return found
