"""Which fields a payload class has, and which classes those fields are of.

Small rather than complete: what names a thing and tells its state. URLs of the API, and objects more than
two levels down, are left out. A class that is written by hand is taken wherever the shape fits into it.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import attrs

from trigflow_github.catalogue.naming import camel
from trigflow_github.catalogue.shapes import Shape, fits, merged
from trigflow_github.payloads import apps, changes, events, hooks, resources

Fields = dict[str, str]

WRITTEN: Mapping[str, Any] = {
    name: made
    for module in (apps, changes, events, hooks, resources)
    for name, made in vars(module).items()
    if isinstance(made, type) and made.__module__ == module.__name__
}
# The hand-written events, and ping: their classes stay as they are.
BY_HAND: Mapping[str, str] = {
    "check_run": "CheckRun", "issue_comment": "IssueComment", "issues": "Issues", "ping": "Ping",
    "pull_request": "PullRequest", "pull_request_review": "PullRequestReview", "push": "Push",
    "release": "Release", "star": "Star", "workflow_run": "WorkflowRun",
}  # fmt: skip
# What a key may hold, the fullest class first.
KNOWN: Mapping[str, Sequence[str]] = {
    "app": ("GitHubApp",),
    "check_run": ("CheckRunDetail",),
    "check_runs": ("CheckRunDetail",),
    "check_suite": ("CheckSuite",),
    "enterprise": ("Enterprise",),
    "forkee": ("Repository", "RepositoryDetail"),
    "head_commit": ("CommitSummary",),
    "installation": ("InstallationDetail", "Installation"),
    "issue": ("Issue",),
    "label": ("Label",),
    "labels": ("Label",),
    "license": ("License",),
    "milestone": ("Milestone",),
    "organization": ("Organization",),
    "parent_issue": ("Issue",),
    "sub_issue": ("Issue",),
    "blocked_issue": ("Issue",),
    "blocking_issue": ("Issue",),
    "performed_via_github_app": ("GitHubApp",),
    "base": ("Branch", "BranchReference"),
    "head": ("Branch", "BranchReference"),
    "account": ("InstallationAccount",),
    "pull_request": ("PullRequestDetail", "PullRequestSummary", "PullRequestNumber"),
    "pull_requests": ("PullRequestSummary", "PullRequestNumber"),
    "reactions": ("Reactions",),
    "release": ("ReleaseDetail",),
    "repository": ("Repository", "RepositoryDetail", "RepositorySummary", "RepositoryReference"),
    "team": ("Team",),
    "workflow": ("Workflow",),
    "workflow_run": ("WorkflowRunDetail",),
}
# What an object must have to be worth a class: all of it is optional there, or names too many things.
TOLD_BY: Mapping[str, set[str]] = {"InstallationDetail": {"account"}, "User": {"login", "id"}}
# One class for all events that carry it, under whichever key.
SHARED: Mapping[str, str] = {
    "blocked_issue": "IssueMention",
    "blocked_issue_repo": "RepositoryMention",
    "blocking_issue": "IssueMention",
    "blocking_issue_repo": "RepositoryMention",
    "check_run": "CheckRunMention",
    "deployment": "DeploymentDetail",
    "discussion": "DiscussionDetail",
    "forkee": "RepositoryMention",
    "new_property_values": "PropertyValue",
    "old_property_values": "PropertyValue",
    "parent_issue": "IssueMention",
    "parent_issue_repo": "RepositoryMention",
    "project": "ProjectDetail",
    "projects_v2": "ProjectsV2Detail",
    "pull_request": "PullRequestMention",
    "repositories": "InstalledRepository",
    "repositories_added": "InstalledRepository",
    "repositories_removed": "InstalledRepository",
    "sub_issue": "IssueMention",
    "sub_issue_repo": "RepositoryMention",
    "workflow_job_run": "WorkflowJobMention",
    "workflow_job_runs": "WorkflowJobMention",
    "workflow_run": "WorkflowRunMention",
}
# One class wherever it is held by something else.
HELD: Mapping[str, str] = {"app": "AppMention", "performed_via_github_app": "AppMention"}
# What is enough of a thing that another event is about.
_MENTIONED = (
    "id", "node_id", "number", "title", "state", "html_url", "user", "body", "created_at",
    "updated_at",
)  # fmt: skip
ONLY: Mapping[str, Sequence[str]] = {
    "AppMention": ("id", "name", "slug", "html_url"),
    "CheckRunMention": ("id", "name", "status", "conclusion", "head_sha", "html_url", "external_id"),
    "IssueMention": (*_MENTIONED, "state_reason", "closed_at", "comments", "locked"),
    "PullRequestMention": (*_MENTIONED, "draft", "head", "base", "labels", "closed_at", "merged_at"),
    "RepositoryMention": (
        "id", "node_id", "name", "full_name", "private", "owner", "html_url", "fork", "description",
        "default_branch", "visibility",
    ),
    "WorkflowRunMention": (
        "id", "name", "display_title", "event", "status", "conclusion", "run_number", "head_branch",
        "head_sha", "html_url", "created_at", "updated_at",
    ),
}  # fmt: skip
# Whatever their sender put there.
OPEN = ("changes", "client_payload", "inputs")
CONTEXT = ("organization", "installation", "enterprise", "repository", "sender")
LINKS = ("html_url", "target_url", "environment_url", "log_url", "download_url")
DULL = ("secret", "gravatar_id", "body_html", "body_text", "user_view_type", "_links")
# Who may also be nobody: an account that is gone, the author of a commit that has none.
PERSON: Mapping[str, str] = {
    "login": "str | None", "id": "int | None", "node_id": "str | None", "type": "str | None",
    "html_url": "str | None", "name": "str | None", "email": "str | None",
}  # fmt: skip
DEEPEST = 2
SCALARS = ("bool", "int", "float", "str", "datetime")


@attrs.define
class Classes:
    """The classes that are made, by name, and what each event is made of."""

    events: dict[str, Shape]
    seen: Mapping[str, Shape]  # the same of examples alone
    kinds: Mapping[str, Sequence[str]]
    made: dict[str, Fields] = attrs.field(factory=lambda: {"Person": dict(PERSON)})
    shared: dict[str, Shape] = attrs.field(factory=dict[str, Shape])

    @classmethod
    def of(
        cls, shapes: Mapping[str, Shape], seen: Mapping[str, Shape], kinds: Mapping[str, Sequence[str]]
    ) -> Classes:
        """Take the shapes of all events; seen: of their examples alone."""
        both: dict[str, list[Shape]] = {}
        for event, shape in shapes.items():
            for key, name in SHARED.items():
                if key in shape.keys and event not in BY_HAND:
                    one = shape.keys[key]
                    both.setdefault(name, []).append(one.items if one.is_array and one.items else one)
        return cls(
            dict(shapes), seen, kinds, shared={name: reduce(merged, found) for name, found in both.items()}
        )

    def event(self, name: str) -> dict[str, Any]:
        """Describe the class of an event: its name, its base, its fields, the key that it is about."""
        shape = self.events[name]
        about = self._about(name)
        if not self.kinds[name]:
            return {**about, "class": ""}
        if name in BY_HAND:
            return {**about, "class": BY_HAND[name]}
        full = all(shape.always(key) for key in ("repository", "sender")) and fits(
            shape.keys["repository"], WRITTEN["Repository"]
        )
        base = "RepositoryContext" if full else "Context"
        if any(shape.always(key) for key in ("organization", "installation")):
            base = "Payload"  # a field that has a default can't be given one that has none
        fields = self._context(shape, base=base, repository=about["repository"])
        for key, inner in self._ordered(name, shape):
            if key not in CONTEXT:
                fields |= self._field(name, key, inner, shape.always(key), 0)
        subject = next(
            (key for key in fields if shape.keys[key].is_object and key not in (*CONTEXT, "changes")), ""
        )
        return {**about, "class": event_class(name), "base": base, "fields": fields, "subject": subject}

    def _about(self, name: str) -> dict[str, bool]:
        """Tell whether an event may name a repository or an organization; the schemas allow both anywhere."""
        found: dict[str, bool] = {}
        for key in ("repository", "organization"):
            seen = name in self.seen and key in self.seen[name].keys
            found[key] = seen or self.events[name].always(key) or key in self.kinds[name]
        return found | {"organization": found["organization"] or found["repository"]}

    def _ordered(self, name: str, shape: Shape) -> Iterable[tuple[str, Shape]]:
        """Put the action first, then what is always there, what the event is named for before all."""
        return sorted(
            shape.keys.items(),
            key=lambda item: (item[0] != "action", not shape.always(item[0]), item[0] not in name),
        )

    def _context(self, shape: Shape, *, base: str, repository: bool) -> Fields:
        """Return the fields of CONTEXT that the base does not have."""
        of_base = {"Payload": (), "Context": CONTEXT[:3], "RepositoryContext": CONTEXT}[base]
        found: Fields = {}
        for key in CONTEXT:
            if key in of_base or key not in shape.keys or (key == "repository" and not repository):
                continue
            if kind := self._kind("", key, shape.keys[key], 0):
                found[key] = kind if shape.always(key) else f"{kind} | None"
        return found

    def _field(self, owner: str, key: str, shape: Shape, always: bool, depth: int) -> Fields:
        if not key.isidentifier() or keyword.iskeyword(key) or key in DULL:
            return {}
        if key == "url" or (key.endswith("_url") and key not in LINKS):
            return {}
        kind = self._kind(owner, key, shape, depth)
        if kind is None:
            return {}
        return {key: kind if always else f"{kind} | None"}

    def _kind(self, owner: str, key: str, shape: Shape, depth: int) -> str | None:
        """Return the annotation of what is not null; None where the field is left out."""
        kinds = shape.kinds - {"null"}
        if shape.is_array:
            inner = self._kind(owner, key, shape.items, depth) if shape.items and shape.items.kinds else None
            if inner is None or shape.items is None:
                return None
            return f"tuple[{inner}{' | None' if shape.items.may_be_null else ''}, ...]"
        if shape.is_object:
            return self._object(owner, key, shape, depth)
        either: list[str] = [kind for kind in SCALARS if kind in kinds]
        if "array" in kinds and shape.items and shape.items.kinds <= set(SCALARS):
            either.append(f"tuple[{' | '.join(sorted(shape.items.kinds))}, ...]")
        return " | ".join(either) if len(either) == len(kinds) and either else None

    def _object(self, owner: str, key: str, shape: Shape, depth: int) -> str | None:
        if key in OPEN:
            return "dict[str, Any]"
        for name in KNOWN.get(key, ("User",)):
            has_it = TOLD_BY.get(name, set()) <= shape.keys.keys()
            if has_it and fits(attrs.evolve(shape, kinds=shape.kinds - {"null"}), WRITTEN[name]):
                return name
        if not shape.keys:
            return "dict[str, Any]" if depth == 0 else None
        if "login" in shape.keys:
            return "Person"
        return self._class(owner, key, shape, depth) if depth < DEEPEST else None

    def _class(self, owner: str, key: str, shape: Shape, depth: int) -> str | None:
        name = SHARED.get(key, "") if depth == 0 else HELD.get(key, "")
        shape = self.shared.get(name, shape)
        name = name or detail_class(owner, key)
        fields: Fields = {}
        for inner, of in shape.keys.items():
            if inner in ONLY.get(name, (inner,)):
                fields |= self._field(name.removesuffix("Detail"), inner, of, shape.always(inner), depth + 1)
        if not fields:
            return None
        twin = next((one for one, those in self.made.items() if those == fields and _alike(one, key)), name)
        if self.made.setdefault(twin, fields) != fields:
            raise ValueError(f"two classes would be called {twin}")
        return twin


def _alike(name: str, key: str) -> bool:
    return name.removesuffix("Detail").endswith(camel(_singular(key).rpartition("_")[2]))


def event_class(event: str) -> str:
    """Name the class of an event; what it is about may have the plain name already."""
    name = camel(event)
    return f"{name}Event" if name in WRITTEN else name


def detail_class(owner: str, key: str) -> str:
    """Name the class of what a key holds: that of an event has its name, others its owner's before."""
    single = _singular(key)
    if not owner:
        return f"{camel(single)}Detail"
    if owner[:1].islower():
        return f"{camel(owner)}Detail" if owner.endswith(single) else f"{camel(owner)}{camel(single)}"
    return f"{owner}{camel(single)}"


def _singular(key: str) -> str:
    if key.endswith("ches"):
        return key[:-2]
    if key == "details":  # "Detail" is what an event is about
        return "facts"
    if key.endswith("ies"):
        return f"{key[:-3]}y"
    return key[:-1] if key.endswith("s") and not key.endswith(("ss", "status", "sis", "facts")) else key
