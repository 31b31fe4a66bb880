"""The methods of the client: issues, comments, pull requests, statuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from trigflow_github.client.apps import Apps
from trigflow_github.client.hooks import Hooks
from trigflow_github.client.paths import given, listed, repo_path
from trigflow_github.payloads import (
    ChangedFile,
    Comment,
    CommitStatus,
    Issue,
    Label,
    PullRequestDetail,
    Review,
    User,
)

StateReason = Literal["completed", "not_planned", "duplicate", "reopened"]
StatusState = Literal["error", "failure", "pending", "success"]
ReviewEvent = Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"]


@attrs.frozen
class Viewer:
    """Whose token it is; scopes: None where the token has none to name, as fine-grained ones."""

    user: User
    scopes: tuple[str, ...] | None


class GitHubClient(Hooks, Apps):
    """GitHub's REST API with one token.

    Every method may raise Unauthorized, NotFound, RateLimited or another ApiError.
    It never waits for a limit to end: let the job fail and be tried again.
    `repo` is "owner/name"; webhooks are named by `repo` or `org`.
    """

    async def viewer(self) -> Viewer:
        """Tell whose token it is and what it may do."""
        answer = await self.request("GET", "/user")
        scopes = answer.headers.get("x-oauth-scopes")
        named = None if scopes is None else tuple(filter(None, scopes.replace(" ", "").split(",")))
        return Viewer(answer.decode(User), named)

    async def issue(self, repo: str, number: int) -> Issue:
        """Get an issue, or a pull request as an issue."""
        return (await self.request("GET", repo_path(repo, "issues", number))).decode(Issue)

    async def create_issue(
        self,
        repo: str,
        title: str,
        body: str | None = None,
        *,
        labels: Iterable[str] | None = None,
        assignees: Iterable[str] | None = None,
        milestone: int | None = None,
    ) -> Issue:
        """Open an issue; milestone: its number."""
        told = given(
            title=title, body=body, labels=listed(labels), assignees=listed(assignees), milestone=milestone
        )
        return (await self.request("POST", repo_path(repo, "issues"), json=told)).decode(Issue)

    async def update_issue(
        self,
        repo: str,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        state: Literal["open", "closed"] | None = None,
        state_reason: StateReason | None = None,
        labels: Iterable[str] | None = None,
        assignees: Iterable[str] | None = None,
        milestone: int | None = None,
    ) -> Issue:
        """Change what is given; `labels` and `assignees` replace what was there."""
        told = given(
            title=title,
            body=body,
            state=state,
            state_reason=state_reason,
            labels=listed(labels),
            assignees=listed(assignees),
            milestone=milestone,
        )
        return (await self.request("PATCH", repo_path(repo, "issues", number), json=told)).decode(Issue)

    async def close_issue(self, repo: str, number: int, *, reason: StateReason = "completed") -> Issue:
        """Close an issue."""
        return await self.update_issue(repo, number, state="closed", state_reason=reason)

    async def add_labels(self, repo: str, number: int, labels: Iterable[str]) -> list[str]:
        """Add labels to an issue or pull request and return all that it has."""
        told = {"labels": listed(labels)}
        answer = await self.request("POST", repo_path(repo, "issues", number, "labels"), json=told)
        return [label.name for label in answer.decode(list[Label])]

    async def remove_label(self, repo: str, number: int, label: str) -> list[str]:
        """Take a label away and return those left; NotFound where it was not there."""
        answer = await self.request("DELETE", repo_path(repo, "issues", number, "labels", label))
        return [left.name for left in answer.decode(list[Label])]

    async def comment(self, repo: str, number: int, body: str) -> Comment:
        """Comment on an issue or pull request."""
        path = repo_path(repo, "issues", number, "comments")
        return (await self.request("POST", path, json={"body": body})).decode(Comment)

    async def update_comment(self, repo: str, comment_id: int, body: str) -> Comment:
        """Replace the text of a comment."""
        path = repo_path(repo, "issues", "comments", comment_id)
        return (await self.request("PATCH", path, json={"body": body})).decode(Comment)

    async def pull_request(self, repo: str, number: int) -> PullRequestDetail:
        """Get a pull request."""
        return (await self.request("GET", repo_path(repo, "pulls", number))).decode(PullRequestDetail)

    async def pull_request_files(self, repo: str, number: int) -> list[ChangedFile]:
        """List the files that a pull request changes."""
        pages = self.paginate(repo_path(repo, "pulls", number, "files"), ChangedFile)
        return [file async for file in pages]

    async def create_review(
        self, repo: str, number: int, event: ReviewEvent, body: str | None = None
    ) -> Review:
        """Review a pull request; only an approval may go without a body."""
        told = given(event=event, body=body)
        return (await self.request("POST", repo_path(repo, "pulls", number, "reviews"), json=told)).decode(
            Review
        )

    async def set_status(
        self,
        repo: str,
        sha: str,
        state: StatusState,
        *,
        context: str = "default",
        description: str | None = None,
        target_url: str | None = None,
    ) -> CommitStatus:
        """Say how a commit is doing; a later status of the same context replaces it."""
        told = given(state=state, context=context, description=description, target_url=target_url)
        return (await self.request("POST", repo_path(repo, "statuses", sha), json=told)).decode(CommitStatus)
