"""Webhooks at providers that lead to a store of ours and that nobody knows any more.

ours, in no row                       left by a crash, or by a store that was restored from a backup
of any `trigflow dev`, out of time    whoever finds them may remove them
of another store                      counted, never touched
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import attrs
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import subscribed
from trigflow.cli.opening import AsJson, StorePath, TargetName, inspected
from trigflow.cli.screen import say, show_json, styled, warn
from trigflow.runtime import records as r
from trigflow.runtime.registration.provider import Found
from trigflow.runtime.registration.timely import Unanswered

NAMED = 5  # places that are named where many are alike
NO_LIST = "not looked through: the provider can't say what is there"


@attrs.frozen
class Orphan:
    """One of them, and the subscription at whose place it was found."""

    url: str
    events: tuple[str, ...]
    at: r.Subscription


@attrs.frozen
class Looked:
    """What was found at all places.

    unasked: places whose provider has no list. silent: how many did not answer, by what went wrong.
    """

    orphans: Sequence[Orphan]
    others: int
    unasked: Sequence[r.Subscription]
    silent: Sequence[tuple[r.Subscription, str]]


async def orphans(
    target: TargetName = None,
    *,
    remove: Annotated[bool, Parameter(negative="", help="Remove them at their providers.")] = False,
    store: StorePath = None,
    as_json: AsJson = False,
) -> int:
    """Show webhooks at providers that lead to this app's store and that it does not know.

    Also those of any `trigflow dev` whose time is over. Those of other stores are counted
    and never touched. Looked through are the places where this store has a subscription.
    Exits with 1 where a provider did not answer, or one could not be removed.
    """
    async with inspected(target, store, writes=remove) as app:
        looked = await _look(app)
        errors = await _remove(app, looked.orphans if remove else ())
    if as_json:
        show_json(_told(looked, errors, removed=remove))
    else:
        _show(looked, errors, removed=remove)
    return 1 if looked.silent or any(errors.values()) else 0


async def _look(app: App) -> Looked:
    found: dict[tuple[str, str, str], Orphan] = {}
    others: set[str] = set()
    unasked: list[r.Subscription] = []
    silent: list[tuple[r.Subscription, str]] = []
    async for _, s, there in app.opened.reconciler.places():
        if there is None:
            unasked.append(s)
        elif isinstance(there, Unanswered):
            silent.append((s, there.told))
        else:
            found |= _strays(s, there)
            others.update(there.of_others)
    return Looked(list(found.values()), len(others), unasked, silent)


def _strays(s: r.Subscription, there: Found) -> Mapping[tuple[str, str, str], Orphan]:
    """Return them by what tells them apart: two subscriptions may share a place."""
    return {
        (s.source, stray.url, repr(stray.data)): Orphan(stray.url, tuple(stray.events), s)
        for stray in there.strays
    }


async def _remove(app: App, found: Sequence[Orphan]) -> Mapping[str, str]:
    """Sweep each place once; return what went wrong there, by the subscription's id."""
    steering = subscribed.steering_of(app)
    errors: dict[str, str] = {}
    for s in {one.at.id: one.at for one in found}.values():
        done = await steering.sweep(s)
        errors[s.id] = "" if done is None else done.error
    return errors


def _told(looked: Looked, errors: Mapping[str, str], *, removed: bool) -> dict[str, object]:
    return {
        "orphans": [
            {
                **_place(one.at),
                "url": one.url,
                "events": list(one.events),
                "removed": removed and not errors.get(one.at.id),
                "error": errors.get(one.at.id) or None,
            }
            for one in looked.orphans
        ],
        "others": looked.others,
        "not_asked": [
            *({**_place(s), "error": None} for s in looked.unasked),
            *({**_place(s), "error": told} for s, told in looked.silent),
        ],
    }


def _place(s: r.Subscription) -> dict[str, str]:
    return {"source": s.source, "key": s.key, "connection": s.connection}


def _show(looked: Looked, errors: Mapping[str, str], *, removed: bool) -> None:
    for one in looked.orphans:
        error = errors.get(one.at.id)
        came_of_it = styled(error, "red") if error else styled("removed" if removed else "")
        say(styled("  - ", "red"), f"{one.at.source} {one.at.key}  {one.url}  ", came_of_it)
    if not looked.orphans:
        say("no orphans" if not looked.silent else "no orphans where providers answered")
    elif not removed:
        say(f"{len(looked.orphans)} that nobody knows; `trigflow orphans --remove` removes them")
    if looked.others:
        say(f"{looked.others} of other trigflow stores are there, too; they are never touched")
    for told, places in _grouped(looked):
        names = ", ".join(f"{s.source} {s.key}" for s in places[:NAMED])
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        warn(f"{names}{more}: {told}")


def _grouped(looked: Looked) -> Iterable[tuple[str, Sequence[r.Subscription]]]:
    """Return why places were not looked through, each reason once."""
    found: dict[str, list[r.Subscription]] = {}
    for s, told in looked.silent:
        found.setdefault(told, []).append(s)
    if looked.unasked:
        found[NO_LIST] = [*looked.unasked]
    return found.items()
