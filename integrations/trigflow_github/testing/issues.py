"""What the fake does with issues, comments, pull requests and statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from trigflow.testing.fake_server import Reply
from trigflow_github.testing.answers import Asked, Json, invalid, not_found, page_of, refused
from trigflow_github.testing.hooks import written
from trigflow_github.testing.world import Place, World

_STATES = {"error", "failure", "pending", "success"}
_REVIEWS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


def _issue(place: Place, asked: Asked) -> Json:
    number = int(asked.path["number"])
    if number not in place.issues:
        raise not_found()
    return place.issues[number]


def _get(_world: World, place: Place, asked: Asked) -> Reply:
    return Reply(200, _issue(place, asked))


def _create(world: World, place: Place, asked: Asked) -> Reply:
    if not asked.body.get("title"):
        raise invalid({"resource": "Issue", "field": "title", "code": "missing_field"})
    number = max(place.issues, default=0) + 1
    url = f"{world.base_url}/repos/{place.name}/issues/{number}"
    like = world.sample(place, "issues", "opened")["issue"]
    fresh = like | {"id": world.next_id(), "number": number, "url": url, "body": None, "labels": []}
    fresh |= {"assignee": None, "assignees": [], "milestone": None, "created_at": written(world.now())}
    fresh["html_url"] = f"https://github.com/{place.name}/issues/{number}"
    place.issues[number] = _changed(world, place, fresh, asked.body)
    return Reply(201, place.issues[number], {"Location": url})


def _update(world: World, place: Place, asked: Asked) -> Reply:
    issue = _changed(world, place, _issue(place, asked), asked.body)
    place.issues[issue["number"]] = issue
    return Reply(200, issue)


def _changed(world: World, place: Place, issue: Json, body: Json) -> Json:
    if body.get("state", "open") not in {"open", "closed"}:
        raise invalid({"resource": "Issue", "field": "state", "code": "invalid"})
    told: Json = {name: body[name] for name in ("title", "body", "state", "state_reason") if name in body}
    if "labels" in body:
        told["labels"] = [_label(world, place, _name(label)) for label in body["labels"]]
    if "assignees" in body:
        told["assignees"] = [world.viewer() | {"login": login} for login in body["assignees"]]
    if "state" in told:
        told["closed_at"] = written(world.now()) if told["state"] == "closed" else None
    return world.stamped(issue, **told)


def _name(label: Any) -> str:
    return str(cast("Json", label)["name"] if isinstance(label, dict) else label)


def _label(world: World, place: Place, name: str) -> Json:
    url = f"{world.base_url}/repos/{place.name}/labels/{name}"
    number = world.next_id()
    label: Json = {"id": number, "node_id": f"LA_{number}", "url": url, "name": name}
    return label | {"color": "ededed", "default": False, "description": None}


def _list_labels(_world: World, place: Place, asked: Asked) -> Reply:
    return page_of(_issue(place, asked)["labels"], asked)


def _add_labels(world: World, place: Place, asked: Asked) -> Reply:
    issue = _issue(place, asked)
    there: set[str] = {label["name"].lower() for label in issue["labels"]}
    wanted = dict.fromkeys(_name(label) for label in asked.body.get("labels", []))
    new = [_label(world, place, name) for name in wanted if name.lower() not in there]
    place.issues[issue["number"]] = world.stamped(issue, labels=[*issue["labels"], *new])
    return Reply(200, place.issues[issue["number"]]["labels"])


def _remove_label(world: World, place: Place, asked: Asked) -> Reply:
    issue, name = _issue(place, asked), asked.path["label"].lower()
    left = [label for label in issue["labels"] if label["name"].lower() != name]
    if len(left) == len(issue["labels"]):
        raise refused(404, "Label does not exist")
    place.issues[issue["number"]] = world.stamped(issue, labels=left)
    return Reply(200, left)


def _list_comments(_world: World, place: Place, asked: Asked) -> Reply:
    number = _issue(place, asked)["number"]
    return page_of([comment for on, comment in place.comments.values() if on == number], asked)


def _comment(world: World, place: Place, asked: Asked) -> Reply:
    issue = _issue(place, asked)
    if not asked.body.get("body"):
        raise invalid({"resource": "IssueComment", "field": "body", "code": "missing_field"})
    number, now = world.next_id(), written(world.now())
    url = f"{world.base_url}/repos/{place.name}/issues/comments/{number}"
    like = world.sample(place, "issue_comment", "created")["comment"]
    made = like | {"id": number, "url": url, "user": world.viewer(), "body": asked.body["body"]}
    made |= {"created_at": now, "updated_at": now, "html_url": f"{issue['html_url']}#issuecomment-{number}"}
    place.comments[number] = (issue["number"], made)
    return Reply(201, made, {"Location": url})


def _edit_comment(world: World, place: Place, asked: Asked) -> Reply:
    number = int(asked.path["comment"])
    if number not in place.comments:
        raise not_found()
    on, comment = place.comments[number]
    place.comments[number] = (on, world.stamped(comment, body=asked.body.get("body", comment["body"])))
    return Reply(200, place.comments[number][1])


def _pull(place: Place, asked: Asked) -> Json:
    number = int(asked.path["number"])
    if number not in place.pulls:
        raise not_found()
    issue = place.issues[number]
    shared = ("title", "body", "state", "labels", "assignees", "closed_at", "updated_at")
    return place.pulls[number] | {name: issue[name] for name in shared if name in issue}


def _get_pull(_world: World, place: Place, asked: Asked) -> Reply:
    return Reply(200, _pull(place, asked))


def _list_files(_world: World, place: Place, asked: Asked) -> Reply:
    return page_of(place.files.get(_pull(place, asked)["number"], []), asked)


def _review(world: World, place: Place, asked: Asked) -> Reply:
    pull, event, body = _pull(place, asked), asked.body.get("event"), asked.body.get("body") or ""
    if event not in _REVIEWS or (event != "APPROVE" and not body):
        raise invalid({"resource": "PullRequestReview", "field": "event", "code": "invalid"})
    number = world.next_id()
    review: Json = {"id": number, "node_id": f"PRR_{number}", "user": world.viewer(), "body": body}
    review |= {"state": _REVIEWS[event], "html_url": f"{pull['html_url']}#pullrequestreview-{number}"}
    review |= {"submitted_at": written(world.now()), "commit_id": pull["head"]["sha"]}
    return Reply(200, review | {"author_association": "COLLABORATOR"})


def _set_status(world: World, place: Place, asked: Asked) -> Reply:
    if asked.body.get("state") not in _STATES:
        raise invalid({"resource": "Status", "field": "state", "code": "invalid"})
    sha, now, number = asked.path["sha"], written(world.now()), world.next_id()
    told = {name: asked.body.get(name) for name in ("state", "description", "target_url")}
    status: Json = {"id": number, "node_id": f"SC_{number}", "creator": world.viewer(), **told}
    status |= {"url": f"{world.base_url}/repos/{place.name}/statuses/{sha}", "created_at": now}
    status |= {"updated_at": now, "context": asked.body.get("context", "default")}
    place.statuses.append((sha, status))
    return Reply(201, status)


ROUTES: tuple[tuple[str, str, Callable[[World, Place, Asked], Reply]], ...] = (
    ("POST", "/issues", _create),
    ("GET", "/issues/{number}", _get),
    ("PATCH", "/issues/{number}", _update),
    ("GET", "/issues/{number}/labels", _list_labels),
    ("POST", "/issues/{number}/labels", _add_labels),
    ("DELETE", "/issues/{number}/labels/{label}", _remove_label),
    ("GET", "/issues/{number}/comments", _list_comments),
    ("POST", "/issues/{number}/comments", _comment),
    ("PATCH", "/issues/comments/{comment}", _edit_comment),
    ("GET", "/pulls/{number}", _get_pull),
    ("GET", "/pulls/{number}/files", _list_files),
    ("POST", "/pulls/{number}/reviews", _review),
    ("POST", "/statuses/{sha}", _set_status),
)
