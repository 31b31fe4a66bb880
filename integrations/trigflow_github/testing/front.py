"""The front of the fake: what a request passes before a route answers it.

    gate | fault? | login? | known token? | limit left? | allowed? | as described? | route

It refuses; what a request means is a matter of the routes.
"""

from __future__ import annotations

import json
import threading
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from trigflow.testing.fake_faults import Faults
from trigflow.testing.fake_server import Call, Dropped, Received, Refused, Reply
from trigflow_github.testing.access import Caller, admit, bearer
from trigflow_github.testing.answers import DOCUMENTATION, Asked, Json, refused
from trigflow_github.testing.apps import app_of_jwt
from trigflow_github.testing.description import check, described
from trigflow_github.testing.oauth import answer_login
from trigflow_github.testing.routes import Mail, answer
from trigflow_github.testing.world import World

_HOUR = 3600
_FORM = "application/x-www-form-urlencoded"


@attrs.define
class _Budget:
    """The requests of one caller within the hour that ends at `reset`, in epoch seconds."""

    reset: int
    used: int = 0


class Front:
    """Answers requests one after another; `down`: every connection ends without an answer."""

    def __init__(
        self, world: World, faults: Faults, mail: Mail, lock: threading.RLock, *, limit: int
    ) -> None:
        self.calls: list[Call] = []
        self.limit = limit
        self.down = False
        self._world, self._faults, self._mail, self._lock = world, faults, mail, lock
        self._budgets: dict[str, _Budget] = {}

    def answer(self, received: Received) -> Reply:
        """Answer a request; Dropped where the connection is to end without an answer."""
        path = unquote(urlsplit(received.target).path)
        with self._lock:
            gate = self._faults.gate_for(received.method, path)
        if gate is not None and gate.moment == "before":
            gate.hold()
        if self.down:
            raise Dropped
        reply = self._answered(received, path)
        if gate is not None and gate.moment == "after":
            gate.hold()
        return reply

    def _answered(self, received: Received, path: str) -> Reply:
        with self._lock:
            caller = self._caller(received)
            try:
                reply = self._decide(received, path, caller)
            except Refused as refusal:
                reply = _documented(refusal.reply, received.method, path)
            self.calls.append(Call(received.method, path, reply.status))
            if reply.afterwards is not None:
                reply.afterwards()
            headers = self._standing_headers(None if isinstance(caller, Refused) else caller)
            return attrs.evolve(reply, headers={**headers, **reply.headers})

    def _decide(self, received: Received, path: str, caller: Caller | Refused) -> Reply:
        fault = self._faults.fault_for(received.method, path)
        if fault is not None and not fault.effective:
            return fault.reply
        reply = self._routed(received, path, caller)
        return reply if fault is None else attrs.evolve(fault.reply, afterwards=reply.afterwards)

    def _routed(self, received: Received, path: str, caller: Caller | Refused) -> Reply:
        asked = self._asked(received)
        if path.startswith("/login/"):
            told = attrs.evolve(asked, body=_body(received))
            return answer_login(self._world.login, told, path, now=self._world.now())
        if isinstance(caller, Refused):
            raise caller
        self._count(caller)
        admit(caller, received.method, path)
        asked = attrs.evolve(asked, body=_json(received), caller=caller)
        operation = described(received.method, path)
        if operation is not None:
            check(operation, asked.query, asked.body)
        return answer(self._world, asked, self._mail, urlsplit(received.target).path)

    def _caller(self, received: Received) -> Caller | Refused:
        token, now, app = (
            bearer(received.headers.get("authorization", "")),
            self._world.now(),
            self._world.app,
        )
        known = self._world.tokens.caller(token, now=now)
        if known is not None:
            return known
        if app is None or token.count(".") != 2:
            return refused(401, "Bad credentials")
        try:
            return app_of_jwt(app, token, now=now)
        except Refused as refusal:
            return refusal

    def _count(self, caller: Caller) -> None:
        budget = self._budget(caller)
        if budget.used >= self.limit:
            raise refused(403, "API rate limit exceeded for user ID 583231.")
        budget.used += 1

    def _budget(self, caller: Caller) -> _Budget:
        now = int(self._world.now().timestamp())
        found = self._budgets.get(caller.name)
        if found is None or now >= found.reset:
            found = self._budgets[caller.name] = _Budget(now + _HOUR)
        return found

    def _asked(self, received: Received) -> Asked:
        parts = urlsplit(received.target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Asked(received.method, self._world.base_url + parts.path, {}, query, {}, received.headers)

    def _standing_headers(self, caller: Caller | None) -> dict[str, str]:
        now = int(self._world.now().timestamp())
        budget = _Budget(now + _HOUR) if caller is None else self._budget(caller)
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": f"FAKE:{len(self.calls)}",
            "x-github-api-version-selected": "2022-11-28",
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - budget.used),
            "X-RateLimit-Used": str(budget.used),
            "X-RateLimit-Reset": str(budget.reset),
            "X-RateLimit-Resource": "core",
        }
        if caller is not None and caller.scopes is not None:
            headers["X-OAuth-Scopes"] = ", ".join(caller.scopes)
        return headers


def _documented(reply: Reply, method: str, path: str) -> Reply:
    """Let an error name the documentation of its operation."""
    operation = described(method, path)
    if operation is None or reply.body.get("documentation_url") != DOCUMENTATION or reply.status == 401:
        return reply
    return attrs.evolve(reply, body={**reply.body, "documentation_url": operation.docs})


def _body(received: Received) -> Json:
    """Read a form or a JSON object."""
    if received.headers.get("content-type", "").startswith(_FORM):
        return dict(parse_qsl(received.body.decode("utf-8", "replace"), keep_blank_values=True))
    return _json(received)


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
