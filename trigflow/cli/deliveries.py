"""What arrived, what came of it and why; and doing it again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import attrs
from cyclopts import App, Parameter

from trigflow.cli.opening import AsJson, Limit, PublicUrl, StorePath, TargetName, inspected, looked_into
from trigflow.cli.screen import (
    clock_time,
    moment,
    parsed,
    say,
    show_fields,
    show_json,
    show_table,
    styled,
    subscriber_key,
)
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.runtime import views as v
from trigflow.runtime.ports import Store
from trigflow.runtime.sealing.shown import Shown

commands = App(name="deliveries", help="What arrived, and what came of it.")
Outcome = Literal["accepted", "duplicate", "handshake", "ignored", "rejected", "failed"]


@attrs.frozen
class Story:
    """A delivery with everything that it led to; runs are by event row."""

    row: v.DeliveryRow
    body: bytes | None
    events: Sequence[v.EventRow]
    runs: Mapping[str, Sequence[v.RunRow]]

    @property
    def trace(self) -> list[dict[str, Any]]:
        """What was decided against, and why."""
        found: list[dict[str, Any]] = parsed(self.row.trace) or []
        return found

    def missed(self, event: v.EventRow) -> list[dict[str, Any]]:
        """Return the jobs that listen to an event and did not want it: with its first row, for all."""
        if event.subscriber is not None:
            return []
        return [entry for entry in self.trace if entry.get("event") == event.event_id]

    @property
    def remarks(self) -> list[str]:
        """What is said of the whole delivery."""
        return [str(entry["why"]) for entry in self.trace if "event" not in entry and "why" in entry]


async def story_of(store: Store, id_: str) -> Story:
    """Read a delivery with its events and runs; TrigflowError where it is not there."""
    found = await store.delivery(id_)
    if found is None:
        raise TrigflowError(f"there is no delivery {id_}; `trigflow deliveries list` shows them")
    events = await store.events(id_)
    runs = {event.id: await store.runs(limit=1000, event=event.id) for event in events}
    return Story(*found, events, runs)


@attrs.frozen
class Contents:
    """What a delivery carried, as people may see it; payloads that are not the body by event row."""

    body: str
    payloads: Mapping[str, str]


async def _contents(story: Story, shown: Shown) -> Contents:
    body = (await shown.body(story.row, story.body, story.events)).decode("utf-8", "replace")
    payloads = {
        one.id: (await shown.payload(story.row, one)).decode("utf-8", "replace") for one in story.events
    }
    return Contents(body, {id_: text for id_, text in payloads.items() if text != body})


@asynccontextmanager
async def _with_app(target: str | None, store: str | None) -> AsyncGenerator[tuple[Store, Shown], None]:
    """Open a store with the keys and the marks of its app; without them where the store alone is named."""
    async with looked_into(target, store) as opened:
        if store is not None and target is None:
            yield opened, Shown(opened, None)
            return
        async with inspected(target, store) as app:
            yield opened, Shown(opened, app.opened.sealer)


@commands.command(name="list")
async def list_(
    target: TargetName = None,
    *,
    outcome: Annotated[Outcome | None, Parameter(help="Only these.")] = None,
    limit: Limit = 20,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what arrived, newest first."""
    async with looked_into(target, store) as opened:
        rows = await opened.deliveries(limit=limit, outcome=outcome)
    if as_json:
        show_json([_listed(row) for row in rows])
        return
    show_table(
        ("delivery", "at", "source", "outcome", "why", "events", "runs"),
        (
            (row.id, clock_time(row.received_at), row.source, row.outcome, row.cause, row.events, row.runs)
            for row in rows
        ),
        empty="no deliveries",
    )


@commands.command
async def show(
    id: str,  # noqa: A002 - the field's word
    target: TargetName = None,
    *,
    body: Annotated[bool, Parameter(negative="", help="Show the body, too.")] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a delivery, what was decided about it and why."""
    contents: Contents | None = None
    if body:
        async with _with_app(target, store) as (opened, shown):
            story = await story_of(opened, id)
            contents = await _contents(story, shown)
    else:
        async with looked_into(target, store) as opened:
            story = await story_of(opened, id)
    if as_json:
        show_json(_told(story, contents))
    else:
        _show(story, contents)


async def replay(
    delivery: str,
    target: TargetName = None,
    *,
    job: Annotated[str | None, Parameter(help="Id of the only job to run.")] = None,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Start the runs of a kept delivery anew, with the triggers of now.

    A process that serves the app executes them.
    """
    async with inspected(target, store, url) as app:
        if job is not None and job not in app.jobs:
            raise SetupError(f"there is no job {job!r}; there are: {', '.join(app.jobs)}")
        runs = await app.replay(delivery, job=job)
    if as_json:
        show_json({"delivery": delivery, "runs": list(runs)})
    elif runs:
        say("started ", styled(", ".join(runs), "bold"), "; see `trigflow runs show ID`")
    else:
        say("nothing started: no job wants its events now; `trigflow deliveries show ID` tells why")
    return 0 if runs else 1


def _listed(row: v.DeliveryRow) -> dict[str, object]:
    return {
        "id": row.id,
        "received_at": moment(row.received_at),
        "source": row.source,
        "outcome": row.outcome,
        "cause": row.cause,
        "status": row.status,
        "events": row.events,
        "runs": row.runs,
    }


def _told(story: Story, contents: Contents | None) -> dict[str, object]:
    told: dict[str, object] = {
        **_listed(story.row),
        "method": story.row.method,
        "headers": parsed(story.row.headers),
        "key_serial": story.row.key_serial,
        "remarks": story.remarks,
        "events": [
            {
                "id": event.event_id,
                "name": event.name,
                "at": moment(event.at),
                "subscriber": subscriber_key(event.subscriber),
                "runs": [
                    {"id": run.id, "job": run.job, "state": run.state, "replay_of": run.replay_of}
                    for run in story.runs[event.id]
                ],
                "missed": [_missed(entry) for entry in story.missed(event)],
                **(
                    {"payload": contents.payloads[event.id]}
                    if contents and event.id in contents.payloads
                    else {}
                ),
            }
            for event in story.events
        ],
    }
    if contents is not None:
        told["body"] = contents.body
    return told


def _missed(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("job", "trigger", "why", "subscriber")}


def _show(story: Story, contents: Contents | None) -> None:
    row = story.row
    show_fields(
        {
            "delivery": row.id,
            "received": clock_time(row.received_at),
            "source": row.source,
            "outcome": row.outcome,
            "cause": row.cause,
            "why": "; ".join(story.remarks),
            "answered": row.status,
            "key": row.key_serial or "",
        }
    )
    for event in story.events:
        _show_event(story, event)
    if row.outcome == "duplicate":
        say("\nits event was known already: a redelivery starts nothing, `trigflow replay` does")
    say("\nheaders")
    for name, value in parsed(row.headers):
        say("  ", styled(f"{name}: ", "dim"), value)
    if contents is None:
        return
    say("\nbody\n", contents.body)
    for event in story.events:
        if event.id in contents.payloads:
            say(f"\npayload of {event.event_id}\n", contents.payloads[event.id])


def _show_event(story: Story, event: v.EventRow) -> None:
    key = subscriber_key(event.subscriber)
    of = "" if key is None else f"  for {key}"
    say("\nevent ", styled(event.name, "bold"), f"  {event.event_id}{of}")
    runs, missed = story.runs[event.id], story.missed(event)
    for run in runs:
        again = f"  (replay of {run.replay_of})" if run.replay_of else ""
        say("  ran      ", run.job, "  ", styled(run.state), f"  {run.id}{again}")
    for entry in missed:
        of = f" for {entry['subscriber']}" if entry.get("subscriber") else ""
        say("  did not  ", f"{entry['job']}{of}", "  ", styled(entry["why"], "yellow"))
    if not runs and not missed:
        say("  no job listens to it")
