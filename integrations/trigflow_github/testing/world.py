"""What the fake GitHub holds: organizations, repositories, issues, hooks, attempts, an App.

Names of organizations and repositories are the same in any case, as at GitHub.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import attrs

from trigflow_github.samples import samples
from trigflow_github.testing.access import Caller, Tokens
from trigflow_github.testing.answers import Json, not_found
from trigflow_github.testing.apps import ALWAYS_SENT, FakeApp, Installation
from trigflow_github.testing.deliveries import KEPT, Attempt
from trigflow_github.testing.hooks import FakeHook, Kind, written
from trigflow_github.testing.oauth import Login


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
        self.places: dict[str, Place] = {}  # by name in lower case
        self.attempts: list[Attempt] = []
        self.tokens: Tokens = Tokens()
        self.login: Login = Login(self.tokens)
        self.app: FakeApp | None = None
        self.installations: dict[int, Installation] = {}
        self._ids = itertools.count(1_000_001)

    def next_id(self) -> int:
        """Return a number that nothing else has."""
        return next(self._ids)

    def add_organization(self, name: str) -> Place:
        """Make an organization unless it is there."""
        return self.places.setdefault(name.lower(), Place(name, "Organization", self.next_id()))

    def add_repository(self, name: str) -> Place:
        """Make a repository with the open issue 1 and the pull request 2 of the samples."""
        if name.lower() in self.places:
            return self.places[name.lower()]
        owner, _, own = name.partition("/")
        name = f"{self.add_organization(owner).name}/{own}"
        place = self.places[name.lower()] = Place(name, "Repository", self.next_id())
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
        return {
            "id": place.id,
            "name": name,
            "full_name": place.name,
            "owner": self.account(self.known(owner)),
        }

    def account(self, place: Place) -> Json:
        """Show an organization as the owner of things."""
        told: Json = {"login": place.name, "id": place.id, "type": "Organization", "site_admin": False}
        url = f"{self.base_url}/users/{place.name}"
        told |= {"node_id": f"O_{place.id}", "html_url": f"https://github.com/{place.name}", "url": url}
        return told | _links_of_account(url)

    def owner_of(self, place: Place) -> Place:
        """Return the organization of a repository; an organization is its own."""
        return self.known(place.name.partition("/")[0])

    def repositories(self, organization: Place | None = None) -> list[Place]:
        """Return the repositories, of one organization or of all."""
        return [
            place
            for place in self.places.values()
            if place.kind == "Repository" and (organization is None or self.owner_of(place) is organization)
        ]

    def known(self, name: str) -> Place:
        """Return a place that a test names; KeyError says what is missing."""
        try:
            return self.places[name.lower()]
        except KeyError:
            raise KeyError(f"the fake has no {name!r}; add it first") from None

    def place(self, name: str, caller: Caller | None = None) -> Place:
        """Return a repository or organization; Refused with 404 for a strange one and a hidden one."""
        found = self.places.get(name.lower())
        if found is None or not self.shows(found, caller):
            raise not_found()
        return found

    def shows(self, place: Place, caller: Caller | None) -> bool:
        """Tell whether a caller may see a place."""
        if caller is None or caller.kind in {"personal", "oauth", "app"}:
            return True
        if caller.kind == "installation":
            found = self.installations.get(caller.installation or 0)
            mine = [] if found is None else [found]
        else:
            mine = list(self.installations.values())
        return any(self.covers(one, place) for one in mine) and (
            caller.repositories is None or place.kind != "Repository" or place.id in caller.repositories
        )

    def covers(self, installation: Installation, place: Place) -> bool:
        """Tell whether a place belongs to an installation."""
        if installation.account_id != self.owner_of(place).id:
            return False
        return place.kind == "Organization" or installation.has(place.id)

    def hook(self, place: Place, hook_id: int) -> FakeHook:
        """Return a hook of this place; Refused with 404 where it has none of this id."""
        if hook_id not in place.hooks:
            raise not_found()
        return place.hooks[hook_id]

    def find_hook(self, hook_id: int) -> FakeHook | None:
        """Return a hook of any place, or of the App."""
        if self.app is not None and self.app.hook.id == hook_id:
            return self.app.hook
        return next((place.hooks[hook_id] for place in self.places.values() if hook_id in place.hooks), None)

    def wanting(self, place: Place, event: str) -> Iterator[FakeHook]:
        """Yield the hooks of a place, and of the organization that it belongs to, that are sent an event."""
        both = {at.name: at for at in (place, self.owner_of(place))}
        for at in both.values():
            yield from (hook for hook in list(at.hooks.values()) if hook.wants(event))

    def installed(self, place: Place) -> Installation | None:
        """Return the installation that covers a place and is not suspended."""
        found = (one for one in self.installations.values() if self.covers(one, place))
        return next((one for one in found if one.suspended_at is None), None)

    def app_wants(self, event: str) -> FakeHook | None:
        """Return the App's webhook if it is sent an event."""
        hook = self.app.hook if self.app is not None else None
        if hook is None or not hook.active or not hook.url:
            return None
        return hook if event in ALWAYS_SENT or hook.wants(event) else None

    def kept(self, hook: FakeHook) -> list[Attempt]:
        """Return the attempts that GitHub still shows for a hook, newest first."""
        since = self.now() - KEPT
        mine = [one for one in self.attempts if one.hook_id == hook.id and one.delivered_at > since]
        return sorted(mine, key=lambda one: one.id, reverse=True)

    def attempt_of(self, hook: FakeHook, number: int) -> Attempt:
        """Return an attempt that GitHub still shows; Refused with 404 where there is none."""
        for attempt in self.kept(hook):
            if attempt.id == number:
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
        about: Json = {"zen": "Design for failure.", "hook_id": hook.id, "hook": hook.shown(self.base_url)}
        if hook.kind == "App":
            return about
        place = self.known(hook.place)
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
            "url": f"{self.base_url}/users/octocat",
        } | _links_of_account(f"{self.base_url}/users/octocat")

    def stamped(self, thing: Json, **fields: Any) -> Json:
        """Return a thing as changed now."""
        return {**thing, **fields, "updated_at": written(self.now())}


def _links_of_account(url: str) -> Json:
    own = ("followers", "orgs", "repos", "received_events", "subscriptions")
    names = {"orgs": "organizations"}
    links = {f"{names.get(name, name)}_url": f"{url}/{name}" for name in own}
    links |= {"following_url": f"{url}/following{{/other_user}}", "gists_url": f"{url}/gists{{/gist_id}}"}
    links |= {"starred_url": f"{url}/starred{{/owner}}{{/repo}}", "events_url": f"{url}/events{{/privacy}}"}
    return {**links, "avatar_url": "https://avatars.githubusercontent.com/u/1", "gravatar_id": ""}


def new_guid() -> str:
    """Make the GUID of a delivery."""
    return str(uuid.uuid4())
