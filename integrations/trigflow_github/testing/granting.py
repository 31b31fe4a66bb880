"""Whom the fake lets in: tokens, an App with installations, OAuth apps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from trigflow_github.testing import apps
from trigflow_github.testing.access import Caller
from trigflow_github.testing.answers import Json
from trigflow_github.testing.apps import FakeApp, Installation
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.machine import Machine
from trigflow_github.testing.oauth import Client

_CHANGES = ("added", "removed")


class Granting(Machine):
    """Gives out credentials and takes them back."""

    def add_token(self, token: str, *, scopes: Iterable[str] | None = ("repo",)) -> None:
        """Accept another personal token; scopes: None for one that names none (fine-grained)."""
        named = None if scopes is None else tuple(scopes)
        with self._lock:
            self._world.tokens.grant(token, Caller("personal", f"token {token}", named))

    def revoke(self, token: str) -> None:
        """Accept a token no longer."""
        with self._lock:
            self._world.tokens.revoke(token)

    def add_oauth_app(
        self, client_id: str, client_secret: str, *, callbacks: Iterable[str], expiring: bool = False
    ) -> None:
        """Let people log in; expiring: as a GitHub App does, with refresh tokens."""
        with self._lock:
            client = Client(client_id, client_secret, tuple(callbacks), expiring)
            self._world.login.clients[client_id] = client

    def refuse_login(self, times: int = 1) -> None:
        """Let the next browsers say no."""
        with self._lock:
            self._world.login.refusing += times

    def add_app(
        self,
        public_key: str | bytes,
        *,
        app_id: int | None = None,
        client_id: str = "Iv23fake",
        client_secret: str = "",
        callbacks: Iterable[str] = (),
        slug: str = "fake-app",
        events: Iterable[str] = (),
        permissions: Mapping[str, str] | None = None,
        url: str = "",
        secret: str | None = None,
        content_type: str = "json",
    ) -> FakeApp:
        """Register the GitHub App; the fake has one at most.

        public_key: PEM, of the RSA key that its JWTs are signed with.
        events: what its webhook is sent; no API changes them. url: "" for none yet.
        """
        with self._lock:
            if self._world.app is not None:
                raise ValueError("the fake has an App already; it has one at most")
            now, number = self.now(), app_id or self._world.next_id()
            hook = FakeHook(self._world.next_id(), "", "App", number, now, now, tuple(events), url=url)
            hook = attrs.evolve(hook, secret=secret, content_type=content_type)
            granted = dict(permissions or apps.PERMISSIONS)
            key = apps.public_key(public_key)
            app = self._world.app = FakeApp(number, client_id, slug, key, granted, hook, now)
            if client_secret:
                self.add_oauth_app(client_id, client_secret, callbacks=callbacks, expiring=True)
            return app

    def app_hook(self) -> FakeHook:
        """Return a copy of the App's webhook."""
        with self._lock:
            return attrs.evolve(self._app().hook)

    def install(
        self,
        account: str,
        repositories: Iterable[str] | None = None,
        *,
        permissions: Mapping[str, str] | None = None,
    ) -> Installation:
        """Install the App on an organization; its webhook hears of it.

        repositories: "owner/name" each; None for all that it has or will have.
        """
        with self._lock:
            app, place = self._app(), self._place(account)
            ids = {name: one.id for name, one in self._world.places.items() if one.kind == "Repository"}
            chosen = apps.selected(repositories, ids)
            granted = dict(permissions or app.permissions)
            number = self._world.next_id()
            made = Installation(number, place.name, place.id, granted, chosen, self.now())
            self._world.installations[number] = made
            self._tell("created", made)
            return made

    def uninstall(self, number: int) -> None:
        """Remove an installation: its tokens are refused, its events stop, its webhook hears of it."""
        with self._lock:
            self._tell("deleted", self._world.installations[number])
            del self._world.installations[number]
            self._world.tokens.revoke_installation(number)

    def suspend(self, number: int, *, suspended: bool = True) -> None:
        """Suspend an installation, or take that back."""
        with self._lock:
            one = self._world.installations[number]
            one.suspended_at = self.now() if suspended else None
            if suspended:
                self._world.tokens.revoke_installation(number)
            self._tell("suspend" if suspended else "unsuspend", one)

    def select(self, number: int, repositories: Iterable[str]) -> None:
        """Let an installation cover these repositories instead; its webhook hears of each difference."""
        with self._lock:
            one = self._world.installations[number]
            before = self._covered(one)
            one.repositories = {self._place(name).id for name in repositories}
            after = self._covered(one)
            for action, changed in (("added", _less(after, before)), ("removed", _less(before, after))):
                if changed:
                    lists = {f"repositories_{word}": changed if word == action else [] for word in _CHANGES}
                    told = {"repository_selection": one.selection, **lists}
                    self._tell(action, one, "installation_repositories", told)

    def _covered(self, one: Installation) -> list[Json]:
        mine = [place for place in self._world.repositories() if self._world.covers(one, place)]
        return [
            {"id": place.id, "name": place.name.partition("/")[2], "full_name": place.name, "private": False}
            for place in mine
        ]

    def _app(self) -> FakeApp:
        if self._world.app is None:
            raise ValueError("the fake has no App; call add_app first")
        return self._world.app

    def _tell(
        self, action: str, one: Installation, event: str = "installation", more: Json | None = None
    ) -> None:
        hook = self._world.app_wants(event)
        if hook is None:
            return
        account = self._world.account(self._place(one.account))
        shown = one.shown(self._app(), account, self.url)
        rest = {"repositories": self._covered(one)} if more is None else more
        told: Json = {"action": action, "installation": shown, **rest, "sender": self._world.viewer()}
        self._send_later(hook, event, told)


def _less(these: list[Json], those: list[Json]) -> list[Json]:
    return [one for one in these if one not in those]
