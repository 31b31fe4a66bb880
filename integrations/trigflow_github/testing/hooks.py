"""The webhooks of one repository or organization, and what GitHub accepts of them.

    made --patched--> changed --deleted--> gone

Pure, save that a hook changes: no HTTP, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, cast

import attrs

from trigflow_github.testing.answers import SECRET_SHOWN, Json, invalid

HOOKS_PER_EVENT = 20
Kind = Literal["Repository", "Organization", "App"]


@attrs.define
class FakeHook:
    """A webhook; unlike an answer of GitHub it knows its secret.

    place: "" for the webhook of an App. maker: the OAuth app that made it, which alone sees it.
    """

    id: int
    place: str
    kind: Kind
    target_id: int
    created_at: datetime
    updated_at: datetime
    events: tuple[str, ...] = ("push",)
    active: bool = True
    url: str = ""
    content_type: str = "form"
    insecure_ssl: str = "0"
    secret: str | None = attrs.field(default=None, repr=False)
    last_response: Json = attrs.Factory(lambda: {"code": None, "status": "unused", "message": None})
    maker: str | None = None

    def wants(self, event: str) -> bool:
        """Tell whether it is sent the event."""
        return self.active and (event in self.events or "*" in self.events)

    def config(self) -> Json:
        """Show the configuration as GitHub does, with the secret masked."""
        shown = {"content_type": self.content_type, "insecure_ssl": self.insecure_ssl, "url": self.url}
        return shown | ({"secret": SECRET_SHOWN} if self.secret else {})

    def shown(self, base_url: str) -> Json:
        """Show the hook as GitHub does."""
        if self.kind == "App":
            return self._shown_of_app(base_url)
        prefix = "repos" if self.kind == "Repository" else "orgs"
        url = f"{base_url}/{prefix}/{self.place}/hooks/{self.id}"
        hook: Json = {
            "type": self.kind,
            "id": self.id,
            "name": "web",
            "active": self.active,
            "events": list(self.events),
            "config": self.config(),
            "updated_at": written(self.updated_at),
            "created_at": written(self.created_at),
            "url": url,
            "ping_url": f"{url}/pings",
            "deliveries_url": f"{url}/deliveries",
        }
        if self.kind == "Repository":
            hook |= {"test_url": f"{url}/test", "last_response": self.last_response}
        return hook

    def _shown_of_app(self, base_url: str) -> Json:
        return {
            "type": "App",
            "id": self.id,
            "name": "web",
            "active": self.active,
            "events": list(self.events),
            "config": self.config(),
            "updated_at": written(self.updated_at),
            "created_at": written(self.created_at),
            "app_id": self.target_id,
            "deliveries_url": f"{base_url}/app/hook/deliveries",
        }


def written(at: datetime) -> str:
    """Write a time as GitHub does."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def created(hook: FakeHook, body: Json, others: Iterable[FakeHook]) -> FakeHook:
    """Fill a new hook from a request; Refused where GitHub refuses."""
    required = hook.kind == "Organization"  # a repository's hook is a "web" hook by default
    if body.get("name", None if required else "web") != "web":
        raise invalid({"resource": "Hook", "field": "name", "code": "invalid"})
    made = _configured(_listening(hook, body), _config(body) or {})
    if not made.url:
        raise invalid({"resource": "Hook", "field": "url", "code": "missing_field"})
    _check_neighbours(made, others)
    return made


def patched(hook: FakeHook, body: Json, others: Iterable[FakeHook], *, now: datetime) -> FakeHook:
    """Change a hook; without `config.secret` its secret is removed, as GitHub documents it."""
    config = _config(body) or {}
    changed = _configured(_listening(hook, body), {**config, "secret": config.get("secret")})
    _check_neighbours(changed, others)
    return attrs.evolve(changed, updated_at=now)


def reconfigured(hook: FakeHook, config: Json, others: Iterable[FakeHook], *, now: datetime) -> FakeHook:
    """Change parts of the configuration and keep the others."""
    changed = _configured(hook, config)
    _check_neighbours(changed, others)
    return attrs.evolve(changed, updated_at=now)


def _listening(hook: FakeHook, body: Json) -> FakeHook:
    """Apply what the body says about `active` and the events."""
    events = _names(body, "events", hook.events)
    if hook.kind == "Repository":
        added, removed = _names(body, "add_events", ()), _names(body, "remove_events", ())
        events = tuple(name for name in dict.fromkeys((*events, *added)) if name not in removed)
    active = body.get("active", hook.active)
    if not isinstance(active, bool):
        raise invalid({"resource": "Hook", "field": "active", "code": "invalid"})
    return attrs.evolve(hook, events=tuple(dict.fromkeys(events)), active=active)


def _names(body: Json, field: str, default: tuple[str, ...]) -> tuple[str, ...]:
    given: Any = body.get(field)
    if given is None:
        return default
    if not isinstance(given, list) or not all(isinstance(name, str) for name in cast("list[object]", given)):
        raise invalid({"resource": "Hook", "field": field, "code": "invalid"})
    return tuple(cast("list[str]", given))


def _config(body: Json) -> Json | None:
    config: Any = body.get("config")
    if config is None or isinstance(config, dict):
        return cast("Json | None", config)
    raise invalid({"resource": "Hook", "field": "config", "code": "invalid"})


def _configured(hook: FakeHook, config: Mapping[str, Any]) -> FakeHook:
    content_type = config.get("content_type", hook.content_type)
    if content_type not in {"json", "form"}:
        message = "Invalid config attribute: content-type"
        raise invalid({"resource": "Hook", "code": "custom", "message": message})
    return attrs.evolve(
        hook,
        url=config.get("url", hook.url),
        content_type=content_type,
        insecure_ssl=str(config.get("insecure_ssl", hook.insecure_ssl)),
        secret=config.get("secret", hook.secret) or None,
    )


def _check_neighbours(hook: FakeHook, others: Iterable[FakeHook]) -> None:
    """Refuse a URL that has an event already, and one hook too many for an event."""
    rest = [other for other in others if other.id != hook.id]
    if any(other.url == hook.url and _overlap(other, hook) for other in rest):
        message = f"Hook already exists on this {hook.kind.lower()}"
        raise invalid({"resource": "Hook", "code": "custom", "message": message})
    for event in hook.events:
        if sum(event in other.events for other in rest) >= HOOKS_PER_EVENT:
            message = f'The "{event}" event cannot have more than {HOOKS_PER_EVENT} hooks'
            raise invalid({"resource": "Hook", "code": "custom", "message": message})


def _overlap(one: FakeHook, other: FakeHook) -> bool:
    return "*" in (*one.events, *other.events) or not set(one.events).isdisjoint(other.events)
