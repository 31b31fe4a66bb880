"""Taking from providers' own logs what never arrived, on demand."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import named
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.screen import moment, say, show_json, show_table, styled
from trigflow.runtime import records as r

NO_WEBHOOK = "nothing to read: no webhook is registered yet; `trigflow plan` shows what would be"
NO_LOG = "nothing to read: no provider of these webhooks has a log of its own that trigflow can read"
INCOMPLETE = 1  # exit code where a log could not be read whole, or something was lost


async def recover(
    target: TargetName = None,
    *,
    since: Annotated[
        timedelta | None,
        Parameter(help="How far back, such as 2h. Without it: from the last whole reading on."),
    ] = None,
    subscription: Annotated[
        str | None, Parameter(help="The key or the id of one; without it all whose provider has a log.")
    ] = None,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Read providers' own logs and take what never arrived; it is handled like a delivery.

    What has arrived is known by its event id and starts nothing. Exits with 1 where a log could
    not be read whole, or has no content of something any more.
    """
    start = None if since is None else datetime.fromtimestamp(time.time(), UTC) - since
    async with inspected(target, store, url) as app:
        found = [(s, row) async for s, row in _recovered(app, start, subscription)]
    if as_json:
        show_json([_told(s, row) for s, row in found])
    else:
        _show(found)
    return INCOMPLETE if any(row is not None and (row.error or row.lost) for _, row in found) else 0


async def subscriptions_of(
    app: App, only: str | None = None
) -> AsyncGenerator[tuple[r.Endpoint, r.Subscription], None]:
    """Yield all subscriptions, or those of a key or the one of a name; TrigflowError where there is none."""
    seen = False
    async for pair in named.pages(app, which=r.Which(called=only)):
        seen = True
        yield pair
    if only is not None and not seen:
        yield await named.called(app, only)


async def _recovered(
    app: App, since: datetime | None, only: str | None
) -> AsyncGenerator[tuple[r.Subscription, r.Recovery | None], None]:
    recoverer = app.opened.upkeep.recoverer
    async for endpoint, s in subscriptions_of(app, only):
        yield s, await recoverer.recover(endpoint, s, since) if recoverer.can(s) else None


def _told(s: r.Subscription, row: r.Recovery | None) -> dict[str, object]:
    told: dict[str, object] = {"id": s.id, "source": s.source, "key": s.key, "has_log": row is not None}
    if row is not None:
        told |= {
            "since": moment(row.since),
            "until": moment(row.until),
            "received": row.received,
            "recovered": row.recovered,
            "unrecoverable": row.lost,
            "error": row.error or None,
        }
    return told


def _show(found: Sequence[tuple[r.Subscription, r.Recovery | None]]) -> None:
    read = [(s, row) for s, row in found if row is not None]
    show_table(
        ["source", "key", "since", "received", "recovered", "unrecoverable"],
        ([s.source, s.key, moment(row.since), row.received, row.recovered, row.lost] for s, row in read),
        empty=NO_LOG if found else NO_WEBHOOK,
    )
    for s, row in read:
        if row.error:
            say(styled(f"{s.source} {s.key}: ", "dim"), styled(row.error, "red"))
    left_out = [f"{s.source} {s.key}" for s, row in found if row is None]
    if left_out and read:
        say(styled(f"without a log: {', '.join(left_out)}", "dim"))
