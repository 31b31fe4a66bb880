"""GitHub as an integration: its events, its credentials, its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from trigflow import (
    Account,
    Checked,
    Credentials,
    Integration,
    Specification,
    Trigger,
    When,
    event,
)
from trigflow_github import payloads as p
from trigflow_github.accounts import ORG_HOOKS, accounts_of, check
from trigflow_github.app_auth import api_url
from trigflow_github.catalogue import check_sent
from trigflow_github.client import GitHubClient
from trigflow_github.place import Place, kind_of, org_name, repo_name
from trigflow_github.samples import samples
from trigflow_github.source import webhook
from trigflow_github.ways import SCOPES, ways


def _where(said: p.RepositoryContext) -> Mapping[str, str]:
    return {"repository": said.repository.full_name, "by": said.sender.login}


def _issue(said: p.Issues | p.IssueComment) -> Mapping[str, str]:
    return {**_where(said), "issue": f"#{said.issue.number} {said.issue.title}"}


def _pull_request(said: p.PullRequest | p.PullRequestReview) -> Mapping[str, str]:
    return {**_where(said), "pull request": f"#{said.pull_request.number} {said.pull_request.title}"}


def _push(said: p.Push) -> Mapping[str, str]:
    return {"repository": said.repository.full_name, "ref": said.ref, "by": said.pusher.name or ""}


def _release(said: p.Release) -> Mapping[str, str]:
    return {**_where(said), "release": said.release.tag_name}


def _workflow_run(said: p.WorkflowRun) -> Mapping[str, str]:
    return {
        **_where(said),
        "workflow": said.workflow_run.name or "",
        "conclusion": said.workflow_run.conclusion or "",
    }


def _check_run(said: p.CheckRun) -> Mapping[str, str]:
    return {**_where(said), "check": said.check_run.name, "conclusion": said.check_run.conclusion or ""}


def _ping(said: p.Ping) -> Mapping[str, str]:
    return {"zen": said.zen or ""}


def _actions(names: Sequence[str] | None) -> Mapping[str, object] | None:
    return None if names is None else {"action": list(names)}


def _chosen(where: Place) -> Mapping[str, object]:
    """Return a filter for what happens there: names are the same in any case."""
    found: dict[str, object] = {}
    if where.repo is not None:
        found["repository"] = {"full_name": {"$ignoreCaseEquals": repo_name(where.repo)}}
    if where.org is not None:
        found["organization"] = {"login": {"$ignoreCaseEquals": org_name(where.org)}}
    return found


class GitHub(
    Integration,
    id="github",
    auth=ways(),
):
    """Repositories, organizations and Apps on github.com or GitHub Enterprise Server.

    repo, org: where events come from unless a trigger says otherwise.
    app: events come through the webhook of a GitHub App, one for all of its installations;
        `repo` and `org` then choose among what it is sent, and make no webhooks.
    base_url: of the API; GitHub Enterprise Server has https://HOST/api/v3.
        Default: GITHUB_API_URL, else https://api.github.com.
    scopes: what a person is asked to agree to (OAuth); default: what webhooks need.
    """

    repo: str | None = None
    org: str | None = None
    app: bool = False
    base_url: str | None = None
    scopes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Have tokens made where the API is, not at a stranger's; an App goes before a token."""
        if type(self).auth is GitHub.auth:
            scopes = self.scopes or SCOPES + ORG_HOOKS * (self.org is not None)
            object.__setattr__(self, "auth", tuple(ways(self.base_url, app=self.app, scopes=scopes)))

    def client(self, credentials: Credentials) -> GitHubClient:
        """Make the client of a connection."""
        return GitHubClient(
            credentials["token"],
            base_url=api_url(self.base_url),
            installation=credentials.get("installation_id"),
        )

    async def check(self, client: GitHubClient) -> Checked:
        """Tell whose credentials they are, and which scopes they lack to make webhooks."""
        return await check(client, repo=self.repo is not None, org=self.org is not None)

    async def accounts(self, client: GitHubClient) -> Sequence[Account]:
        """Return the installations of our App that are not suspended; none without an App."""
        return await accounts_of(client)

    def _at(
        self, repo: str | None, org: str | None, narrowed: Mapping[str, object] | None = None
    ) -> Place | When[Place]:
        """Say which webhook is meant, and what of it."""
        where = Place(repo=repo, org=org) if repo or org else Place(repo=self.repo, org=self.org)
        place = Place(app=True) if self.app else where
        found = {**(_chosen(where) if self.app else {}), **(narrowed or {})}
        return When(place, found) if found else place

    @event("issues", p.Issues, source=webhook, examples=samples("issues"), properties=_issue)
    def issues(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.IssuesAction] | None = None,
    ) -> Place | When[Place]:
        """An issue was opened, closed, edited, labeled or assigned."""
        return self._at(repo, org, _actions(actions))

    @event(
        "issue_comment", p.IssueComment, source=webhook, examples=samples("issue_comment"), properties=_issue
    )
    def issue_comment(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.IssueCommentAction] | None = None,
    ) -> Place | When[Place]:
        """A comment on an issue or pull request was created, edited or deleted."""
        return self._at(repo, org, _actions(actions))

    @event(
        "pull_request",
        p.PullRequest,
        source=webhook,
        examples=samples("pull_request"),
        properties=_pull_request,
    )
    def pull_request(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.PullRequestAction] | None = None,
    ) -> Place | When[Place]:
        """A pull request was opened, closed, merged, synchronized or labeled.

        Merged is action "closed" with `pull_request.merged` true.
        """
        return self._at(repo, org, _actions(actions))

    @event(
        "pull_request_review",
        p.PullRequestReview,
        source=webhook,
        examples=samples("pull_request_review"),
        properties=_pull_request,
    )
    def pull_request_review(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.PullRequestReviewAction] | None = None,
    ) -> Place | When[Place]:
        """A review of a pull request was submitted, edited or dismissed."""
        return self._at(repo, org, _actions(actions))

    @event("push", p.Push, source=webhook, examples=samples("push"), properties=_push)
    def push(
        self, *, repo: str | None = None, org: str | None = None, branches: Sequence[str] | None = None
    ) -> Place | When[Place]:
        """Commits or a tag were pushed, or a branch or tag was deleted.

        branches: names without refs/heads/.
        """
        refs = None if branches is None else {"ref": [f"refs/heads/{name}" for name in branches]}
        return self._at(repo, org, refs)

    @event("release", p.Release, source=webhook, examples=samples("release"), properties=_release)
    def release(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.ReleaseAction] | None = None,
    ) -> Place | When[Place]:
        """A release was published, edited or deleted."""
        return self._at(repo, org, _actions(actions))

    @event("star", p.Star, source=webhook, examples=samples("star"), properties=_where)
    def star(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.StarAction] | None = None,
    ) -> Place | When[Place]:
        """A repository was starred, or a star was taken back."""
        return self._at(repo, org, _actions(actions))

    @event(
        "workflow_run",
        p.WorkflowRun,
        source=webhook,
        examples=samples("workflow_run"),
        properties=_workflow_run,
    )
    def workflow_run(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.WorkflowRunAction] | None = None,
    ) -> Place | When[Place]:
        """A run of a GitHub Actions workflow was requested, started or completed."""
        return self._at(repo, org, _actions(actions))

    @event("check_run", p.CheckRun, source=webhook, examples=samples("check_run"), properties=_check_run)
    def check_run(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.CheckRunAction] | None = None,
    ) -> Place | When[Place]:
        """A check run was created or completed, or asked for again."""
        return self._at(repo, org, _actions(actions))

    def other(
        self,
        name: str,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[str] | None = None,
    ) -> Trigger[dict[str, Any]]:
        """Any event of GitHub by its name, as in X-GitHub-Event: for those that have no method here.

        Raises SetupError where GitHub does not send it to such a webhook.
        """
        found = self._at(repo, org, _actions(actions))
        when = found if isinstance(found, When) else When(found, {})
        check_sent(name, kind_of(when.params))
        return Trigger(_untyped(name), when.params, f"github.other({name!r})", self, when.filter or None)

    @event("ping", p.Ping, source=webhook, examples=samples("ping"), registers=(), properties=_ping)
    def ping(self, *, repo: str | None = None, org: str | None = None) -> Place | When[Place]:
        """A webhook was made, or asked to show that it works; sent to every webhook."""
        return self._at(repo, org)


@cache
def _untyped(name: str) -> Specification:
    """Describe an event that has no class here; the same object each time."""
    registers = () if name == "ping" else (name,)
    return Specification(name, webhook, dict[str, Any], registers, f"GitHub's {name} event")


github: GitHub = GitHub()
