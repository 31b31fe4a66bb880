"""What people see of subscriptions, and what they do with one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

import anyio
from cyclopts import App, Parameter, validators

from trigflow.cli import named, subscribed
from trigflow.cli.by_hand import add
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.registrations import show_applied, told_applied
from trigflow.cli.screen import say, show_json, show_json_each, styled
from trigflow.core.errors import SetupError
from trigflow.core.plan import GRACE
from trigflow.runtime import records as r

commands = App(name="subscriptions", help="Webhooks as they are registered, one by one.")
commands.command(add)
State = Literal["pending", "active", "paused", "silent", "failing", "expired", "disabled"]
FOLLOWS_EVERY = 0.5  # seconds between two looks at the request log
Row: TypeAlias = tuple[r.Subscription, str]  # with what to do about it
Name: TypeAlias = Annotated[
    str,
    Parameter(help="Its id; or, where only one has it: its key, a subscriber's key, the start of a key."),
]


@commands.command(name="list")
async def list_(
    target: TargetName = None,
    *,
    state: Annotated[State | None, Parameter(help="Only those in this state.")] = None,
    source: Annotated[str | None, Parameter(help="Only those of this source: github.webhook.")] = None,
    connection: Annotated[
        str | None, Parameter(help="Only those that go through this connection: github/name.")
    ] = None,
    limit: Annotated[
        int, Parameter(help="How many are shown; 0 for all.", validator=validators.Number(gte=0))
    ] = 100,
    after: Annotated[str, Parameter(help="Show those after this id: the last one of the page before.")] = "",
    store: StorePath = None,
    as_json: AsJson = False,
) -> None:
    """Show subscriptions by id, with what is wrong and what to do."""
    which = r.Which(connection=connection, source=source, state=state)
    async with inspected(target, store, writes=False) as app:
        pairs = named.pages(app, after=after, which=which)
        rows = ((s, await subscribed.to_do(app, s)) async for _, s in pairs)
        if as_json:
            await show_json_each(subscribed.told_row(*row) async for row in _first(rows, limit))
        else:
            await _show(rows, limit, "no subscriptions" if which == r.ANY else "no such subscriptions")


async def _first(rows: AsyncIterator[Row], limit: int) -> AsyncGenerator[Row, None]:
    """Yield as many rows; all of them for 0."""
    count = 0
    async for row in rows:
        yield row
        count += 1
        if count == limit:
            return


async def _show(rows: AsyncIterator[Row], limit: int, empty: str) -> None:
    """Print rows a page at a time, and where to go on."""
    part: list[Row] = []
    last: Row | None = None
    async for row in _first(rows, limit):
        if len(part) == named.PAGE:
            subscribed.show_list(part, empty)
            part = []
        part.append(row)
        last = row
    subscribed.show_list(part, empty)
    if last is not None and limit and await anext(rows, None) is not None:
        say(f"there are more: --after {last[0].id}, or --limit 0 for all")


@commands.command
async def show(
    name: Name,
    target: TargetName = None,
    *,
    follow: Annotated[
        bool, Parameter(negative="", help="Go on with the request log, until interrupted.")
    ] = False,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of one: URL, keys, lease, attempts, coverage, deliveries. Never a secret."""
    if follow and as_json:
        raise SetupError("--follow has no end, and JSON has; leave one of them out")
    async with inspected(target, store, url, writes=False) as app:
        endpoint, s = await named.called(app, name)
        one = await subscribed.standing(app, endpoint, s)
        if as_json:
            show_json(subscribed.told_all(one))
            return
        subscribed.show_all(one)
        if follow:
            newest = one.deliveries[0].id if one.deliveries else ""
            while True:
                newest = await subscribed.show_newer(app, endpoint.id, newest)
                await anyio.sleep(FOLLOWS_EVERY)


@commands.command
async def renew(
    name: Name,
    target: TargetName = None,
    *,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Prolong its lease now."""
    return await _ask("renew", name, target, store, url, as_json=as_json)


@commands.command
async def rotate(
    name: Name,
    target: TargetName = None,
    *,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Change its key now.

    The old key is accepted until the new one has verified a delivery and the provider
    tries no older delivery again.
    """
    return await _ask("rotate", name, target, store, url, as_json=as_json)


async def _ask(
    what: Literal["renew", "rotate"],
    name: str,
    target: str | None,
    store: str | None,
    url: str | None,
    *,
    as_json: bool,
) -> int:
    async with inspected(target, store, url) as app:
        _, s = await named.called(app, name)
        applied = await subscribed.steering_of(app).ask(s, what)
        one = await subscribed.standing(app, *await named.called(app, s.id))
    if as_json:
        show_json({"applied": [told_applied(step) for step in applied], **subscribed.told_all(one)})
    else:
        show_applied(applied)
        subscribed.show_lease_and_keys(one)
    return 1 if any(step.error for step in applied) else 0


@commands.command
async def pause(
    name: Name, target: TargetName = None, *, store: StorePath = None, as_json: AsJson = False
) -> None:
    """Hold its runs: deliveries are taken all the same, within 5 seconds their runs wait for `resume`."""
    async with inspected(target, store) as app:
        _, s = await named.called(app, name)
        paused = await subscribed.steering_of(app).pause(s.identity)
    if as_json:
        show_json({"id": s.id, "state": "paused", "changed": paused})
    else:
        say(f"{s.source} {s.key}  ", styled("paused"), "" if paused else "  (it was already)")


@commands.command
async def resume(
    name: Name, target: TargetName = None, *, store: StorePath = None, as_json: AsJson = False
) -> None:
    """Let its held runs go; a process that serves the app executes them."""
    async with inspected(target, store) as app:
        _, s = await named.called(app, name)
        released = await subscribed.steering_of(app).resume(s.identity)
        _, now = await named.called(app, s.id)
    if as_json:
        show_json(
            {"id": s.id, "state": now.state, "changed": released is not None, "released": released or 0}
        )
    elif released is None:
        say(f"{s.source} {s.key} is not paused: ", styled(now.state))
    else:
        say(f"{s.source} {s.key}  ", styled(now.state), f"  {released} held runs were let go")


@commands.command
async def remove(
    name: Name,
    target: TargetName = None,
    *,
    force: Annotated[bool, Parameter(negative="", help="Also where a job wants it.")] = False,
    grace: Annotated[
        timedelta, Parameter(help="How long the wants of a process that is gone count; 0s: not at all.")
    ] = GRACE,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Remove it at its provider now.

    Refused where a job wants it: it would be made anew. What comes late is answered 2xx for 7 days.
    """
    async with inspected(target, store, url) as app:
        _, s = await named.called(app, name)
        means = await app.opened.reconciler.means_for(s)
        done = await subscribed.steering_of(app).remove(s.identity, force=force, grace=grace)
    by_hand = not means.automatic and not done.error
    if as_json:
        left = f"remove it at the provider, too: {means.why_not}" if by_hand else None
        show_json({"id": s.id, **told_applied(done), "by_hand": left})
        return 1 if done.error else 0
    show_applied([done])
    if by_hand:
        say("remove it at the provider, too: ", means.why_not)
    return 1 if done.error else 0
