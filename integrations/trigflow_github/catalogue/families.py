"""Which events stand in one module together, and with them their payload classes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Family:
    """Events that one module declares; the one without events takes what no other has."""

    module: str
    title: str
    events: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """The name of the class in the module."""
        return f"{self.module.title()}Events"


FAMILIES = (
    Family(
        "planning",
        "Issues that depend on each other, labels, milestones, discussions",
        ("discussion", "discussion_comment", "issue_dependencies", "label", "milestone", "sub_issues"),
    ),
    Family(
        "projects",
        "Projects of organizations, and classic ones",
        (
            "project", "project_card", "project_column", "projects_v2", "projects_v2_item",
            "projects_v2_status_update",
        ),
    ),
    Family(
        "building",
        "Checks, statuses and workflows",
        ("check_suite", "status", "workflow_dispatch", "workflow_job"),
    ),
    Family(
        "shipping",
        "Deployments, packages and pages",
        (
            "deployment", "deployment_protection_rule", "deployment_review", "deployment_status", "package",
            "page_build", "registry_package",
        ),
    ),
    Family(
        "security",
        "Alerts and scans",
        (
            "code_scanning_alert", "dependabot_alert", "repository_vulnerability_alert",
            "secret_scanning_alert", "secret_scanning_alert_location", "secret_scanning_scan",
            "security_and_analysis",
        ),
    ),
    Family("advisories", "Security advisories", ("repository_advisory", "security_advisory")),
    Family(
        "reviews",
        "What is said of commits and pull requests, and how they are merged",
        ("commit_comment", "merge_group", "pull_request_review_comment", "pull_request_review_thread"),
    ),
    Family(
        "access",
        "Who may do what: members, teams, organizations, Apps and their installations",
        (
            "deploy_key", "github_app_authorization", "installation", "installation_repositories",
            "installation_target", "member", "membership", "org_block", "organization",
            "personal_access_token_request", "team", "team_add",
        ),
    ),
    Family("repositories", "Repositories: their branches, rules and lives"),
)  # fmt: skip


def family_of(event: str) -> Family:
    """Return the family of an event."""
    return next(family for family in FAMILIES if not family.events or event in family.events)
