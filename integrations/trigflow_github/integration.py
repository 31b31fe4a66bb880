"""GitHub as an integration: its events, its credentials, its client."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from trigflow import ApiKey, Credentials, Integration, When, event
from trigflow_github import payloads as p
from trigflow_github.client import GitHubClient
from trigflow_github.samples import samples
from trigflow_github.source import Place, webhook

API = "https://api.github.com"
Said = TypeVar("Said", bound=p.RepositoryContext)


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


class GitHub(
    Integration,
    id="github",
    auth=[ApiKey("GITHUB_TOKEN", label="Token", help="personal access token that may write webhooks")],
):
    """Repositories and organizations on github.com or GitHub Enterprise Server.

    repo, org: where events come from unless a trigger says otherwise.
    base_url: of the API; GitHub Enterprise Server has https://HOST/api/v3.
        Default: GITHUB_API_URL, else https://api.github.com.
    """

    repo: str | None = None
    org: str | None = None
    base_url: str | None = None

    def client(self, credentials: Credentials) -> GitHubClient:
        """Make the client of a connection."""
        return GitHubClient(
            credentials["token"], base_url=self.base_url or os.environ.get("GITHUB_API_URL") or API
        )

    def _at(
        self, repo: str | None, org: str | None, actions: Sequence[str] | None = None
    ) -> Place | When[Place]:
        place = Place(repo=repo, org=org) if repo or org else Place(repo=self.repo, org=self.org)
        return place if actions is None else When(place, {"action": list(actions)})

    @event("issues", p.Issues, source=webhook, examples=samples("issues"), properties=_issue)
    def issues(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.IssuesAction] | None = None,
    ) -> Place | When[Place]:
        """An issue was opened, closed, edited, labeled or assigned."""
        return self._at(repo, org, actions)

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
        return self._at(repo, org, actions)

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
        return self._at(repo, org, actions)

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
        return self._at(repo, org, actions)

    @event("push", p.Push, source=webhook, examples=samples("push"), properties=_push)
    def push(
        self, *, repo: str | None = None, org: str | None = None, branches: Sequence[str] | None = None
    ) -> Place | When[Place]:
        """Commits or a tag were pushed, or a branch or tag was deleted.

        branches: names without refs/heads/.
        """
        place = Place(repo=repo, org=org) if repo or org else Place(repo=self.repo, org=self.org)
        return (
            place if branches is None else When(place, {"ref": [f"refs/heads/{name}" for name in branches]})
        )

    @event("release", p.Release, source=webhook, examples=samples("release"), properties=_release)
    def release(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.ReleaseAction] | None = None,
    ) -> Place | When[Place]:
        """A release was published, edited or deleted."""
        return self._at(repo, org, actions)

    @event("star", p.Star, source=webhook, examples=samples("star"), properties=_where)
    def star(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.StarAction] | None = None,
    ) -> Place | When[Place]:
        """A repository was starred, or a star was taken back."""
        return self._at(repo, org, actions)

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
        return self._at(repo, org, actions)

    @event("check_run", p.CheckRun, source=webhook, examples=samples("check_run"), properties=_check_run)
    def check_run(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.CheckRunAction] | None = None,
    ) -> Place | When[Place]:
        """A check run was created or completed, or asked for again."""
        return self._at(repo, org, actions)

    @event("ping", p.Ping, source=webhook, examples=samples("ping"), registers=(), properties=_ping)
    def ping(self, *, repo: str | None = None, org: str | None = None) -> Place | When[Place]:
        """A webhook was made, or asked to show that it works; sent to every webhook."""
        return self._at(repo, org)


github: GitHub = GitHub()
