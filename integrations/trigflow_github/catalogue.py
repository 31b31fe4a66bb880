"""The events that GitHub does not send to every kind of webhook.

Facts: GitHub's description of its webhooks (@octokit/openapi-webhooks 12.1.0), 75 events; the 52
that are not here go to webhooks of repositories, organizations and Apps alike. GitHub adds events
without notice: of one that the description lacks nothing is known, and GitHub decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trigflow import SetupError

Kind = Literal["repository", "organization", "app"]

_SENT_ONLY_TO: Mapping[tuple[Kind, ...], str] = {
    ("app",): (
        "deployment_protection_rule deployment_review github_app_authorization installation "
        "installation_repositories installation_target merge_group repository_dispatch security_advisory "
        "workflow_dispatch"
    ),
    ("organization", "app"): (
        "custom_property membership org_block organization personal_access_token_request team"
    ),
    ("organization",): ("projects_v2 projects_v2_item projects_v2_status_update"),
    (): ("marketplace_purchase sponsorship"),
    ("repository", "organization"): ("repository_import repository_vulnerability_alert"),
}
_KINDS: Mapping[str, tuple[Kind, ...]] = {
    event: kinds for kinds, events in _SENT_ONLY_TO.items() for event in events.split()
}
_NAMES: Mapping[Kind, str] = {
    "repository": "repositories",
    "organization": "organizations",
    "app": "GitHub Apps",
}


def check_sent(event: str, kind: Kind) -> None:
    """Raise SetupError where webhooks of this kind never get the event."""
    kinds = _KINDS.get(event)
    if kinds is None or kind in kinds:
        return
    if not kinds:
        raise SetupError(f"GitHub sends {event} to listings of its marketplaces alone, not to webhooks")
    those = " and of ".join(_NAMES[one] for one in kinds)
    raise SetupError(f"GitHub sends {event} to webhooks of {those} only, not of {_NAMES[kind]}")
