"""What the fake GitHub holds: organizations, repositories, issues, hooks, attempts."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import attrs

from trigflow_github.samples import samples
from trigflow_github.testing.answers import Json, not_found
from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.hooks import FakeHook, Kind, written


@attrs.define
class Place:
    """A repository ("acme/web") or an organization ("acme") and its webhooks."""

    name: str
    kind: Kind
    id: int
    hooks: dict[int, FakeHook] = attrs.Factory(dict[int, FakeHook])
    issues: dict[int, Json] = attrs.Factory(dict[int, Json])
    pulls: dict[int, Json] = attrs.Factory(dict[int, Json])
    files: dict[int, list[Json]] = attrs.Factory(dict[int, "list[Json]"])
    comments: dict[int, tuple[int, Json]] = attrs.Factory(dict[int, "tuple[int, Json]"])  # number, comment
    statuses: list[tuple[str, Json]] = attrs.Factory(list["tuple[str, Json]"])  # commit, status


class World:
    """All that the fake knows; ids are never used twice."""

    def __init__(self, base_url: str, clock: Callable[[], datetime]) -> None:
        self.base_url = base_url
        self.now = clock
        self.places: dict[str, Place] = {}
        self.attempts: list[Attempt] = []
        self._ids = itertools.count(1_000_001)

    def next_id(self) -> int:
        """Return a number that nothing else has."""
        return next(self._ids)

    def add_organization(self, name: str) -> Place:
        """Make an organization unless it is there."""
        return self.places.setdefault(name, Place(name, "Organization", self.next_id()))

    def add_repository(self, name: str) -> Place:
        """Make a repository with the open issue 1 and the pull request 2 of the samples."""
        if name in self.places:
            return self.places[name]
        self.add_organization(name.partition("/")[0])
        place = self.places[name] = Place(name, "Repository", self.next_id())
        issue = self.sample(place, "issues", "opened")["issue"]
        pull = self.sample(place, "pull_request", "opened")["pull_request"]
        links = {key: pull[key] for key in ("url", "html_url", "diff_url", "patch_url")}
        place.issues[1] = issue | {"number": 1, "labels": []}
        place.issues[2] = place.issues[1] | {
            "number": 2,
            "title": pull["title"],
            "html_url": pull["html_url"],
            "pull_request": links,
        }
        place.pulls[2] = pull
        return place

    def sample(self, place: Place, event: str, name: str) -> Json:
        """Return a sample as if it had happened in this repository."""
        text = samples(event)[name].read().decode()
        text = text.replace("Codertocat/Hello-World", place.name)
        text = text.replace("https://api.github.com", self.base_url)
        payload: Json = json.loads(text)
        if isinstance(payload.get("repository"), dict):
            payload["repository"] |= self.repository(place)
        return payload

    def repository(self, place: Place) -> Json:
        """Return what tells one repository from another."""
        owner, _, name = place.name.partition("/")
        mine = {"login": owner, "id": self.places[owner].id, "type": "Organization", "site_admin": False}
        mine |= {"node_id": f"O_{self.places[owner].id}", "html_url": f"https://github.com/{owner}"}
        return {"id": place.id, "name": name, "full_name": place.name, "owner": mine}

    def place(self, name: str) -> Place:
        """Return a repository or organization; Refused with 404 for a strange one."""
        found = self.places.get(name)
        if found is None:
            raise not_found()
        return found

    def hook(self, place: Place, hook_id: int) -> FakeHook:
        """Return a hook of this place; Refused with 404 where it has none of this id."""
        if hook_id not in place.hooks:
            raise not_found()
        return place.hooks[hook_id]

    def find_hook(self, hook_id: int) -> FakeHook | None:
        """Return a hook of any place."""
        return next((place.hooks[hook_id] for place in self.places.values() if hook_id in place.hooks), None)

    def wanting(self, place: Place, event: str) -> Iterator[FakeHook]:
        """Yield the hooks of a place, and of the organization that it belongs to, that are sent an event."""
        for name in dict.fromkeys((place.name, place.name.partition("/")[0])):
            yield from (hook for hook in list(self.places[name].hooks.values()) if hook.wants(event))

    def attempt_of(self, hook: FakeHook, number: int) -> Attempt:
        """Return an attempt to deliver to a hook; Refused with 404 where there is none."""
        for attempt in self.attempts:
            if attempt.id == number and attempt.hook_id == hook.id:
                return attempt
        raise not_found()

    def remember(self, attempt: Attempt) -> None:
        """Keep an attempt, and its outcome with the hook."""
        self.attempts.append(attempt)
        hook = self.find_hook(attempt.hook_id)
        if hook is not None:
            shown = attempt.shown()
            code = attempt.status or None
            hook.last_response = {"code": code, "status": shown["status"], "message": attempt.error or None}

    def ping(self, hook: FakeHook) -> Json:
        """Return the payload of a ping for a hook."""
        place = self.places[hook.place]
        about: Json = {"zen": "Design for failure.", "hook_id": hook.id, "hook": hook.shown(self.base_url)}
        if hook.kind == "Organization":
            login: Json = {
                "login": place.name,
                "id": place.id,
                "node_id": f"O_{place.id}",
                "description": None,
            }
            return about | {"organization": login, "sender": self.viewer()}
        repository: Any = self.sample(place, "ping", "default")["repository"]
        return about | {"repository": repository, "sender": self.viewer()}

    def viewer(self) -> Json:
        """Return whose token it is."""
        return {
            "login": "octocat",
            "id": 583231,
            "node_id": "MDQ6VXNlcjU4MzIzMQ==",
            "type": "User",
            "site_admin": False,
            "html_url": "https://github.com/octocat",
        }

    def stamped(self, thing: Json, **fields: Any) -> Json:
        """Return a thing as changed now."""
        return {**thing, **fields, "updated_at": written(self.now())}


def new_guid() -> str:
    """Make the GUID of a delivery."""
    return str(uuid.uuid4())
