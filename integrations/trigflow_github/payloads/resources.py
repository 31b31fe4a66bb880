"""What GitHub's events are about: people, repositories, issues, pull requests, runs.

Not every field: URLs of the API and layout details are left out, unknown fields are
ignored. A field may be absent or null where one of GitHub's descriptions of it says so
(OpenAPI for REST and webhooks, the webhooks' JSON schemas) or a sample shows it, with
one exception: whoever wrote the issue, comment or pull request that an event is about
is never optional here, as in the JSON schemas and in every sample.
States and the like are `str`, not Literal: GitHub adds values without notice.
"""

from datetime import datetime

from trigflow import Payload, payload


@payload
class User(Payload):
    """A person, a bot or an organization, as GitHub mentions it; `type` tells which."""

    login: str
    id: int
    node_id: str | None = None
    type: str | None = None
    site_admin: bool = False
    name: str | None = None
    email: str | None = None
    html_url: str | None = None
    avatar_url: str | None = None


@payload
class Organization(Payload):
    """The organization that owns the repository or the webhook."""

    login: str
    id: int
    node_id: str
    description: str | None = None
    html_url: str | None = None


@payload
class Enterprise(Payload):
    """The enterprise that the organization belongs to."""

    id: int
    slug: str
    name: str
    node_id: str | None = None


@payload
class Installation(Payload):
    """The installation of the GitHub App that the event was sent to."""

    id: int
    node_id: str | None = None


@payload
class GitHubApp(Payload):
    """The app that did something."""

    id: int
    name: str
    node_id: str | None = None
    slug: str | None = None
    description: str | None = None
    html_url: str | None = None


@payload
class Team(Payload):
    """A team of an organization."""

    id: int
    name: str
    slug: str
    node_id: str | None = None
    description: str | None = None
    privacy: str | None = None
    permission: str | None = None
    html_url: str | None = None


@payload
class Reviewer(Payload):
    """Who was asked for a review: a person, who has a `login`, or a team, which has a `slug`."""

    id: int
    login: str | None = None
    slug: str | None = None
    name: str | None = None
    type: str | None = None
    html_url: str | None = None


@payload
class License(Payload):
    """The licence that GitHub recognised."""

    key: str
    name: str
    spdx_id: str | None = None


@payload
class RepositoryReference(Payload):
    """A repository, by name only."""

    id: int
    name: str
    url: str | None = None


@payload
class RepositorySummary(Payload):
    """A repository, in short."""

    id: int
    node_id: str
    name: str
    full_name: str
    private: bool
    owner: User
    html_url: str
    fork: bool
    description: str | None = None


@payload
class RepositoryDetail(RepositorySummary):
    """What a repository is like, without its dates; see Repository and PushedRepository."""

    default_branch: str
    size: int
    stargazers_count: int
    watchers_count: int
    forks_count: int
    open_issues_count: int
    has_issues: bool
    has_projects: bool
    has_wiki: bool
    has_pages: bool
    archived: bool
    clone_url: str | None = None
    ssh_url: str | None = None
    homepage: str | None = None
    language: str | None = None
    license: License | None = None
    topics: tuple[str, ...] = ()
    visibility: str | None = None
    disabled: bool = False
    is_template: bool = False
    has_discussions: bool = False


@payload
class Repository(RepositoryDetail):
    """The repository that an event happened in."""

    created_at: datetime | None
    updated_at: datetime | None
    pushed_at: datetime | None


@payload
class PushedRepository(RepositoryDetail):
    """The repository of a push; there, some dates are seconds since 1970."""

    created_at: int | datetime
    updated_at: datetime
    pushed_at: int | datetime | None


@payload
class Label(Payload):
    """A label of an issue or a pull request; `color` is hexadecimal, without "#"."""

    name: str
    id: int | None = None
    node_id: str | None = None
    color: str | None = None
    default: bool = False
    description: str | None = None


@payload
class Milestone(Payload):
    """A milestone."""

    id: int
    node_id: str
    number: int
    title: str
    state: str
    open_issues: int
    closed_issues: int
    created_at: datetime
    updated_at: datetime
    html_url: str | None = None
    description: str | None = None
    creator: User | None = None
    due_on: datetime | None = None
    closed_at: datetime | None = None


@payload
class Reactions(Payload):
    """How many reacted how; thumbs are left out: "+1" and "-1" are no Python names."""

    total_count: int = 0
    laugh: int = 0
    hooray: int = 0
    confused: int = 0
    heart: int = 0
    rocket: int = 0
    eyes: int = 0


@payload
class IssueType(Payload):
    """The type that an organization gave an issue."""

    id: int
    name: str
    node_id: str | None = None
    description: str | None = None
    color: str | None = None


@payload
class PullRequestReference(Payload):
    """Says of an issue that it is a pull request."""

    url: str | None = None
    html_url: str | None = None
    merged_at: datetime | None = None


@payload
class Issue(Payload):
    """An issue; a pull request too, where `pull_request` is there."""

    id: int
    node_id: str
    number: int
    title: str
    user: User
    html_url: str
    comments: int
    created_at: datetime
    updated_at: datetime
    body: str | None = None
    state: str | None = None
    state_reason: str | None = None
    locked: bool | None = None
    active_lock_reason: str | None = None
    labels: tuple[Label, ...] = ()
    assignee: User | None = None
    assignees: tuple[User, ...] = ()
    milestone: Milestone | None = None
    type: IssueType | None = None
    closed_at: datetime | None = None
    author_association: str | None = None
    draft: bool | None = None
    pull_request: PullRequestReference | None = None
    reactions: Reactions | None = None
    performed_via_github_app: GitHubApp | None = None


@payload
class Comment(Payload):
    """A comment on an issue or a pull request."""

    id: int
    node_id: str
    user: User
    html_url: str
    created_at: datetime
    updated_at: datetime
    body: str = ""
    author_association: str | None = None
    reactions: Reactions | None = None
    performed_via_github_app: GitHubApp | None = None
