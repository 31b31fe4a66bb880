"""What the jobs of an app name, put together: webhooks that they want, sources, integrations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trigflow.core.errors import SetupError
from trigflow.core.jobs import Job
from trigflow.core.payloads import encode_json
from trigflow.core.plan import Identity
from trigflow.core.triggers import Trigger
from trigflow.runtime import records as r
from trigflow.runtime.routes import AnySource
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration

ENTRY_POINTS = "trigflow.integrations"


def connection_of(trigger: Trigger[object]) -> str:
    """Name the connection that a trigger's webhook is registered with: the integration's own one."""
    return "" if trigger.integration is None else str(trigger.integration.id)


def identity_of(trigger: Trigger[object]) -> Identity:
    """Name the subscription that a trigger's events come from."""
    return (trigger.source.id, trigger.source.key_of(trigger.params), connection_of(trigger))


def wants_of(jobs: Mapping[str, Job]) -> Sequence[r.Want]:
    """Collect what jobs want: one entry a webhook, with the union of their events."""
    params: dict[Identity, bytes] = {}
    events: dict[Identity, set[str]] = {}
    for trigger in triggers_of(jobs):
        if is_webhook(trigger.source):
            identity = identity_of(trigger)
            params.setdefault(identity, encode_json(trigger.params))
            events.setdefault(identity, set()).update(trigger.specification.registers)
    return [
        r.Want(*identity, params[identity], tuple(sorted(events[identity]))) for identity in sorted(events)
    ]


def triggers_of(jobs: Mapping[str, Job]) -> Iterator[Trigger[object]]:
    """Return every trigger of every job."""
    for job in jobs.values():
        for listens in job.listens:
            yield listens.trigger


def webhooks_of(jobs: Mapping[str, Job]) -> Iterator[AnySource]:
    """Return the webhook source of every trigger that has one."""
    for trigger in triggers_of(jobs):
        if is_webhook(trigger.source):
            yield trigger.source


def client_owners(jobs: Mapping[str, Job]) -> dict[Any, str]:
    """Return which connection a client class belongs to."""
    return {
        trigger.source.client: connection_of(trigger)
        for trigger in triggers_of(jobs)
        if is_webhook(trigger.source)
    }


def integrations_of(jobs: Mapping[str, Job], connected: Iterable[Integration]) -> dict[str, Integration]:
    """Return integrations by id: those of triggers, then those that only have credentials."""
    found: dict[str, Integration] = {}
    for trigger in triggers_of(jobs):
        if trigger.integration is not None:
            found.setdefault(trigger.integration.id, trigger.integration)
    for integration in connected:
        found.setdefault(integration.id, integration)
    return found


def sources_of(jobs: Mapping[str, Job], integrations: Iterable[Integration]) -> dict[str, AnySource]:
    """Return webhook sources by id; SetupError where two have one id."""
    found: dict[str, AnySource] = {}
    for source in webhooks_of(jobs):
        _add(found, source)
    for integration in integrations:
        for source in _declared(integration):
            _add(found, source)
    return found


def installed(wanted: Collection[str]) -> Iterator[tuple[Integration, AnySource]]:
    """Find sources by id among the installed integrations: for webhooks whose last job is gone."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 15 ms to import, and seldom needed

    for entry in entry_points(group=ENTRY_POINTS):
        integration: Integration = entry.load()()
        for source in _declared(integration):
            if source.id in wanted:
                yield integration, source


def _declared(integration: Integration) -> Iterator[AnySource]:
    seen: set[str] = set()
    for _, specification in integration.specifications():
        source = specification.source
        if is_webhook(source) and source.id not in seen:
            seen.add(source.id)
            yield source


def _add(found: dict[str, AnySource], source: AnySource) -> None:
    if found.setdefault(source.id, source) is not source:
        raise SetupError(f"two sources have the id {source.id!r}; rename one of them")
