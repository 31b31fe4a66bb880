"""Webhook endpoints, and what Stripe accepts of them.

    enabled <--disabled=…--> disabled --deleted--> gone

Pure, save that an endpoint changes: no HTTP, no clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

import attrs

from trigflow_stripe.testing.answers import Json, check_names, refused

MOST = 16  # of an account, for live and test mode each
CREATE = ("url", "enabled_events", "api_version", "connect", "description", "metadata")
UPDATE = ("url", "enabled_events", "disabled", "description", "metadata")


@attrs.frozen
class Signing:
    """A secret, and until when it signs; None: until it is rolled."""

    secret: str = attrs.field(repr=False)
    until: datetime | None = None


@attrs.define
class FakeEndpoint:
    """An endpoint; unlike an answer of Stripe it knows its secrets, the newest first."""

    id: str
    created: int
    url: str
    enabled_events: tuple[str, ...]
    livemode: bool
    connect: bool = False
    api_version: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = attrs.Factory(dict[str, str])
    disabled: bool = False
    signing: tuple[Signing, ...] = attrs.field(default=(), repr=False)

    @property
    def secret(self) -> str:
        """The newest secret."""
        return self.signing[0].secret

    def secrets_at(self, now: datetime) -> list[str]:
        """Return the secrets that sign at a moment."""
        return [one.secret for one in self.signing if one.until is None or now < one.until]

    def wants(self, type_: str, *, account: str | None) -> bool:
        """Tell whether it is sent an event; account: the connected account that it is of."""
        listens = "*" in self.enabled_events or type_ in self.enabled_events
        return not self.disabled and self.connect == (account is not None) and listens

    def shown(self) -> Json:
        """Show the endpoint as Stripe does: without its secret."""
        return {
            "id": self.id,
            "object": "webhook_endpoint",
            "api_version": self.api_version,
            "application": None,
            "created": self.created,
            "description": self.description,
            "enabled_events": list(self.enabled_events),
            "livemode": self.livemode,
            "metadata": dict(self.metadata),
            "status": "disabled" if self.disabled else "enabled",
            "url": self.url,
        }


def new_secret() -> str:
    """Make a signing secret as Stripe words one."""
    return f"whsec_{secrets.token_hex(16)}"


def created(
    form: Json, others: Sequence[FakeEndpoint], *, id_: str, now: int, types: Collection[str], livemode: bool
) -> FakeEndpoint:
    """Make an endpoint from a request; Refused where Stripe refuses."""
    check_names(form, CREATE)
    for name in ("url", "enabled_events"):
        if not form.get(name):
            raise refused(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
    made = FakeEndpoint(
        id_,
        now,
        _url(form["url"], livemode=livemode),
        _events(form["enabled_events"], types),
        livemode,
        _flag(form, "connect", default=False),
        form.get("api_version"),
        form.get("description") or None,
        _metadata(form),
        signing=(Signing(new_secret()),),
    )
    if len(others) >= MOST:
        mode = "live" if livemode else "test"
        raise refused(400, f"You have reached the maximum of {MOST} {mode} webhook endpoints.")
    return made


def updated(endpoint: FakeEndpoint, form: Json, *, types: Collection[str]) -> FakeEndpoint:
    """Change what is given of an endpoint; Refused where Stripe refuses."""
    check_names(form, UPDATE)
    changed = attrs.evolve(endpoint, disabled=_flag(form, "disabled", default=endpoint.disabled))
    if "url" in form:
        changed.url = _url(form["url"], livemode=endpoint.livemode)
    if "enabled_events" in form:
        changed.enabled_events = _events(form["enabled_events"], types)
    if "description" in form:
        changed.description = form["description"] or None
    if "metadata" in form:
        changed.metadata = {**endpoint.metadata, **_metadata(form)}
    return changed


def _url(url: object, *, livemode: bool) -> str:
    parts = urlsplit(str(url))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "Invalid URL: An explicit scheme (such as https) must be provided."
        raise refused(400, message, code="url_invalid", param="url")
    if livemode and parts.scheme != "https":
        raise refused(400, "Invalid URL: URL must start with https.", code="url_invalid", param="url")
    return str(url)


def _events(events: object, types: Collection[str]) -> tuple[str, ...]:
    if not isinstance(events, list) or not events:
        raise refused(400, "Invalid array", param="enabled_events")
    names = tuple(map(str, cast("list[object]", events)))
    for at, name in enumerate(names):
        if name != "*" and name not in types:
            param = f"enabled_events[{at}]"
            raise refused(400, f"Invalid {param}: must be one of the event types, or *", param=param)
    return tuple(dict.fromkeys(names))


def _flag(form: Json, name: str, *, default: bool) -> bool:
    said: Any = form.get(name)
    if said is None:
        return default
    if said not in {"true", "false"}:
        raise refused(400, f"Invalid boolean: {said}", param=name)
    return bool(said == "true")


def _metadata(form: Json) -> dict[str, str]:
    given: Any = form.get("metadata") or {}
    if not isinstance(given, dict):
        raise refused(400, "Invalid hash", param="metadata")
    return {str(name): str(value) for name, value in cast("Json", given).items()}
