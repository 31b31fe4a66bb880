"""What a pull request, a push, a release or a check is made of."""

from datetime import datetime

from trigflow import Payload, payload
from trigflow_github.payloads.resources import (
    GitHubApp,
    Label,
    Milestone,
    Reactions,
    Repository,
    RepositoryReference,
    RepositorySummary,
    Reviewer,
    Team,
    User,
)


@payload
class Branch(Payload):
    """An end of a pull request; `repo` is None where the fork is gone."""

    ref: str
    sha: str
    label: str | None = None
    user: User | None = None
    repo: Repository | None = None


@payload
class AutoMerge(Payload):
    """How a pull request merges itself when it may."""

    merge_method: str
    enabled_by: User | None = None
    commit_title: str | None = None
    commit_message: str | None = None


@payload
class PullRequestSummary(Payload):
    """A pull request, without what GitHub has to count or compute."""

    id: int
    node_id: str
    number: int
    title: str
    user: User
    state: str
    locked: bool
    html_url: str
    created_at: datetime
    updated_at: datetime
    head: Branch
    base: Branch
    body: str | None = None
    draft: bool = False
    labels: tuple[Label, ...] = ()
    assignee: User | None = None
    assignees: tuple[User, ...] | None = ()
    requested_reviewers: tuple[Reviewer, ...] = ()
    requested_teams: tuple[Team, ...] = ()
    milestone: Milestone | None = None
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merge_commit_sha: str | None = None
    auto_merge: AutoMerge | None = None
    author_association: str | None = None
    active_lock_reason: str | None = None
    diff_url: str | None = None
    patch_url: str | None = None


@payload
class PullRequestDetail(PullRequestSummary):
    """A pull request; `mergeable` is None until GitHub has tried."""

    merged: bool | None = None
    mergeable: bool | None = None
    rebaseable: bool | None = None
    mergeable_state: str | None = None
    merged_by: User | None = None
    maintainer_can_modify: bool | None = None
    comments: int | None = None
    review_comments: int | None = None
    commits: int | None = None
    additions: int | None = None
    deletions: int | None = None
    changed_files: int | None = None


@payload
class ChangedFile(Payload):
    """A file that a pull request changes; `patch` is None where GitHub does not show it."""

    filename: str
    status: str
    additions: int
    deletions: int
    changes: int
    sha: str | None = None
    patch: str | None = None
    previous_filename: str | None = None


@payload
class Review(Payload):
    """A review of a pull request; `state` is lower-case in events, upper-case in answers of the API."""

    id: int
    node_id: str
    state: str
    html_url: str
    user: User | None = None
    body: str | None = None
    commit_id: str | None = None
    submitted_at: datetime | None = None
    author_association: str | None = None


@payload
class GitPerson(Payload):
    """Whoever stands in a commit or pushed; `username` is the GitHub login, where known."""

    name: str
    email: str | None = None
    username: str | None = None
    date: datetime | None = None


@payload
class CommitSummary(Payload):
    """A commit; `id` is its hash."""

    id: str
    tree_id: str
    message: str
    timestamp: datetime
    author: GitPerson
    committer: GitPerson


@payload
class Commit(CommitSummary):
    """A pushed commit and the paths that it touches; `distinct`: not pushed before."""

    distinct: bool
    url: str | None = None
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@payload
class CommitStatus(Payload):
    """What some system says about a commit."""

    id: int
    state: str
    context: str
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    target_url: str | None = None
    creator: User | None = None


@payload
class ReleaseAsset(Payload):
    """A file of a release; `size` in bytes."""

    id: int
    node_id: str
    name: str
    state: str
    content_type: str
    size: int
    download_count: int
    created_at: datetime
    updated_at: datetime
    browser_download_url: str | None = None
    label: str | None = None
    digest: str | None = None
    uploader: User | None = None


@payload
class ReleaseDetail(Payload):
    """A release; `published_at` is None for a draft."""

    id: int
    node_id: str
    tag_name: str
    target_commitish: str
    draft: bool
    prerelease: bool
    html_url: str
    name: str | None = None
    body: str | None = None
    author: User | None = None
    created_at: datetime | None = None
    published_at: datetime | None = None
    assets: tuple[ReleaseAsset, ...] = ()
    tarball_url: str | None = None
    zipball_url: str | None = None
    immutable: bool | None = None
    reactions: Reactions | None = None


@payload
class BranchReference(Payload):
    """An end of a pull request, by name only."""

    ref: str
    sha: str
    repo: RepositoryReference


@payload
class PullRequestNumber(Payload):
    """A pull request that a run or a check belongs to."""

    id: int
    number: int
    head: BranchReference
    base: BranchReference


@payload
class Workflow(Payload):
    """A workflow of GitHub Actions; `path` is its file."""

    id: int
    node_id: str
    name: str
    path: str
    state: str
    created_at: datetime
    updated_at: datetime
    html_url: str | None = None


@payload
class WorkflowRunDetail(Payload):
    """A run of a workflow; `conclusion` is None until it has completed."""

    id: int
    node_id: str
    run_number: int
    run_attempt: int
    workflow_id: int
    check_suite_id: int
    status: str
    event: str
    path: str
    head_sha: str
    head_commit: CommitSummary
    repository: RepositorySummary
    head_repository: RepositorySummary
    html_url: str
    created_at: datetime
    updated_at: datetime
    run_started_at: datetime
    name: str | None = None
    display_title: str | None = None
    conclusion: str | None = None
    head_branch: str | None = None
    pull_requests: tuple[PullRequestNumber, ...] = ()
    actor: User | None = None
    triggering_actor: User | None = None


@payload
class CheckOutput(Payload):
    """What a check run found."""

    annotations_count: int
    title: str | None = None
    summary: str | None = None
    text: str | None = None


@payload
class CheckSuite(Payload):
    """The checks that one app made for one commit."""

    id: int
    head_sha: str
    node_id: str | None = None
    head_branch: str | None = None
    status: str | None = None
    conclusion: str | None = None
    before: str | None = None
    after: str | None = None
    pull_requests: tuple[PullRequestNumber, ...] = ()
    app: GitHubApp | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@payload
class CheckRunDetail(Payload):
    """A check run; `conclusion` is None until it has completed."""

    id: int
    name: str
    head_sha: str
    status: str
    external_id: str
    started_at: datetime
    output: CheckOutput
    check_suite: CheckSuite
    node_id: str | None = None
    html_url: str | None = None
    details_url: str | None = None
    conclusion: str | None = None
    completed_at: datetime | None = None
    app: GitHubApp | None = None
    pull_requests: tuple[PullRequestNumber, ...] = ()
