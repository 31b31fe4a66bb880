"""What a test may tell the fake to do wrong."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import attrs

from trigflow.testing.fake_faults import Gate, Moment
from trigflow.testing.fake_server import Reply
from trigflow_github.testing.answers import refused
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.limits import primary_limit, secondary_limit
from trigflow_github.testing.machine import Machine


class Misbehaving(Machine):
    """Told to misbehave.

    Requests: `fail`, `forbid`, `throttle`, `hold`, `restart`, `outage`.
    Deliveries: `lose`, `duplicate`, `delay`, `reorder`; event: its name, or "*" for any but a ping.
    Webhooks, behind our back: `edit_hook`, `delete_hook`.
    times: how many of the next matching ones; None for ever.
    """

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

        method: or "*"; path: a regular expression, searched in the path.
        effective: the request is carried out, and only its answer is lost.
        """
        told = {"message": f"scripted {status}", "status": str(status)} if body is None else body
        with self._lock:
            self._faults.add(
                method, path, Reply(status, told, headers or {}), times=times, effective=effective
            )

    def forbid(self, method: str, path: str, permission: str, *, times: int | None = None) -> None:
        """Refuse matching requests for want of a permission, such as "repository_hooks=write"."""
        reply = refused(403, "Resource not accessible by personal access token").reply
        headers = {"X-Accepted-GitHub-Permissions": permission}
        self.fail(method, path, 403, reply.body, headers, times=times)

    def throttle(
        self,
        limit: Literal["primary", "secondary"] = "secondary",
        method: str = "*",
        path: str = "",
        *,
        times: int | None = 1,
        wait: timedelta | None = timedelta(minutes=1),
        status: Literal[403, 429] = 403,
    ) -> None:
        """Refuse matching requests for their number.

        wait: until when the answer says to wait: `X-RateLimit-Reset` of the primary limit,
            `Retry-After` of the secondary; None: the secondary limit names no time.
        """
        if limit == "primary":
            pause = timedelta(minutes=1) if wait is None else wait
            reply = primary_limit(status, now=self.now(), wait=pause, limit=self._front.limit)
        else:
            seconds = None if wait is None else int(wait.total_seconds())
            reply = secondary_limit(status, retry_after=seconds)
        with self._lock:
            self._faults.add(method, path, reply, times=times)

    def hold(self, method: str, path: str, *, moment: Moment = "before") -> Gate:
        """Hold the next matching request open; see Gate. As a context manager it opens at the end."""
        with self._lock:
            return self._faults.gate(method, path, moment)

    def restart(self) -> None:
        """End every connection, with those that are held; what GitHub knows stays."""
        with self._lock:
            self._faults.drop_all()
        self._server.drop()

    @contextmanager
    def outage(self) -> Generator[None, None, None]:
        """End every connection without an answer, meanwhile."""
        self._front.down = True
        try:
            self.restart()
            yield
        finally:
            self._front.down = False

    def lose(self, event: str = "*", *, times: int | None = 1, logged: bool = True, status: int = 0) -> None:
        """Send the next deliveries nowhere.

        logged: they stand in the log; with `status` 0 as failed, with 200 as if all were well.
        """
        self._post.lose(event, times, logged=logged, status=status)

    def duplicate(self, event: str = "*", *, times: int | None = 1) -> None:
        """Send the next deliveries twice, under one GUID; that GitHub does so is not documented."""
        self._post.duplicate(event, times)

    def delay(self, by: timedelta, event: str = "*", *, times: int | None = 1) -> None:
        """Keep the next deliveries back until the clock was advanced so far; the log says throttled."""
        self._post.delay(by, event, times)

    def reorder(self, count: int, event: str = "*") -> None:
        """Keep the next `count` deliveries back, and with the last of them send them last first."""
        self._post.reorder(count, event)

    def edit_hook(self, hook_id: int, **changes: Any) -> FakeHook:
        """Change a webhook behind our back: `active`, `events`, `url`, `secret`, `content_type`."""
        if "events" in changes:
            changes["events"] = tuple(changes["events"])
        with self._lock:
            hook = self._own_hook(hook_id)
            changed = attrs.evolve(hook, **changes, updated_at=self.now())
            if self._world.app is not None and self._world.app.hook.id == hook_id:
                self._world.app.hook = changed
            else:
                self._place(hook.place).hooks[hook_id] = changed
        return attrs.evolve(changed)

    def delete_hook(self, hook_id: int) -> None:
        """Delete a webhook behind our back."""
        with self._lock:
            del self._place(self._own_hook(hook_id).place).hooks[hook_id]

    def _own_hook(self, hook_id: int) -> FakeHook:
        hook = self._world.find_hook(hook_id)
        if hook is None:
            raise KeyError(f"the fake has no hook {hook_id}")
        return hook
