"""Which permission of a GitHub App an event needs, and which of them an App lacks.

Facts: the sentence "To subscribe to this event, a GitHub App must have at least read-level access for the
"Issues" repository permission." in GitHub's description of each event, and the names of its API for those
permissions (schema app-permissions). Where either leaves a doubt nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

_SENTENCE = r"must have (?:at least )?(read|write)-level access for the (.*?) permissions?\."
_LEVELS = ("read", "write", "admin")
# By what the settings of an App call them, and whether they are of repositories or organizations.
_KEYS: Mapping[tuple[str, str], str] = {
    ("Actions", "repository"): "actions",
    ("Administration", "organization"): "organization_administration",
    ("Administration", "repository"): "administration",
    ("Checks", "repository"): "checks",
    ("Code scanning alerts", "repository"): "security_events",
    ("Commit statuses", "repository"): "statuses",
    ("Contents", "repository"): "contents",
    ("Custom properties", "organization"): "organization_custom_properties",
    ("Dependabot alerts", "repository"): "vulnerability_alerts",
    ("Deployments", "repository"): "deployments",
    ("Discussions", "repository"): "discussions",
    ("Issues", "repository"): "issues",
    ("Members", "organization"): "members",
    ("Merge queues", "repository"): "merge_queues",
    ("Metadata", "repository"): "metadata",
    ("Pages", "repository"): "pages",
    ("Personal access token requests", "organization"): "organization_personal_access_token_requests",
    ("Projects", "organization"): "organization_projects",
    ("Projects", "repository"): "repository_projects",
    ("Pull requests", "repository"): "pull_requests",
    ("Secret scanning alerts", "repository"): "secret_scanning_alerts",
}


@attrs.frozen
class Need:
    """A permission; name: in an App's settings. key: in the API, "" where its name there is not known."""

    name: str
    of: str
    level: str
    key: str = ""

    def is_met(self, granted: Mapping[str, str]) -> bool:
        """Tell whether an App with these permissions (key to level) has it."""
        level = granted.get(self.key)
        return level in _LEVELS and _LEVELS.index(level) >= _LEVELS.index(self.level)

    def __str__(self) -> str:
        return f"{self.level} access to {self.name}"


def needs(summary: str) -> Sequence[Need]:
    """Read a description; any one of the permissions is enough. None where it names none."""
    found = re.search(_SENTENCE, summary, re.DOTALL)
    if found is None:
        return ()
    names = re.findall(r'"([^"]+)"', found[2])
    of = [kind for kind in ("repository", "organization") if kind in found[2]]
    # Where a permission is named without its kind, only one of that name can be meant.
    kinds = of or list({kind for name, kind in _KEYS if name in names})
    return [Need(name, kind, found[1], _KEYS.get((name, kind), "")) for name in names for kind in kinds]


def lacking(any_of: Sequence[Need], granted: Mapping[str, str]) -> str:
    """Say what an App lacks; "" where it has enough or where that can't be told."""
    if not any_of or not all(need.key for need in any_of) or any(need.is_met(granted) for need in any_of):
        return ""
    return said(any_of)


def said(any_of: Iterable[Need]) -> str:
    """Name the permissions in words: "at least read access to Issues (repository)"."""
    found = list(any_of)
    levels = list(dict.fromkeys(need.level for need in found))
    names = " or ".join(f"{need.name} ({need.of})" for need in found)
    return f"at least {levels[0]} access to {names}" if found else ""
