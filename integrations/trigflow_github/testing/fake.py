"""FakeGitHub: GitHub's REST API and its deliveries, on this machine.

Faithful to GitHub's documentation where it is precise, silent where it is not. Requests
are held against GitHub's own description of the API. Three differences on purpose:
webhooks may point to this machine, which GitHub refuses; a secret is removed by any
PATCH of a hook without `config.secret`, the strictest reading of the documentation, so
that what works here works there; and a field that the description does not name is
refused even where GitHub would ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from trigflow.testing.fake_server import Call
from trigflow_github.testing.answers import Json
from trigflow_github.testing.clock import utc_now
from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.granting import Granting
from trigflow_github.testing.hooks import FakeHook, created
from trigflow_github.testing.machine import in_bytes
from trigflow_github.testing.misbehaving import Misbehaving
from trigflow_github.testing.post import Letter
from trigflow_github.testing.world import Place, new_guid

TOKEN = "fake-token"  # noqa: S105 - opens nothing


class FakeGitHub(Misbehaving, Granting):
    """A GitHub with the organization "acme" and its repository "acme/web".

    Every repository has the open issue 1 and the pull request 2 of the samples.
    What sends (`emit`, `redeliver`, `forge`, `advance`) blocks the calling thread for at
    most 10 s an attempt; beside an event loop call it from a worker thread. A ping leaves
    in the background; `settle` waits for it.
    """

    def __init__(
        self,
        token: str = TOKEN,
        *,
        limit: int = 5000,
        clock: Callable[[], datetime] = utc_now,
        port: int = 0,
    ) -> None:
        """Make a GitHub that knows one token; limit: requests of a caller an hour; port: 0 for any.

        clock: what its time starts from; `advance` moves it on.
        """
        super().__init__(token, limit=limit, clock=clock, port=port)

    @property
    def limit(self) -> int:
        """How many requests a caller has within an hour."""
        return self._front.limit

    @limit.setter
    def limit(self, requests: int) -> None:
        self._front.limit = requests

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._faults.drop_all()
        self._server.close()
        self._post.close()

    def add_repository(self, name: str) -> None:
        """Add "owner/name" and its organization."""
        with self._lock:
            self._world.add_repository(name)

    def add_organization(self, name: str) -> None:
        """Add an organization without repositories."""
        with self._lock:
            self._world.add_organization(name)

    def add_file(self, repo: str, number: int, filename: str, **fields: Any) -> None:
        """Add a changed file to a pull request."""
        new: Json = {"sha": None, "filename": filename, "status": "modified"}
        new |= {"additions": 1, "deletions": 0, "changes": 1, **fields}
        with self._lock:
            self._place(repo).files.setdefault(number, []).append(new)

    @property
    def calls(self) -> list[Call]:
        """The requests that were answered, in order."""
        return self._front.calls

    @property
    def writes(self) -> list[Call]:
        """The calls that wanted to change something."""
        return [call for call in self.calls if call.method != "GET"]

    def hooks(self, place: str) -> list[FakeHook]:
        """Return copies of the webhooks of a repository or organization."""
        with self._lock:
            return [attrs.evolve(hook) for hook in self._place(place).hooks.values()]

    def attempts(self, place: str) -> list[Attempt]:
        """Return the attempts to deliver to the hooks that are there, oldest first."""
        ids = {hook.id for hook in self.hooks(place)}
        with self._lock:
            return [attempt for attempt in self._world.attempts if attempt.hook_id in ids]

    def issue(self, repo: str, number: int) -> Json:
        """Return an issue as the API shows it."""
        with self._lock:
            return dict(self._place(repo).issues[number])

    def labels(self, repo: str, number: int) -> list[str]:
        """Return the names of an issue's labels."""
        return [label["name"] for label in self.issue(repo, number)["labels"]]

    def comments(self, repo: str, number: int) -> list[str]:
        """Return the texts of an issue's comments, oldest first."""
        with self._lock:
            return [made["body"] for on, made in self._place(repo).comments.values() if on == number]

    def statuses(self, repo: str, sha: str) -> dict[str, str]:
        """Return the latest state of a commit, by context."""
        with self._lock:
            statuses = self._place(repo).statuses
            return {status["context"]: status["state"] for on, status in statuses if on == sha}

    def payload(self, place: str, event: str, name: str = "default") -> Json:
        """Return a sample as if it had happened in this repository."""
        with self._lock:
            return self._world.sample(self._place(place), event, name)

    def log(self) -> list[Attempt]:
        """Return all attempts to deliver to anyone, oldest first."""
        with self._lock:
            return list(self._world.attempts)

    def add_hook(
        self, place: str, url: str, events: tuple[str, ...] = ("push",), *, secret: str | None = None
    ) -> FakeHook:
        """Make a webhook that is not ours; no ping is sent. Refused by the same rules as by the API."""
        config = {"url": url, "content_type": "json", **({"secret": secret} if secret else {})}
        body = {"name": "web", "events": list(events), "config": config}
        with self._lock:
            at, now = self._place(place), self.now()
            empty = FakeHook(self._world.next_id(), at.name, at.kind, at.id, now, now)
            made = at.hooks[empty.id] = created(empty, body, at.hooks.values())
        return attrs.evolve(made)

    def emit(
        self,
        place: str,
        event: str,
        payload: Mapping[str, Any] | bytes,
        *,
        delivery: str | None = None,
        content_type: str | None = None,
    ) -> list[Attempt]:
        """Deliver an event to every hook of the repository and of its organization that wants it.

        Where the App is installed, its webhook is sent it too, with the installation in the payload.
        Returns the attempts that were logged: none for what was lost unlogged or kept back.
        delivery: the GUID; all hooks are sent the same one.
        content_type: instead of what each hook is configured for.
        """
        guid = delivery or new_guid()
        with self._lock:
            at = self._place(place)
            body = in_bytes(payload)
            letters = [
                Letter(hook, event, body, guid, content_type) for hook in self._world.wanting(at, event)
            ]
            letters += self._to_app(at, event, payload, guid, content_type)
        return [attempt for letter in letters for attempt in self._post.deliver(letter)]

    def redeliver(self, attempt: Attempt) -> Attempt:
        """Deliver again, with the same GUID, whatever the post office was told."""
        with self._lock:
            hook = self._world.find_hook(attempt.hook_id)
        if hook is None:
            raise ValueError(f"hook {attempt.hook_id} is gone; GitHub can't redeliver to it")
        letter = Letter(hook, attempt.event, attempt.payload, attempt.delivery, redelivery=True)
        return self._post.send(letter)

    def forge(
        self, hook: FakeHook, event: str, payload: Mapping[str, Any] | bytes, *, delivery: str | None = None
    ) -> Attempt:
        """Send what only looks like a delivery: it is signed with another secret."""
        letter = Letter(hook, event, in_bytes(payload), delivery or new_guid())
        return self._post.send(letter, key=f"not {hook.secret}", kept=False)

    def _to_app(
        self,
        place: Place,
        event: str,
        payload: Mapping[str, Any] | bytes,
        guid: str,
        content_type: str | None,
    ) -> list[Letter]:
        hook, one = self._world.app_wants(event), self._world.installed(place)
        if hook is None or one is None:
            return []
        told: Json = json.loads(payload) if isinstance(payload, bytes) else dict(payload)
        body = in_bytes({**told, "installation": one.short()})
        return [Letter(hook, event, body, guid, content_type)]
