"""The methods of the client: issues, comments, pull requests, statuses, webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal
from urllib.parse import quote

import attrs

from trigflow_github.client.connection import LARGEST_PAGE, Connection
from trigflow_github.payloads import (
    ChangedFile,
    Comment,
    CommitStatus,
    Hook,
    HookDelivery,
    HookDeliveryDetail,
    Issue,
    Label,
    PullRequestDetail,
    Review,
    User,
)

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")

StateReason = Literal["completed", "not_planned", "duplicate", "reopened"]
StatusState = Literal["error", "failure", "pending", "success"]
ReviewEvent = Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"]


@attrs.frozen
class Viewer:
    """Whose token it is; scopes: None where the token has none to name, as fine-grained ones."""

    user: User
    scopes: tuple[str, ...] | None


class GitHubClient(Connection):
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
        return (await self.request("GET", _repo(repo, "issues", number))).decode(Issue)

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
        told = _given(
            title=title, body=body, labels=_list(labels), assignees=_list(assignees), milestone=milestone
        )
        return (await self.request("POST", _repo(repo, "issues"), json=told)).decode(Issue)

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
        told = _given(
            title=title,
            body=body,
            state=state,
            state_reason=state_reason,
            labels=_list(labels),
            assignees=_list(assignees),
            milestone=milestone,
        )
        return (await self.request("PATCH", _repo(repo, "issues", number), json=told)).decode(Issue)

    async def close_issue(self, repo: str, number: int, *, reason: StateReason = "completed") -> Issue:
        """Close an issue."""
        return await self.update_issue(repo, number, state="closed", state_reason=reason)

    async def add_labels(self, repo: str, number: int, labels: Iterable[str]) -> list[str]:
        """Add labels to an issue or pull request and return all that it has."""
        told = {"labels": _list(labels)}
        answer = await self.request("POST", _repo(repo, "issues", number, "labels"), json=told)
        return [label.name for label in answer.decode(list[Label])]

    async def remove_label(self, repo: str, number: int, label: str) -> list[str]:
        """Take a label away and return those left; NotFound where it was not there."""
        answer = await self.request("DELETE", _repo(repo, "issues", number, "labels", label))
        return [left.name for left in answer.decode(list[Label])]

    async def comment(self, repo: str, number: int, body: str) -> Comment:
        """Comment on an issue or pull request."""
        path = _repo(repo, "issues", number, "comments")
        return (await self.request("POST", path, json={"body": body})).decode(Comment)

    async def update_comment(self, repo: str, comment_id: int, body: str) -> Comment:
        """Replace the text of a comment."""
        path = _repo(repo, "issues", "comments", comment_id)
        return (await self.request("PATCH", path, json={"body": body})).decode(Comment)

    async def pull_request(self, repo: str, number: int) -> PullRequestDetail:
        """Get a pull request."""
        return (await self.request("GET", _repo(repo, "pulls", number))).decode(PullRequestDetail)

    async def pull_request_files(self, repo: str, number: int) -> list[ChangedFile]:
        """List the files that a pull request changes."""
        pages = self.paginate(_repo(repo, "pulls", number, "files"), ChangedFile)
        return [file async for file in pages]

    async def create_review(
        self, repo: str, number: int, event: ReviewEvent, body: str | None = None
    ) -> Review:
        """Review a pull request; only an approval may go without a body."""
        told = _given(event=event, body=body)
        return (await self.request("POST", _repo(repo, "pulls", number, "reviews"), json=told)).decode(Review)

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
        told = _given(state=state, context=context, description=description, target_url=target_url)
        return (await self.request("POST", _repo(repo, "statuses", sha), json=told)).decode(CommitStatus)

    async def hooks(self, *, repo: str | None = None, org: str | None = None) -> list[Hook]:
        """List the webhooks; OAuth apps see their own only."""
        return [hook async for hook in self.paginate(_owner(repo, org), Hook)]

    async def hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> Hook:
        """Get a webhook."""
        return (await self.request("GET", _owner(repo, org, hook_id))).decode(Hook)

    async def create_hook(
        self,
        url: str,
        events: Iterable[str],
        *,
        repo: str | None = None,
        org: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] = "json",
        active: bool = True,
    ) -> Hook:
        """Make a webhook; GitHub sends a ping to it at once, maybe before this returns."""
        config = _given(url=url, content_type=content_type, insecure_ssl="0", secret=secret)
        told = {"name": "web", "active": active, "events": _list(events), "config": config}
        return (await self.request("POST", _owner(repo, org), json=told)).decode(Hook)

    async def update_hook(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        events: Iterable[str] | None = None,
        add_events: Iterable[str] | None = None,
        remove_events: Iterable[str] | None = None,
        active: bool | None = None,
        url: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] = "json",
    ) -> Hook:
        """Change a webhook; always give `url` and `secret`, or GitHub removes the secret.

        events: replaces all; add_events, remove_events: for webhooks of a repository only.
        To change parts of the configuration, and to keep the secret: `configure_hook`.
        Raises ValueError for a secret without a url: GitHub takes the configuration whole.
        """
        if url is None and secret is not None:
            raise ValueError("give the url with the secret, or change the secret alone with configure_hook")
        if repo is None and (add_events is not None or remove_events is not None):
            raise ValueError("webhooks of an organization take no add_events or remove_events; give events")
        config = _given(url=url, content_type=content_type, insecure_ssl="0", secret=secret) if url else None
        told = _given(
            events=_list(events),
            add_events=_list(add_events),
            remove_events=_list(remove_events),
            active=active,
            config=config,
        )
        return (await self.request("PATCH", _owner(repo, org, hook_id), json=told)).decode(Hook)

    async def configure_hook(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        url: str | None = None,
        secret: str | None = None,
        content_type: Literal["json", "form"] | None = None,
    ) -> None:
        """Change what is given of a webhook's configuration and keep the rest, its secret too."""
        told = _given(url=url, secret=secret, content_type=content_type)
        await self.request("PATCH", _owner(repo, org, hook_id, "config"), json=told)

    async def delete_hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> None:
        """Delete a webhook."""
        await self.request("DELETE", _owner(repo, org, hook_id))

    async def ping_hook(self, hook_id: int, *, repo: str | None = None, org: str | None = None) -> None:
        """Have GitHub send a ping."""
        await self.request("POST", _owner(repo, org, hook_id, "pings"))

    async def hook_deliveries(
        self,
        hook_id: int,
        *,
        repo: str | None = None,
        org: str | None = None,
        status: Literal["success", "failure"] | None = None,
        limit: int = LARGEST_PAGE,
    ) -> list[HookDelivery]:
        """List the latest attempts to deliver, newest first; at most `limit`."""
        found: list[HookDelivery] = []
        path, query = _owner(repo, org, hook_id, "deliveries"), _given(status=status)
        pages = self.paginate(path, HookDelivery, query=query, per_page=min(limit, LARGEST_PAGE))
        async with aclosing(pages):
            async for delivery in pages:
                found.append(delivery)
                if len(found) >= limit:
                    break
        return found

    async def hook_delivery(
        self, hook_id: int, delivery_id: int, *, repo: str | None = None, org: str | None = None
    ) -> HookDeliveryDetail:
        """Get an attempt with what was sent; delivery_id: its number, not its GUID."""
        path = _owner(repo, org, hook_id, "deliveries", delivery_id)
        return (await self.request("GET", path)).decode(HookDeliveryDetail)

    async def redeliver(
        self, hook_id: int, delivery_id: int, *, repo: str | None = None, org: str | None = None
    ) -> None:
        """Have GitHub deliver again; the new attempt carries the old GUID."""
        await self.request("POST", _owner(repo, org, hook_id, "deliveries", delivery_id, "attempts"))


def _repo(repo: str, *rest: str | int) -> str:
    owner, slash, name = repo.partition("/")
    if not slash or not all(_NAME.fullmatch(part) and part.strip(".") for part in (owner, name)):
        raise ValueError(f'{repo!r} is not a repository; write "owner/name"')
    return _path("repos", owner, name, *rest)


def _owner(repo: str | None, org: str | None, *rest: str | int) -> str:
    """Return the path of a webhook of a repository or of an organization."""
    if repo is not None and org is None:
        return _repo(repo, "hooks", *rest)
    if repo is not None or org is None:
        raise ValueError('give one of repo="owner/name" and org="name"')
    if not _NAME.fullmatch(org) or not org.strip("."):
        raise ValueError(f"{org!r} is not the name of an organization")
    return _path("orgs", org, "hooks", *rest)


def _path(*segments: str | int) -> str:
    """Quote and join; ValueError for a segment that a server would take for a step up or for nothing."""
    texts = [str(segment) for segment in segments]
    for text in texts:
        if not text.strip("."):
            raise ValueError(f"{text!r} can't be part of a path")
    return "/" + "/".join(quote(text, safe="") for text in texts)


def _list(items: Iterable[str] | None) -> list[str] | None:
    if isinstance(items, str):
        raise TypeError(f"{items!r} is one text; give a list")
    return None if items is None else list(items)


def _given(**values: Any) -> Mapping[str, Any]:
    """Leave out what is None: GitHub takes null for "remove"."""
    return {name: value for name, value in values.items() if value is not None}
