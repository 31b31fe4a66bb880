"""What has to be done at providers so that they send what jobs want. Pure.

wanted   what jobs want                  (all live processes and subscribers together)
known    what the store has registered
actual   what the provider says it has   (None: it can't list, or was not asked)

        wanted   known           actual            step
        yes      no              -                 create
        yes      never finished  ours is there     adopt      (recreate: its secret is lost)
        yes      never finished  not there         create
        yes      registered      gone              recreate
        yes      registered      differs           update
        yes      registered      another is there  adopt      (as above)
        yes      registered      as wanted         none
        no       yes             -                 remove
        -        -               strays            sweep      (our mark, unknown to the store)

Then, of what is registered and stays:

        the lease is old, or somebody asked        renew      (recreate: it has run out)
        somebody asked for a new key               rotate     (both keys are accepted from then on)
        the old key has had its time               retire
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

from trigflow.core.asked import is_asked

Identity: TypeAlias = tuple[str, str, str]
Action = Literal[
    "create", "adopt", "update", "recreate", "renew", "rotate", "retire", "remove", "sweep", "none", "manual"
]
Rotation = Literal["tell", "second", "hook", "no"]
OVERDUE = 60_000  # milliseconds until what should have been done by now is tried again
SWITCHED_OFF = "it was switched off at the provider"
GRACE = timedelta(minutes=10)  # wants of a process that is gone count this long: rolling deploys overlap


class Wanted(msgspec.Struct, frozen=True):
    """A webhook that jobs want: events are names as told to the provider, sorted."""

    identity: Identity
    events: tuple[str, ...]


class KeyFact(msgspec.Struct, frozen=True):
    """One key of a webhook's endpoint; times are unix milliseconds.

    used_at: when it first verified a delivery. has_webhook: another webhook than the
    current one signs with it, and has to be stopped when the key goes.
    """

    serial: int
    created_at: int
    used_at: int | None = None
    has_webhook: bool = False


class Known(msgspec.Struct, frozen=True):
    """A webhook that the store has a row for; times are unix milliseconds.

    finished: a registration has succeeded. confirmed: a verified delivery came.
    leased_at, lease_until: since when and until when the provider keeps it.
    asked: "renew", "rotate" or both, by a person or a signal. keys: the newest first.
    """

    identity: Identity
    registered: tuple[str, ...]
    finished: bool
    confirmed: bool = False
    leased_at: int | None = None
    lease_until: int | None = None
    asked: str = ""
    keys: tuple[KeyFact, ...] = ()


class Actual(msgspec.Struct, frozen=True):
    """A webhook as the provider has it.

    is_known: it is the one that the store keeps. fixed: events that nobody wants stay.
    """

    events: tuple[str, ...]
    active: bool = True
    url_is_current: bool = True
    is_known: bool = True
    fixed: bool = False


class Listed(msgspec.Struct, frozen=True):
    """What a provider's list says of one identity's place.

    ours: this identity's webhook, if it is there.
    strays: how many carry our mark but belong to no row: left by a crash, or by a store that
        was restored from a backup.
    others: how many belong to other trigflow stores; they are never touched.
    """

    ours: Actual | None
    strays: int = 0
    others: int = 0


class Step(msgspec.Struct, frozen=True):
    """One thing to do, and why.

    is_off: the provider has the webhook switched off; None: it was not asked.
    unanswered: why it did not say what it has, so that the step is made from the store alone.
    """

    action: Action
    identity: Identity
    reason: str
    desired: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    others: int = 0
    is_off: bool | None = None
    unanswered: str = ""

    @property
    def changes(self) -> bool:
        """Tell whether something is done at a provider, or a person must do it."""
        return self.action != "none"


class Means(msgspec.Struct, frozen=True):
    """What can be done for a source.

    automatic: without a person's hands. keeps_secret: an old secret can be used again.
    renews_after: the part of a lease's life after which it is renewed; None: it has no lease.
    rotation: how its key is changed. retries_for: how long the provider tries a delivery
    again, milliseconds. covered: it is one account of an app whose own webhook covers it.
    """

    automatic: bool = True
    why_not: str = ""
    keeps_secret: bool = True
    renews_after: float | None = None
    rotation: Rotation = "no"
    retries_for: int = 0
    covered: bool = False


def plan(
    want: Wanted | None, row: Known | None, listed: Listed | None, means: Means, *, now: int
) -> Sequence[Step]:
    """Decide what to do for one identity, in this order; `listed` is None where nobody was asked."""
    if want is None:
        steps = [] if row is None else [_unwanted(row, means)]
    else:
        first = _wanted(want, row, listed, means, now)
        steps = [first]
        if row is not None and row.finished and first.action in ("update", "none") and means.automatic:
            # What works is kept alive even where the provider refuses what is to be added.
            steps = [*_renewal(row, means, now), first, *_keys(row, want, means, now)]
            if first.action == "none" and len(steps) > 1:
                steps.remove(first)
    if listed is not None:
        steps = [msgspec.structs.replace(step, others=listed.others) for step in steps]
        if listed.strays and (want or row):
            identity = (want or row).identity  # type: ignore[union-attr]  # one of them is there
            reason = f"{listed.strays} with our mark that the store does not know"
            # Before a row goes, which is the only thing that leads to the place.
            steps.insert(len(steps) if want else 0, Step("sweep", identity, reason))
    return steps


def renewal_at(row: Known, renews_after: float | None) -> int | None:
    """Tell when a lease is to be renewed (unix milliseconds); None where there is none."""
    if row.lease_until is None or renews_after is None:
        return None
    since = row.leased_at if row.leased_at is not None else row.lease_until
    return since + int(max(row.lease_until - since, 0) * renews_after)


def retirement_at(row: Known, retries_for: int) -> int | None:
    """Tell when the old key may go: not before the new one was used; None while that is not so.

    It must outlive the first delivery with the new one and every retry of an old delivery.
    """
    if not row.keys or is_asked(row.asked, "rotate"):
        return None
    newest = row.keys[0]
    if len(row.keys) == 1:
        return newest.created_at if newest.has_webhook else None
    return None if newest.used_at is None else max(newest.used_at, newest.created_at + retries_for)


def upkeep_at(row: Known, means: Means, *, now: int, chance: float) -> Sequence[int]:
    """Tell when a lease is to be renewed and an old key to go (unix milliseconds, all after `now`).

    chance: from 0 to 1; a little later, so that not all that was made at once is renewed at once.
    """
    retired, renewed = retirement_at(row, means.retries_for), renewal_at(row, means.renews_after)
    if renewed is not None and row.lease_until is not None:
        renewed += int((row.lease_until - renewed) * 0.1 * chance)
    return [at if at > now else now + OVERDUE for at in (renewed, retired) if at is not None]


def _wanted(want: Wanted, row: Known | None, listed: Listed | None, means: Means, now: int) -> Step:
    if means.covered:
        covered = row is not None and row.finished
        reason = "its app's webhook covers it"
        return Step("none" if covered else "create", want.identity, reason, want.events)
    if not means.automatic:
        return _by_hand(want, row, means)
    if row is None or not row.finished:
        return _first(want, listed, means)
    if row.lease_until is not None and means.renews_after is not None and now >= row.lease_until:
        return Step("recreate", want.identity, "its lease has run out", want.events, missing=want.events)
    if listed is None:
        return _differs(want, row.registered, "")
    if listed.ours is None:
        return Step("recreate", want.identity, "it is gone at the provider", want.events, missing=want.events)
    if not listed.ours.is_known:
        return _first(want, listed, means)
    has = listed.ours.events
    if listed.ours.fixed:
        has = tuple(name for name in has if name in want.events)
    return msgspec.structs.replace(_differs(want, has, _drift(listed.ours)), is_off=not listed.ours.active)


def _by_hand(want: Wanted, row: Known | None, means: Means) -> Step:
    if row is not None and (row.finished or row.confirmed):
        return Step("none", want.identity, "registered by hand; its events are not known", want.events)
    return Step("manual", want.identity, means.why_not, want.events, missing=want.events)


def _first(want: Wanted, listed: Listed | None, means: Means) -> Step:
    if listed is None or listed.ours is None:
        return Step("create", want.identity, "no webhook yet", want.events, missing=want.events)
    if not means.keeps_secret:
        reason = "an unfinished one is there, and its secret was told once and is lost"
        return Step("recreate", want.identity, reason, want.events, missing=want.events)
    step = _differs(want, listed.ours.events, "")
    return msgspec.structs.replace(
        step, action="adopt", reason="ours is there, from a registration that did not finish"
    )


def _drift(ours: Actual) -> str:
    if not ours.active:
        return SWITCHED_OFF
    return "" if ours.url_is_current else "the public URL has changed"


def _differs(want: Wanted, has: tuple[str, ...], drift: str) -> Step:
    missing = tuple(name for name in want.events if name not in has)
    orphaned = tuple(name for name in has if name not in want.events)
    reasons = [drift] if drift else []
    if missing:
        reasons.append(f"missing {', '.join(missing)}")
    if orphaned:
        reasons.append(f"orphaned {', '.join(orphaned)}")
    action: Action = "update" if reasons else "none"
    return Step(action, want.identity, "; ".join(reasons) or "as wanted", want.events, missing, orphaned)


def _renewal(row: Known, means: Means, now: int) -> list[Step]:
    due = renewal_at(row, means.renews_after)
    if means.renews_after is not None and is_asked(row.asked, "renew"):
        return [Step("renew", row.identity, "asked for", row.registered)]
    if due is not None and now >= due:
        return [Step("renew", row.identity, "its lease is old", row.registered)]
    return []


def _keys(row: Known, want: Wanted, means: Means, now: int) -> list[Step]:
    steps: list[Step] = []
    if is_asked(row.asked, "rotate") and means.rotation != "no":
        steps.append(Step("rotate", row.identity, "asked for", want.events))
    retired = retirement_at(row, means.retries_for)
    if retired is not None and now >= retired:
        steps.append(Step("retire", row.identity, "the old key has had its time", want.events))
    return steps


def _unwanted(row: Known, means: Means) -> Step:
    if (row.finished or row.confirmed) and not means.automatic and not means.covered:
        reason = f"no job wants it; remove it at the provider ({means.why_not})"
        return Step("manual", row.identity, reason, orphaned=row.registered)
    return Step("remove", row.identity, "no job wants it", orphaned=row.registered)
