"""Settings: keywords of `App`, else the environment, else defaults. Pure: the environment is an argument."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Literal, TypedDict
from urllib.parse import SplitResult, urlsplit

import attrs
import msgspec

from trigflow.core.durations import FOREVER, parse_duration, shown_duration
from trigflow.core.errors import SettingsError
from trigflow.core.redact import redacted_text

Origin = Literal["keyword", "environment", "default"]
Register = Literal["auto", "plan", "off"]
PREFIX = "TRIGFLOW_"
LARGEST_BODY = 26 * 1024 * 1024  # GitHub sends up to 25 MB (its docs on webhook payloads)
MOST_BODIES = 256 * 1024 * 1024
LEAST_CHECK = timedelta(seconds=10)
LEAST_SECRET = 24  # bytes, as Standard Webhooks asks for
LEAST_DEDUPE = timedelta(days=7)
_TYPES: Mapping[type[object], str] = {bool: "True or False", int: "a whole number", timedelta: "a timedelta"}
_TEXTS = ("url", "store", "secret_key", "alert_url", "alert_secret")
_KEPT = ("bodies", "runs", "deliveries", "noise", "registrations", "dedupe")


def _setting(default: Any, told: str, *, secret: bool = False) -> Any:
    return attrs.field(default=default, repr=not secret, metadata={"help": told, "secret": secret})


def _kept(days: int, what: str) -> Any:
    return _setting(timedelta(days=days), f"how long to keep {what}; 0: forever")


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set; each has an environment variable TRIGFLOW_<NAME>."""

    url: str | None = _setting(None, "public URL of the app, with its mount prefix")
    store: str = _setting("trigflow.db", "path of the SQLite file, or memory:")
    secret_key: str | None = _setting(
        None, "key (or keys, separated by commas) that secrets are sealed with", secret=True
    )
    register: Register = _setting(  # noqa: RUF009 - an attrs field
        "auto",
        "auto: register webhooks once the URL is reachable; plan: only say what would be done; "
        "off: only `trigflow apply` does it",
    )
    check_every: timedelta = _setting(  # noqa: RUF009 - an attrs field
        timedelta(minutes=15), "how often a provider is asked what it has of a webhook, more or less a fifth"
    )
    webhook_ttl: timedelta = _setting(  # noqa: RUF009 - an attrs field
        timedelta(0), "after this time anybody may remove webhooks made from now on; 0: never"
    )
    alert_url: str | None = _setting(None, "where alerts are posted to", secret=True)
    alert_secret: str | None = _setting(
        None, "whsec_ secret that alerts are signed with (Standard Webhooks)", secret=True
    )
    executes: bool = _setting(True, "execute runs in this process; false: another process must")
    concurrency: int = _setting(64, "runs executed at a time in a process")
    threads: int = _setting(16, "plain (not async) jobs and tasks executed at a time")
    subscribers_limit: int = _setting(
        1000, "subscribers at run time that a connection may have; 0: any number"
    )
    body_limit: int = _setting(LARGEST_BODY, "largest body accepted, in bytes")
    body_timeout: int = _setting(30, "seconds that a body may take to come; 0: no limit")
    bodies_limit: int = _setting(MOST_BODIES, "bytes of bodies read or being answered at a time in a process")
    requests_limit: int = _setting(4096, "requests read or being answered at a time in a process")
    rate_limit: int = _setting(2000, "deliveries a second at an endpoint, after its burst; 0: no limit")
    rate_burst: int = _setting(20_000, "deliveries at an endpoint that may come at once")
    # attrs fields, all of them
    keep_bodies: timedelta = _kept(30, "bodies and payloads")  # noqa: RUF009
    keep_runs: timedelta = _kept(90, "runs that have ended")  # noqa: RUF009
    keep_deliveries: timedelta = _kept(90, "deliveries and their events, at least as long as runs")  # noqa: RUF009
    keep_noise: timedelta = _kept(7, "deliveries that started nothing")  # noqa: RUF009
    keep_registrations: timedelta = _kept(90, "attempts at registering")  # noqa: RUF009
    keep_dedupe: timedelta = _kept(400, "what a redelivery is known by, at least as long as deliveries")  # noqa: RUF009

    def __attrs_post_init__(self) -> None:
        _check_types(self)
        _check_url(self.url)
        if self.register not in ("auto", "plan", "off"):
            raise SettingsError("register", f"is {self.register!r}; use auto, plan or off")
        if self.check_every < LEAST_CHECK:
            raise SettingsError("check_every", f"is {shown_duration(self.check_every)}; use 10s or more")
        for name in ("concurrency", "threads", "body_limit", "requests_limit", "rate_burst"):
            if getattr(self, name) < 1:
                raise SettingsError(name, f"is {getattr(self, name)}; use a number of at least 1")
        for name in ("body_timeout", "rate_limit", "subscribers_limit"):
            if getattr(self, name) < 0:
                raise SettingsError(name, f"is {getattr(self, name)}; use 0 for no limit, or more")
        if self.bodies_limit < self.body_limit:
            raise SettingsError(
                "bodies_limit",
                f"is {self.bodies_limit}, less than body_limit ({self.body_limit}): the largest body would "
                "never be accepted; raise it, or lower body_limit",
            )
        if not self.store:
            raise SettingsError("store", "is empty; give the path of a file, or memory:")
        _check_keeping(self)
        _check_alerts(self)

    @property
    def secret_keys(self) -> Sequence[str]:
        """The keys of the ring, the current one first."""
        return [key.strip() for key in (self.secret_key or "").split(",") if key.strip()]


def _check_types(settings: Settings) -> None:
    """Refuse what is not of a setting's type: compared or counted with, it would fail elsewhere."""
    for field in attrs.fields(Settings):
        value: object = getattr(settings, field.name)
        default: object = field.default
        kind = type(default)
        if field.name in _TEXTS and value is not None and not isinstance(value, str):
            raise SettingsError(field.name, f"is of type {type(value).__name__}; use a text")
        if kind in _TYPES and type(value) is not kind:
            raise SettingsError(field.name, f"is {value!r}; use {_TYPES[kind]}")
        if isinstance(value, timedelta) and value < timedelta(0):
            raise SettingsError(field.name, f"is {value!r}; use a time that is not negative")


def _check_keeping(settings: Settings) -> None:
    times = {name: getattr(settings, f"keep_{name}") for name in _KEPT}
    # A run is shown with its delivery, and is only known as a redelivery's by its dedupe key.
    for shorter, longer in (("runs", "deliveries"), ("deliveries", "dedupe")):
        if times[longer] != FOREVER and not FOREVER < times[shorter] <= times[longer]:
            raise SettingsError(
                f"keep_{longer}",
                f"is {shown_duration(times[longer])}, less than keep_{shorter} "
                f"({shown_duration(times[shorter])}); make it at least as long",
            )
    if FOREVER < settings.keep_dedupe < LEAST_DEDUPE:
        raise SettingsError(
            "keep_dedupe",
            f"is {shown_duration(settings.keep_dedupe)}; providers send again for days: use "
            f"{shown_duration(LEAST_DEDUPE)} or more",
        )


def _check_alerts(settings: Settings) -> None:
    if settings.alert_url is not None and _parts_of(settings.alert_url) is None:
        raise SettingsError("alert_url", "is no URL; use one such as https://alerts.example.com/in")
    if settings.alert_secret is None:
        return
    try:
        told = b64decode(settings.alert_secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        told = b""
    if not settings.alert_secret.startswith("whsec_") or len(told) < LEAST_SECRET:
        raise SettingsError(
            "alert_secret",
            f"is no secret of Standard Webhooks; use whsec_ and {LEAST_SECRET} bytes in base64",
        )


def _check_url(url: str | None) -> None:
    if url is None:
        return
    parts = _parts_of(url)
    if parts is not None and (parts.username or parts.password):
        raise SettingsError("url", "holds a user name or password; leave them out")
    if parts is None or parts.query or parts.fragment:
        raise SettingsError(
            "url",
            f"is {redacted_text(url)!r}; use a URL such as https://hooks.example.com "
            "or https://example.com/hooks",
        )


def _parts_of(url: str) -> SplitResult | None:
    """Take a URL of the web apart; None where it is none."""
    if any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname and is_port else None


class Keywords(TypedDict, total=False):
    """Settings as keywords of `App`, each of which may be None: not given."""

    url: str | None
    store: str | None
    secret_key: str | None
    register: Register | None
    check_every: timedelta | None
    webhook_ttl: timedelta | None
    alert_url: str | None
    alert_secret: str | None
    executes: bool | None
    concurrency: int | None
    threads: int | None
    subscribers_limit: int | None
    body_limit: int | None
    body_timeout: int | None
    bodies_limit: int | None
    requests_limit: int | None
    rate_limit: int | None
    rate_burst: int | None
    keep_bodies: timedelta | None
    keep_runs: timedelta | None
    keep_deliveries: timedelta | None
    keep_noise: timedelta | None
    keep_registrations: timedelta | None
    keep_dedupe: timedelta | None


class Resolved(msgspec.Struct, frozen=True):
    """Settings, and where each came from."""

    settings: Settings
    origins: Mapping[str, Origin]


def resolve(keywords: Mapping[str, Any], environ: Mapping[str, str]) -> Resolved:
    """Put settings together; a keyword that is None counts as not given.

    Raises SettingsError that names the keyword or the variable, whichever was given, and what it expects,
    TypeError for a keyword that is no setting.
    """
    names = {field.name for field in attrs.fields(Settings)}
    for name in keywords:
        if name not in names:
            near = get_close_matches(name, names, 1)
            raise TypeError(f"{name!r} is no setting{f'; did you mean {near[0]!r}?' if near else ''}")
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for field in attrs.fields(Settings):
        variable = _variable(field.name)
        origins[field.name] = "default"
        if keywords.get(field.name) is not None:
            values[field.name], origins[field.name] = keywords[field.name], "keyword"
        elif environ.get(variable):
            values[field.name] = _parsed(variable, environ[variable], field.default)
            origins[field.name] = "environment"
    try:
        return Resolved(Settings(**values), origins)
    except SettingsError as error:
        if origins[error.name] != "environment":
            raise
        raise SettingsError(_variable(error.name), error.problem) from None  # the name that a person wrote


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _parsed(variable: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        return _switch(variable, text)
    if isinstance(default, timedelta):
        return _time(variable, text)
    if not isinstance(default, int):
        return text
    try:
        return int(text)
    except ValueError as error:
        raise SettingsError(variable, f"is {text[:100]!r}; use a whole number") from error


def _time(variable: str, text: str) -> timedelta:
    try:
        return parse_duration(text.strip())
    except ValueError as error:
        raise SettingsError(variable, str(error)) from error


def _switch(variable: str, text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise SettingsError(variable, f"is {text!r}; use true or false")
