"""The events that most jobs listen to, and ping; their payload classes are written by hand too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trigflow import event
from trigflow_github import payloads as p
from trigflow_github.samples import samples
from trigflow_github.settings import GitHubSettings, Where
from trigflow_github.source import webhook


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


class EverydayEvents(GitHubSettings, id="github"):
    """The events that most jobs listen to."""

    @event("issues", lambda: p.Issues, source=webhook, examples=samples("issues"), properties=_issue)
    def issues(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.IssuesAction] | None = None,
    ) -> Where:
        """An issue was opened, closed, edited, labeled or assigned."""
        return self._at("issues", repo=repo, org=org, actions=actions)

    @event(
        "issue_comment",
        lambda: p.IssueComment,
        source=webhook,
        examples=samples("issue_comment"),
        properties=_issue,
    )
    def issue_comment(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.IssueCommentAction] | None = None,
    ) -> Where:
        """A comment on an issue or pull request was created, edited or deleted."""
        return self._at("issue_comment", repo=repo, org=org, actions=actions)

    @event(
        "pull_request",
        lambda: p.PullRequest,
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
    ) -> Where:
        """A pull request was opened, closed, merged, synchronized or labeled.

        Merged is action "closed" with `pull_request.merged` true.
        """
        return self._at("pull_request", repo=repo, org=org, actions=actions)

    @event(
        "pull_request_review",
        lambda: p.PullRequestReview,
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
    ) -> Where:
        """A review of a pull request was submitted, edited or dismissed."""
        return self._at("pull_request_review", repo=repo, org=org, actions=actions)

    @event("push", lambda: p.Push, source=webhook, examples=samples("push"), properties=_push)
    def push(
        self, *, repo: str | None = None, org: str | None = None, branches: Sequence[str] | None = None
    ) -> Where:
        """Commits or a tag were pushed, or a branch or tag was deleted.

        branches: names without refs/heads/.
        """
        refs = None if branches is None else {"ref": [f"refs/heads/{name}" for name in branches]}
        return self._at("push", repo=repo, org=org, narrowed=refs)

    @event("release", lambda: p.Release, source=webhook, examples=samples("release"), properties=_release)
    def release(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.ReleaseAction] | None = None,
    ) -> Where:
        """A release was published, edited or deleted."""
        return self._at("release", repo=repo, org=org, actions=actions)

    @event("star", lambda: p.Star, source=webhook, examples=samples("star"), properties=_where)
    def star(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.StarAction] | None = None,
    ) -> Where:
        """A repository was starred, or a star was taken back."""
        return self._at("star", repo=repo, org=org, actions=actions)

    @event(
        "workflow_run",
        lambda: p.WorkflowRun,
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
    ) -> Where:
        """A run of a GitHub Actions workflow was requested, started or completed."""
        return self._at("workflow_run", repo=repo, org=org, actions=actions)

    @event(
        "check_run", lambda: p.CheckRun, source=webhook, examples=samples("check_run"), properties=_check_run
    )
    def check_run(
        self,
        *,
        repo: str | None = None,
        org: str | None = None,
        actions: Sequence[p.CheckRunAction] | None = None,
    ) -> Where:
        """A check run was created or completed, or asked for again."""
        return self._at("check_run", repo=repo, org=org, actions=actions)

    @event("ping", lambda: p.Ping, source=webhook, examples=samples("ping"), registers=(), properties=_ping)
    def ping(self, *, repo: str | None = None, org: str | None = None) -> Where:
        """A webhook was made, or asked to show that it works; sent to every webhook."""
        return self._at("ping", repo=repo, org=org)
