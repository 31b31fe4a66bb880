"""The events: one class for each, as in the X-GitHub-Event header.

`action` is `str`, not one of the literals: an action that GitHub adds must not make a
delivery unreadable. What comes with some actions only is None with the others.
"""

from datetime import datetime

from trigflow import Payload, payload
from trigflow_github.payloads.changes import (
    CheckRunDetail,
    Commit,
    GitPerson,
    PullRequestDetail,
    PullRequestSummary,
    ReleaseDetail,
    Review,
    Workflow,
    WorkflowRunDetail,
)
from trigflow_github.payloads.hooks import Hook
from trigflow_github.payloads.resources import (
    Comment,
    Enterprise,
    Installation,
    Issue,
    IssueType,
    Label,
    Milestone,
    Organization,
    PushedRepository,
    Repository,
    Team,
    User,
)

# {"from": the value before}: "from" is no Python name.
Before = dict[str, str]


@payload
class Context(Payload):
    """What surrounds every event: on whose behalf it was sent."""

    organization: Organization | None = None
    installation: Installation | None = None
    enterprise: Enterprise | None = None


@payload
class RepositoryContext(Context):
    """What surrounds an event of a repository: where it happened and who did it."""

    repository: Repository
    sender: User


@payload
class IssueChanges(Payload):
    """What was edited, or where an issue was transferred from or to."""

    title: Before | None = None
    body: Before | None = None
    old_issue: Issue | None = None
    old_repository: Repository | None = None
    new_issue: Issue | None = None
    new_repository: Repository | None = None


@payload
class Issues(RepositoryContext):
    """An issue was opened, closed, labeled, assigned, ..."""

    action: str
    issue: Issue
    assignee: User | None = None
    label: Label | None = None
    milestone: Milestone | None = None
    type: IssueType | None = None
    changes: IssueChanges | None = None


@payload
class BodyChanges(Payload):
    """What was edited."""

    body: Before | None = None


@payload
class IssueComment(RepositoryContext):
    """A comment on an issue or a pull request was created, edited or deleted."""

    action: str
    issue: Issue
    comment: Comment
    changes: BodyChanges | None = None


@payload
class BaseChanges(Payload):
    """The base branch before it was changed."""

    ref: Before | None = None
    sha: Before | None = None


@payload
class PullRequestChanges(Payload):
    """What was edited."""

    title: Before | None = None
    body: Before | None = None
    base: BaseChanges | None = None


@payload
class PullRequest(RepositoryContext):
    """A pull request was opened, closed, synchronized, ...; closed and `pull_request.merged`: merged.

    before, after: the heads around a push to it, with `synchronize`.
    """

    action: str
    number: int
    pull_request: PullRequestDetail
    assignee: User | None = None
    label: Label | None = None
    milestone: Milestone | None = None
    requested_reviewer: User | None = None
    requested_team: Team | None = None
    before: str | None = None
    after: str | None = None
    reason: str | None = None
    changes: PullRequestChanges | None = None


@payload
class PullRequestReview(RepositoryContext):
    """A review of a pull request was submitted, edited or dismissed."""

    action: str
    review: Review
    pull_request: PullRequestSummary
    changes: BodyChanges | None = None


@payload
class Push(Context):
    """Commits or a tag were pushed, or a branch or tag was created or deleted; `ref` is the full name."""

    ref: str
    before: str
    after: str
    created: bool
    deleted: bool
    forced: bool
    compare: str
    commits: tuple[Commit, ...]
    repository: PushedRepository
    pusher: GitPerson
    base_ref: str | None = None
    head_commit: Commit | None = None
    sender: User | None = None


@payload
class ReleaseChanges(Payload):
    """What was edited."""

    name: Before | None = None
    body: Before | None = None


@payload
class Release(RepositoryContext):
    """A release was created, published, edited, deleted, ..."""

    action: str
    release: ReleaseDetail
    changes: ReleaseChanges | None = None


@payload
class Star(RepositoryContext):
    """A repository was starred; `starred_at` is None where a star was taken back."""

    action: str
    starred_at: datetime | None = None


@payload
class WorkflowRun(RepositoryContext):
    """A run of a workflow was requested, is in progress or completed."""

    action: str
    workflow_run: WorkflowRunDetail
    workflow: Workflow | None = None


@payload
class RequestedAction(Payload):
    """The button of a check run that somebody pressed."""

    identifier: str | None = None


@payload
class CheckRun(RepositoryContext):
    """A check run was created or completed, or somebody asked for it again."""

    action: str
    check_run: CheckRunDetail
    requested_action: RequestedAction | None = None


@payload
class Ping(Context):
    """A webhook was made, or asked to show that it works."""

    hook: Hook | None = None
    hook_id: int | None = None
    zen: str | None = None
    repository: Repository | None = None
    sender: User | None = None
