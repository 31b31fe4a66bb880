"""What ran: a list, one run with its tasks, attempts and log, and stopping one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from trigflow.cli.opening import AsJson, Limit, StorePath, TargetName, inspected, looked_into
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
from trigflow.core.errors import TrigflowError
from trigflow.runtime import views as v

commands = App(name="runs", help="What ran, and how it ended.")


@commands.command(name="list")
async def list_(
    target: TargetName = None,
    *,
    job: Annotated[str | None, Parameter(help="Only runs of the job with this id.")] = None,
    limit: Limit = 20,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show runs, newest first."""
    async with looked_into(target, store) as opened:
        rows = await opened.runs(limit=limit, job=job)
    if as_json:
        show_json([_listed(row) for row in rows])
        return
    show_table(
        ("run", "at", "job", "event", "state", "attempts", "error"),
        (
            (
                row.id,
                clock_time(row.created_at),
                row.job,
                row.event_name,
                row.state,
                row.attempts,
                row.error or "",
            )
            for row in rows
        ),
        empty="no runs",
    )


@commands.command
async def show(
    id: str,  # noqa: A002 - the field's word
    target: TargetName = None,
    *,
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a run with its tasks, attempts and log."""
    async with looked_into(target, store) as opened:
        detail = await opened.run(id)
    if detail is None:
        raise _unknown(id)
    if as_json:
        show_json(_told(detail))
    else:
        _show(detail)


@commands.command
async def cancel(
    id: str,  # noqa: A002 - the field's word
    target: TargetName = None,
    *,
    store: StorePath = None,
    as_json: AsJson = False,
) -> int:
    """Stop a run that has not ended."""
    async with inspected(target, store) as app:
        detail = await app.opened.store.run(id)
        if detail is None:
            raise _unknown(id)
        cancelled = await app.cancel(id)
    if as_json:
        show_json({"id": id, "cancelled": cancelled, "state": "cancelled" if cancelled else detail.row.state})
    elif cancelled:
        say(f"cancelled {id}")
    else:
        say(f"{id} had ended already: ", styled(detail.row.state))
    return 0 if cancelled else 1


def _unknown(id_: str) -> TrigflowError:
    return TrigflowError(f"there is no run {id_}; `trigflow runs list` shows them")


def _listed(row: v.RunRow) -> dict[str, object]:
    return {
        "id": row.id,
        "job": row.job,
        "state": row.state,
        "event": {"id": row.event_id, "name": row.event_name},
        "subscriber": subscriber_key(row.subscriber),
        "delivery": row.delivery_id,
        "created_at": moment(row.created_at),
        "ended_at": moment(row.ended_at),
        "attempts": row.attempts,
        "error": row.error,
        "replay_of": row.replay_of,
    }


def _told(detail: v.RunDetail) -> dict[str, object]:
    return {
        **_listed(detail.row),
        "result": parsed(detail.result),
        "tasks": [
            {
                "key": task.key.removeprefix("/"),
                "state": task.state,
                "attempt": task.attempt,
                "result": parsed(task.result),
                "error": task.error,
                "started_at": moment(task.started_at),
                "ended_at": moment(task.ended_at),
            }
            for task in detail.tasks
        ],
        "failed_attempts": [
            {
                "number": attempt.number,
                "started_at": moment(attempt.started_at),
                "ended_at": moment(attempt.ended_at),
                "error": attempt.error,
            }
            for attempt in detail.attempts
        ],
        "log": [
            {
                "at": moment(line.at),
                "level": line.level,
                "message": line.message,
                "fields": parsed(line.fields) or {},
            }
            for line in detail.logs
        ],
    }


def _show(detail: v.RunDetail) -> None:
    row = detail.row
    result = None if detail.result is None else detail.result.decode("utf-8", "replace")
    show_fields(
        {
            "run": row.id,
            "job": row.job,
            "state": row.state,
            "event": f"{row.event_name}  {row.event_id}",
            "subscriber": subscriber_key(row.subscriber),
            "delivery": row.delivery_id,
            "replay of": row.replay_of,
            "started": clock_time(row.created_at),
            "ended": clock_time(row.ended_at),
            "attempts": row.attempts,
            "error": row.error,
            "result": result,
        }
    )
    if detail.tasks:
        say("\ntasks")
    for task in detail.tasks:
        came_of_it = task.error or (task.result or b"").decode("utf-8", "replace")
        took = f"{task.ended_at - task.started_at} ms"
        say("  ", styled(task.state), f"  {task.key.removeprefix('/')}  {took}  {came_of_it}")
    if detail.attempts:
        say("\nfailed attempts")
    for attempt in detail.attempts:
        say(f"  {attempt.number}  {clock_time(attempt.started_at)}  ", styled(attempt.error, "red"))
    if detail.logs:
        say("\nlog")
    for line in detail.logs:
        fields = (line.fields or b"").decode("utf-8", "replace")
        say("  ", styled(clock_time(line.at), "dim"), f"  {line.level}  {line.message}  {fields}")
