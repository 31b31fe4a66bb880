"""What the jobs of an app name, put together: webhooks that they want, sources, integrations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trigflow.core.dynamic import Dynamic
from trigflow.core.errors import SetupError
from trigflow.core.jobs import Job
from trigflow.core.payloads import encode_json
from trigflow.core.plan import Identity
from trigflow.core.triggers import Trigger
from trigflow.runtime import records as r
from trigflow.runtime.boundary import Raised, attempt
from trigflow.runtime.intake.routes import AnySource
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration

ENTRY_POINTS = "trigflow.integrations"


def connection_of(trigger: Trigger[object]) -> str:
    """Name the connection that a trigger's webhook is registered with."""
    return "" if trigger.integration is None else str(trigger.integration.connection_ref)


def identity_of(trigger: Trigger[object]) -> Identity:
    """Name the subscription that a trigger's events come from."""
    return (trigger.source.id, trigger.source.key_of(trigger.params), connection_of(trigger))


def wants_of(jobs: Mapping[str, Job]) -> Sequence[r.Want]:
    """Collect what jobs want: one entry a webhook, with the union of their events."""
    params: dict[Identity, bytes] = {}
    events: dict[Identity, set[str]] = {}
    for trigger in _fixed(jobs):
        if is_webhook(trigger.source):
            identity = identity_of(trigger)
            params.setdefault(identity, encode_json(trigger.params))
            events.setdefault(identity, set()).update(trigger.specification.registers)
    expected = _expected(jobs)
    return [
        r.Want(*identity, params[identity], tuple(sorted(events[identity])), expected.get(identity))
        for identity in sorted(events)
    ]


def _expected(jobs: Mapping[str, Job]) -> Mapping[Identity, int]:
    """Return the shortest time (ms) in which the jobs of a webhook expect something, where one says so."""
    found: dict[Identity, int] = {}
    for job in jobs.values():
        every = job.options.expect_every
        webhooks = [
            one.trigger for one in job.listens if is_webhook(one.trigger.source) and one.dynamic is None
        ]
        if every is not None and job.options.enabled:
            told = int(every.total_seconds() * 1000)
            for identity in map(identity_of, webhooks):
                found[identity] = min(told, found.get(identity, told))
    return found


def expectations_of(jobs: Mapping[str, Job]) -> Mapping[str, int]:
    """Return the shortest time (ms) in which jobs expect something, by dynamic trigger."""
    found: dict[str, int] = {}
    for job in jobs.values():
        every = job.options.expect_every
        if every is not None and job.options.enabled:
            told = int(every.total_seconds() * 1000)
            for one in job.listens:
                if one.dynamic is not None:
                    found[one.dynamic.id] = min(told, found.get(one.dynamic.id, told))
    return found


def triggers_of(jobs: Mapping[str, Job]) -> Iterator[Trigger[object]]:
    """Return every trigger of every job."""
    for job in jobs.values():
        for listens in job.listens:
            yield listens.trigger


def _fixed(jobs: Mapping[str, Job]) -> Iterator[Trigger[object]]:
    """Return the triggers whose webhook is known from the code alone.

    Those of an app that has one webhook for all accounts are, whoever subscribes to them.
    """
    for job in jobs.values():
        for listens in job.listens:
            found = listens.trigger if listens.dynamic is None else _shared(listens.dynamic)
            if found is not None:
                yield found


def _shared(dynamic: Dynamic[..., object]) -> Trigger[object] | None:
    """Return a dynamic trigger without params, if it means the one webhook of an app."""
    called = attempt(dynamic.event)
    if isinstance(called, Raised):  # its params are required
        return None
    source = called.value.source
    return called.value if is_webhook(source) and source.is_shared(called.value.params) else None


def dynamics_of(jobs: Mapping[str, Job]) -> Mapping[str, Dynamic[..., object]]:
    """Return the dynamic triggers that jobs listen to, by id."""
    every = (one.dynamic for job in jobs.values() for one in job.listens)
    return {one.id: one for one in every if one is not None}


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
    """Return integrations by the ref of their connection: those of triggers, then those with credentials.

    Each stands there by its id, too, for its default connection.
    """
    named = [trigger.integration for trigger in triggers_of(jobs) if trigger.integration is not None]
    found: dict[str, Integration] = {}
    for integration in [*named, *connected]:
        found.setdefault(integration.connection_ref, integration)
    for integration in list(found.values()):
        found.setdefault(integration.id, integration.through(""))
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
