"""What has to be done at providers so that they send what jobs want. Pure.

wanted   what jobs want                  (all live processes together)
known    what the store has registered
actual   what the provider says it has   (None: it can't list, or was not asked)

        wanted   known           actual            step
        yes      no              -                 create
        yes      never finished  ours is there     adopt
        yes      never finished  not there         create
        yes      registered      gone              recreate
        yes      registered      differs           update
        yes      registered      as wanted         none
        no       yes             -                 remove
        -        -               strays            sweep    (our mark, unknown to the store)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

Identity: TypeAlias = tuple[str, str, str]
Action = Literal[
    "create", "adopt", "update", "recreate", "renew", "rotate", "remove", "sweep", "none", "manual"
]
GRACE = timedelta(minutes=10)  # wants of a process that is gone count this long: rolling deploys overlap


class Wanted(msgspec.Struct, frozen=True):
    """A webhook that jobs want: events are names as told to the provider, sorted."""

    identity: Identity
    events: tuple[str, ...]


class Known(msgspec.Struct, frozen=True):
    """A webhook that the store has a row for.

    finished: a registration has succeeded. confirmed: a verified delivery came.
    """

    identity: Identity
    registered: tuple[str, ...]
    finished: bool
    confirmed: bool = False


class Actual(msgspec.Struct, frozen=True):
    """A webhook as the provider has it."""

    events: tuple[str, ...]
    active: bool = True
    url_is_current: bool = True


class Listed(msgspec.Struct, frozen=True):
    """What a provider's list says of one identity's place.

    ours: this identity's webhook, if it is there.
    strays: how many carry our mark but belong to no row: left by a store that was
        restored from a backup.
    others: how many belong to other trigflow stores; they are never touched.
    """

    ours: Actual | None
    strays: int = 0
    others: int = 0


class Step(msgspec.Struct, frozen=True):
    """One thing to do, and why."""

    action: Action
    identity: Identity
    reason: str
    desired: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    others: int = 0

    @property
    def changes(self) -> bool:
        """Tell whether something is done at a provider, or a person must do it."""
        return self.action != "none"


class Means(msgspec.Struct, frozen=True):
    """What can be done for a source: nobody's hands, and whether an old secret can be used again."""

    automatic: bool = True
    why_not: str = ""
    keeps_secret: bool = True


def plan(
    wanted: Iterable[Wanted],
    known: Iterable[Known],
    listed: Mapping[Identity, Listed],
    means: Mapping[Identity, Means],
) -> Sequence[Step]:
    """Decide what to do, in a stable order; an identity that is absent from `listed` was not asked."""
    rows = {one.identity: one for one in known}
    wants = {one.identity: one for one in wanted}
    steps: list[Step] = []
    for identity in sorted({*wants, *rows}):
        can, found = means.get(identity, Means()), listed.get(identity)
        if identity in wants:
            step = _wanted(wants[identity], rows.get(identity), found, can)
        else:
            step = _unwanted(rows[identity], can)
        steps.append(step if found is None else msgspec.structs.replace(step, others=found.others))
        if found is not None and found.strays:
            reason = f"{found.strays} with our mark that the store does not know"
            steps.append(Step("sweep", identity, reason))
    return steps


def _wanted(want: Wanted, row: Known | None, listed: Listed | None, means: Means) -> Step:
    if not means.automatic:
        return _by_hand(want, row, means)
    if row is None or not row.finished:
        return _first(want, listed, means)
    if listed is None:
        return _differs(want, row.registered, "")
    if listed.ours is None:
        return Step("recreate", want.identity, "it is gone at the provider", want.events, missing=want.events)
    return _differs(want, listed.ours.events, _drift(listed.ours))


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
        return "it was switched off at the provider"
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


def _unwanted(row: Known, means: Means) -> Step:
    if (row.finished or row.confirmed) and not means.automatic:
        reason = f"no job wants it; remove it at the provider ({means.why_not})"
        return Step("manual", row.identity, reason, orphaned=row.registered)
    return Step("remove", row.identity, "no job wants it", orphaned=row.registered)
