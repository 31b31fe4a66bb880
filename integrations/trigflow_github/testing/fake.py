"""FakeGitHub: GitHub's REST API and its deliveries, on this machine.

Faithful to GitHub's documentation where it is precise, silent where it is not: no
invented checks. Two differences on purpose: webhooks may point to this machine, which
GitHub refuses; and a secret is removed by any PATCH of a hook without `config.secret`,
the strictest reading of the documentation, so that what works here works there.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, Self, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from trigflow_github.testing.answers import Asked, Json, Refused, Reply, refused
from trigflow_github.testing.deliveries import Attempt, prepared, sent
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.routes import Post, answer
from trigflow_github.testing.server import Call, Received, Server
from trigflow_github.testing.world import World, new_guid

TOKEN = "fake-token"  # noqa: S105 - opens nothing
_HOUR = 3600


@attrs.define
class _Fault:
    method: str
    path: re.Pattern[str]
    reply: Reply
    times: int | None
    effective: bool

    def takes(self, method: str, path: str) -> bool:
        """Tell whether it is this request's turn, and count it."""
        if self.times == 0 or self.method not in {method, "*"} or not self.path.search(path):
            return False
        self.times = None if self.times is None else self.times - 1
        return True


def _utc_now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


class FakeGitHub:
    """A GitHub with the organization "acme" and its repository "acme/web".

    Every repository has the open issue 1 and the pull request 2 of the samples.
    What sends (`emit`, `redeliver`, `forge`) blocks the calling thread for at most
    10 s an attempt; beside an event loop call it from a worker thread. A ping leaves
    in the background; `settle` waits for it.
    """

    def __init__(
        self, token: str = TOKEN, *, limit: int = 5000, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        """Make a GitHub that knows one token; limit: requests until the rate limit refuses."""
        self.calls: list[Call] = []
        self.limit = limit
        self._token = token
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()
        self._server = Server(self._answer)
        self._world = World(self._server.url, clock)
        self._used, self._reset = 0, int(clock().timestamp()) + _HOUR
        self._sender = ThreadPoolExecutor(4, "fake-github")
        self._pending: list[Future[Any]] = []
        self._world.add_repository("acme/web")

    @property
    def url(self) -> str:
        """The base URL to give to a client."""
        return self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.close()
        self._sender.shutdown()

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
            self._world.places[repo].files.setdefault(number, []).append(new)

    @property
    def writes(self) -> list[Call]:
        """The calls that wanted to change something."""
        return [call for call in self.calls if call.method != "GET"]

    def hooks(self, place: str) -> list[FakeHook]:
        """Return copies of the webhooks of a repository or organization."""
        with self._lock:
            return [attrs.evolve(hook) for hook in self._world.places[place].hooks.values()]

    def attempts(self, place: str) -> list[Attempt]:
        """Return the attempts to deliver to the hooks that are there, oldest first."""
        ids = {hook.id for hook in self.hooks(place)}
        with self._lock:
            return [attempt for attempt in self._world.attempts if attempt.hook_id in ids]

    def issue(self, repo: str, number: int) -> Json:
        """Return an issue as the API shows it."""
        with self._lock:
            return dict(self._world.places[repo].issues[number])

    def labels(self, repo: str, number: int) -> list[str]:
        """Return the names of an issue's labels."""
        return [label["name"] for label in self.issue(repo, number)["labels"]]

    def comments(self, repo: str, number: int) -> list[str]:
        """Return the texts of an issue's comments, oldest first."""
        with self._lock:
            return [made["body"] for on, made in self._world.places[repo].comments.values() if on == number]

    def statuses(self, repo: str, sha: str) -> dict[str, str]:
        """Return the latest state of a commit, by context."""
        with self._lock:
            statuses = self._world.places[repo].statuses
            return {status["context"]: status["state"] for on, status in statuses if on == sha}

    def payload(self, place: str, event: str, name: str = "default") -> Json:
        """Return a sample as if it had happened in this repository."""
        with self._lock:
            return self._world.sample(self._world.places[place], event, name)

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

        delivery: the GUID; all hooks are sent the same one.
        content_type: instead of what each hook is configured for.
        """
        guid = delivery or new_guid()
        with self._lock:
            hooks = list(self._world.wanting(self._world.places[place], event))
        return [self._deliver(hook, event, _bytes(payload), guid, content_type) for hook in hooks]

    def redeliver(self, attempt: Attempt) -> Attempt:
        """Deliver again, with the same GUID."""
        with self._lock:
            hook = self._world.find_hook(attempt.hook_id)
        if hook is None:
            raise ValueError(f"hook {attempt.hook_id} is gone; GitHub can't redeliver to it")
        return self._deliver(hook, attempt.event, attempt.payload, attempt.delivery, redelivery=True)

    def forge(
        self, hook: FakeHook, event: str, payload: Mapping[str, Any] | bytes, *, delivery: str | None = None
    ) -> Attempt:
        """Send what only looks like a delivery: it is signed with another secret."""
        return self._deliver(
            hook, event, _bytes(payload), delivery or new_guid(), key=f"not {hook.secret}", kept=False
        )

    def fail(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        times: int | None = 1,
        effective: bool = False,
    ) -> None:
        """Answer matching requests with an error.

        method: or "*"; path: a regular expression, searched in the path; times: None for ever.
        effective: the request is carried out, and only its answer is lost.
        """
        told = {"message": f"scripted {status}", "status": str(status)} if body is None else body
        fault = _Fault(method, re.compile(path), Reply(status, told, headers or {}), times, effective)
        with self._lock:
            self._faults.append(fault)

    def forbid(self, method: str, path: str, permission: str, *, times: int | None = None) -> None:
        """Refuse matching requests for want of a permission, such as "repository_hooks=write"."""
        reply = refused(403, "Resource not accessible by personal access token").reply
        headers = {"X-Accepted-GitHub-Permissions": permission}
        self.fail(method, path, 403, reply.body, headers, times=times)

    def settle(self) -> None:
        """Wait until what was to be sent in the background has been sent."""
        with self._lock:
            pending, self._pending = self._pending, []
        wait(pending)

    def _deliver(
        self,
        hook: FakeHook,
        event: str,
        payload: bytes,
        guid: str,
        content_type: str | None = None,
        *,
        key: str | None = None,
        redelivery: bool = False,
        kept: bool = True,
    ) -> Attempt:
        with self._lock:
            attempt = prepared(
                hook,
                event,
                payload,
                number=self._world.next_id(),
                delivery=guid,
                now=self._world.now(),
                key=key or hook.secret,
                content_type=content_type,
                redelivery=redelivery,
            )
        done = sent(attempt, verify=hook.insecure_ssl != "1")
        if kept:
            with self._lock:
                self._world.remember(done)
        return done

    def _answer(self, received: Received) -> Reply:
        """Answer a request; the lock makes requests happen one after another."""
        path = unquote(urlsplit(received.target).path)
        with self._lock:
            try:
                reply = self._decide(received, path)
            except Refused as refusal:
                reply = refusal.reply
            self.calls.append(Call(received.method, path, reply.status))
            if reply.afterwards is not None:
                reply.afterwards()
            return attrs.evolve(reply, headers={**self._standing_headers(), **reply.headers})

    def _decide(self, received: Received, path: str) -> Reply:
        fault = next((fault for fault in self._faults if fault.takes(received.method, path)), None)
        if fault is not None and not fault.effective:
            return fault.reply
        self._admit(received)
        post = Post(self._post, self._resend)
        reply = answer(self._world, self._asked(received), post, urlsplit(received.target).path)
        return reply if fault is None else attrs.evolve(fault.reply, afterwards=reply.afterwards)

    def _admit(self, received: Received) -> None:
        if received.headers.get("authorization", "") not in {f"Bearer {self._token}", f"token {self._token}"}:
            raise refused(401, "Bad credentials")
        now = int(self._world.now().timestamp())
        if now >= self._reset:
            self._used, self._reset = 0, now + _HOUR
        if self._used >= self.limit:
            raise refused(403, "API rate limit exceeded for user ID 583231.")
        self._used += 1

    def _asked(self, received: Received) -> Asked:
        parts = urlsplit(received.target)
        query = dict(parse_qsl(parts.query))
        return Asked(received.method, self.url + parts.path, {}, query, _json(received))

    def _standing_headers(self) -> dict[str, str]:
        return {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": f"FAKE:{len(self.calls)}",
            "x-github-api-version-selected": "2022-11-28",
            "X-OAuth-Scopes": "repo, admin:org_hook",
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self._used),
            "X-RateLimit-Used": str(self._used),
            "X-RateLimit-Reset": str(self._reset),
            "X-RateLimit-Resource": "core",
        }

    def _post(self, hook: FakeHook, event: str, payload: Json) -> None:
        self._later(lambda: self._deliver(hook, event, _bytes(payload), new_guid()))

    def _resend(self, hook: FakeHook, number: int) -> None:
        attempt = self._world.attempt_of(hook, number)
        self._later(lambda: self.redeliver(attempt))

    def _later(self, action: Callable[[], object]) -> None:
        with self._lock:
            self._pending.append(self._sender.submit(action))


def _bytes(payload: Mapping[str, Any] | bytes) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _json(received: Received) -> Json:
    """Read the body of a request; Refused with 400 where it is no JSON object."""
    if not received.body:
        return {}
    try:
        body: object = json.loads(received.body)
    except ValueError:
        raise refused(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise refused(400, "Body should be a JSON object")
    return cast("Json", body)
