"""Sending a running app an event as its provider would: a real payload with a real signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, cast
from uuid import uuid4

import attrs
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.project import GROUP
from trigflow.cli.screen import say, show_json, styled
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.core.http import Request
from trigflow.core.triggers import Specification
from trigflow.sources.external import ExternalSource
from trigflow.sources.integration import Integration

HERE = "http://127.0.0.1:8000"
TIMEOUT = 10.0  # seconds


@attrs.frozen
class Sample:
    """An event specification as a person names it, and one of its examples."""

    name: str
    specification: Specification
    example: str

    @property
    def source(self) -> ExternalSource[Any, Any, Any]:
        """Where it comes from; SetupError where that is no webhook."""
        source = self.specification.source
        if not isinstance(source, ExternalSource):
            raise SetupError(f"{self.name} does not come over HTTP")
        return cast("ExternalSource[Any, Any, Any]", self.specification.source)

    def read(self) -> bytes:
        """Return the payload."""
        return self.specification.examples()[self.example].read()


async def deliver(
    event: Annotated[str, Parameter(help="An event and one of its examples, such as github.issues:opened.")],
    target: TargetName = None,
    *,
    to: Annotated[
        str | None, Parameter(help=f"Base URL of the running app. Default: its public URL, else {HERE}.")
    ] = None,
    key: Annotated[
        str | None, Parameter(help="Which webhook is meant, as `trigflow endpoints` shows it.")
    ] = None,
    id: Annotated[  # noqa: A002 - the field's word
        str | None, Parameter(help="Id of the delivery; one that was used is a redelivery.")
    ] = None,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Send a signed example to the running app and show its answer.

    Exits with 1 where the answer is not 2xx.
    """
    async with inspected(target, store, url) as app:
        sample = sample_of(event, app)
        delivery = id or str(uuid4())
        path, request = await _signed(app, sample, delivery, key)
        base = (to or app.opened.base_url or HERE).rstrip("/")
    status, body = await _post(f"{base}{path}", request)
    accepted = 200 <= status < 300
    if as_json:
        show_json(
            {"event": sample.name, "example": sample.example, "id": delivery, "status": status, "body": body}
        )
    else:
        say(
            f"{sample.name}:{sample.example} as {delivery}: ",
            styled(status, "green" if accepted else "red"),
            f" {body}",
        )
        say("`trigflow deliveries list` shows what came of it")
    return 0 if accepted else 1


def sample_of(text: str, app: App) -> Sample:
    """Find an event among the app's and the installed integrations', and one of its examples.

    Without an example's name it is the typical one. Raises SetupError.
    """
    name, _, example = text.partition(":")
    known = dict(_specifications(app))
    if name not in known:
        raise SetupError(f"there is no event {name!r}; {_near(name, known, app)}")
    examples = known[name].examples()
    if not examples:
        raise SetupError(f"{name} has no examples")
    if example and example not in examples:
        raise SetupError(f"{name} has no example {example!r}; there are: {', '.join(examples)}")
    return Sample(name, known[name], example or next(iter(examples)))


def _near(name: str, known: Iterable[str], app: App) -> str:
    """Say which events may be meant: an integration has hundreds."""
    from difflib import get_close_matches

    listened = {listens.trigger.name for job in app.jobs.values() for listens in job.listens}
    ending = [one for one in known if one.partition(".")[2] == name]
    near = list(dict.fromkeys([*ending, *get_close_matches(name, list(known), n=3)]))
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{meant}jobs of this app listen to: {', '.join(sorted(listened)) or 'none'}"


def _specifications(app: App) -> Iterator[tuple[str, Specification]]:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        integration: type[Integration] = point.load()
        for method, specification in integration.specifications():
            yield f"{integration.id}.{method}", specification
    for job in app.jobs.values():
        for listens in job.listens:
            yield listens.trigger.name, listens.trigger.specification


async def _signed(app: App, sample: Sample, delivery: str, key: str | None) -> tuple[str, Request]:
    """Return the path of the endpoint that is meant, and the request."""
    from trigflow.testing.deliveries import signed

    opened, source = app.opened, sample.source
    if source.id not in opened.sources:
        raise SetupError(
            f"no job of this app listens to {source.id}, so it has no endpoint for {sample.name}"
        )
    await opened.rows.keep_rows()
    keys = [s.key for e in await opened.store.endpoints() for s in e.subscriptions if s.source == source.id]
    wanted = key or _only(_listening(app, sample) or keys)
    if wanted not in keys:
        raise SetupError(f"there is no webhook {wanted!r} of {source.id}; there are: {', '.join(keys)}")
    token, request = await signed(
        opened, source, sample.specification.name, sample.read(), delivery, key=wanted
    )
    return f"{opened.mark}{token}", request


def _listening(app: App, sample: Sample) -> Sequence[str]:
    """Return the keys of the webhooks that jobs listen to for this event."""
    return [
        listens.trigger.source.key_of(listens.trigger.params)
        for job in app.jobs.values()
        for listens in job.listens
        if listens.trigger.specification is sample.specification and listens.dynamic is None
    ]


def _only(keys: Sequence[str]) -> str:
    names = list(dict.fromkeys(keys))
    if len(names) > 1:
        raise SetupError(f"there are several webhooks for it; name one with --key: {', '.join(names)}")
    return names[0]


async def _post(url: str, request: Request) -> tuple[int, str]:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            answer = await client.post(url, content=request.body, headers=list(request.headers))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        where = url.partition("/e/")[0]
        raise TrigflowError(
            f"no answer from {where} ({type(error).__name__}); is the app running there? see --to"
        ) from error
    return answer.status_code, answer.text
