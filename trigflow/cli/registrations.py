"""Webhooks at providers: the endpoints that they lead to, what would be done, and doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, TypeAlias, cast

from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import named
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.screen import say, show_json, show_table, styled, warn
from trigflow.core.errors import TrigflowError
from trigflow.core.plan import GRACE, Action, Identity, Step
from trigflow.runtime import records as r
from trigflow.runtime.registration.steps import Applied

WOULD_CHANGE = 2  # exit code of `plan`
SYMBOLS: dict[Action, tuple[str, str]] = {
    "create": ("+", "green"),
    "adopt": ("=", "green"),
    "update": ("~", "yellow"),
    "recreate": ("-/+", "yellow"),
    "renew": ("~", "yellow"),
    "rotate": ("~", "yellow"),
    "retire": ("~", "yellow"),
    "remove": ("-", "red"),
    "sweep": ("-", "red"),
    "manual": ("!", "magenta"),
    "none": (" ", "dim"),
}
Grace: TypeAlias = Annotated[
    timedelta,
    Parameter(
        help="How long the wants of a process that is gone count, such as 10m. 0s ignores other processes."
    ),
]

Only: TypeAlias = Annotated[str | None, Parameter(help="Only the one of this id or key, or start of a key.")]


async def endpoints(
    target: TargetName = None,
    *,
    show_secrets: Annotated[bool, Parameter(negative="", help="Show the secrets, too.")] = False,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the URLs that providers send to, and what is known of each webhook.

    An endpoint is made here if its app has never run, so that its URL and secret
    can be given to a provider by hand.
    """
    async with inspected(target, store, url) as app:
        await app.opened.rows.keep_rows()
        told = [
            _endpoint(app, endpoint, subscription, show_secrets=show_secrets)
            for endpoint in await app.opened.store.endpoints()
            for subscription in endpoint.subscriptions
        ]
    if as_json:
        show_json(told)
        return
    shown = [name for name in ("source", "key", "state", "events", "url") if told]
    show_table(
        [*shown, *(["secret"] if show_secrets else [])],
        (
            [
                *(_cell(one[name]) for name in shown),
                *([one["secret"] or "(none)"] if show_secrets else []),
            ]
            for one in told
        ),
        empty="no endpoints: no job listens to a webhook",
    )
    for one in told:
        if one["cause"]:
            say(styled(f"{one['source']} {one['key']}: ", "dim"), str(one["cause"]))


async def plan(
    target: TargetName = None,
    *,
    offline: Annotated[bool, Parameter(negative="", help="Don't ask providers what they have.")] = False,
    only: Only = None,
    grace: Grace = GRACE,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show what would be done at providers; changes nothing.

    Exits with 0 where nothing has to be done, with 2 where something would be done or is
    left to a person, and with 1 where a provider did not say what it has and after any
    mistake, of usage and set-up, too.
    """
    async with inspected(target, store, url, writes=False) as app:
        steps = await app.plan(offline=offline, grace=grace, only=only)
        if only is not None and not steps:  # what has no row yet is known by its trigger's key alone
            only = (await named.called(app, only))[1].id
            steps = await app.plan(offline=offline, grace=grace, only=only)
        problem = await app.opened.reconciler.unreachable()
    if problem:
        warn(problem)
    if as_json:
        show_json([told_step(step) for step in steps])
    else:
        show_plan(steps)
    if any(step.unanswered for step in steps):
        return 1
    return WOULD_CHANGE if any(step.changes for step in steps) else 0


async def apply(
    target: TargetName = None,
    *,
    allow_remove: Annotated[
        bool, Parameter(negative="", help="Also remove what no job wants and sweep what nobody knows.")
    ] = False,
    only: Only = None,
    grace: Grace = GRACE,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Bring providers in line with what jobs want.

    Exits with 1 where a step was refused, or is left to a person. Nothing is removed
    unless that is allowed.
    """
    async with inspected(target, store, url) as app:
        problem = await app.opened.reconciler.unreachable()
        if problem:
            raise TrigflowError(f"nothing was done: {problem}")
        if only is not None:
            await app.opened.rows.keep_rows()
            only = (await named.called(app, only))[1].id
        applied = await app.apply(grace=grace, only=only, may_remove=allow_remove)
    if as_json:
        show_json([told_applied(one) for one in applied])
    else:
        show_applied(applied)
        left = sum(1 for one in applied if one.left_out)
        if left:
            say(f"{left} left as they are; `trigflow apply --allow-remove` removes them")
    return 1 if any(one.error for one in applied) else 0


def told_step(step: Step) -> dict[str, object]:
    """Describe a step for programs."""
    source, key, connection = step.identity
    return {
        "action": step.action,
        "source": source,
        "key": key,
        "connection": connection,
        "reason": step.reason,
        "events": list(step.desired),
        "missing": list(step.missing),
        "orphaned": list(step.orphaned),
        "others": step.others,
        "unanswered": step.unanswered or None,
    }


def show_plan(steps: Sequence[Step]) -> None:
    """Print steps for people."""
    for step in steps:
        symbol, style = SYMBOLS[step.action]
        say(styled(f"{symbol:>3} ", style), styled(_name(step), "bold"), f"  {step.reason}")
        _show_events(step)
    others: Counter[Identity] = Counter()
    for step in steps:
        others[step.identity] = max(others[step.identity], step.others)
    if others.total():
        say(f"\n{others.total()} of other trigflow stores are there, too; they are never touched.")
    counts: Counter[Action] = Counter(step.action for step in steps if step.changes)
    if counts:
        parts = ", ".join(f"{count} to {_verb(action)}" for action, count in counts.items())
        say(f"\nPlan: {parts}.")
    elif any(step.unanswered for step in steps):
        say("\nNothing to do, as far as the store knows.")
    else:
        say("\nNothing to do." if steps else "Nothing to do: no job listens to a webhook.")
    _show_unanswered(steps)


def _show_unanswered(steps: Sequence[Step]) -> None:
    """Say which providers were not heard, and why; what is wrong with many is told once."""
    counts = Counter(step.unanswered for step in steps if step.unanswered)
    for told, count in counts.items():
        what = "1 of these is" if count == 1 else f"{count} of these are"
        warn(f"{what} planned from the store alone, the provider did not say what it has: {told}")


def _show_events(step: Step) -> None:
    if step.changes and step.missing:
        say(styled("      missing   ", "dim"), styled(", ".join(step.missing), "green"))
    if step.changes and step.orphaned:
        say(styled("      orphaned  ", "dim"), styled(", ".join(step.orphaned), "red"))


def told_applied(one: Applied) -> dict[str, object]:
    """Describe a step and what came of it for programs."""
    return {**told_step(one.step), "error": one.error or None, "left_out": one.left_out or None}


def show_applied(applied: Sequence[Applied]) -> None:
    """Print steps and what came of them; what failed alike is told with the first."""
    told: Counter[str] = Counter()
    for one in applied:
        symbol, style = SYMBOLS[one.step.action]
        told[one.error] += 1
        if told[one.error] == 1 or not one.error:
            came_of_it = styled(one.error, "red") if one.error else styled(one.left_out or "done")
        else:
            came_of_it = styled("the same", "red")
        say(
            styled(f"{symbol:>3} ", style),
            styled(_name(one.step), "bold"),
            f"  {'asked' if one.step.action == 'none' else one.step.action}  ",
            came_of_it,
        )
    if not applied:
        say("Nothing to do.")


def _name(step: Step) -> str:
    return f"{step.identity[0]} {step.identity[1]}"


def _verb(action: Action) -> str:
    return "do by hand" if action == "manual" else action


def _cell(value: object) -> object:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else value


def _endpoint(app: App, endpoint: r.Endpoint, s: r.Subscription, *, show_secrets: bool) -> dict[str, object]:
    opened = app.opened
    secret = None
    if show_secrets and endpoint.keys:
        secret = opened.routes.keys_of(endpoint)[0].secret.decode("utf-8", "replace")
    return {
        "source": s.source,
        "key": s.key,
        "url": opened.reconciler.url_of(endpoint),
        "secret": secret,
        "events": list(s.registered),
        "state": s.state,
        "cause": s.cause,
    }
