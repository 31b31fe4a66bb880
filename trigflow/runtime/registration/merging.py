"""A subscription that was changed by two at once: by who looks at it, and by what came meanwhile. Pure.

read ("was") ──── a provider is called, seconds to minutes ────> to be written ("new")
   └── a signal, a lease that a handshake told, a question ──> as it is ("now") ─┘ both are kept
"""

from __future__ import annotations

from typing import Any

import attrs

from trigflow.core.asked import also_asked, is_asked, no_more_asked
from trigflow.runtime import records as r

# Written by others alone, whoever looks at a subscription.
_NOT_OURS = ("metadata", "last_at", "seen", "usual_gap")


def merged(now: r.Subscription, was: r.Subscription, new: r.Subscription) -> r.Subscription:
    """Return a row with what `new` changes of `was`; what others have changed since it was read stays.

    Whoever wants a subscription looked at makes its `next_at` less than 0: that is never put off.
    """
    mine: dict[str, Any] = {
        field.name: getattr(new, field.name)
        for field in attrs.fields(r.Subscription)
        if field.name not in _NOT_OURS and getattr(new, field.name) != getattr(was, field.name)
    }
    if now.next_at != was.next_at:
        mine.pop("next_at", None)
    if "asked" in mine:
        mine["asked"] = _asked(now, was, new)
    return attrs.evolve(now, **mine)


def _asked(now: r.Subscription, was: r.Subscription, new: r.Subscription) -> str:
    asked = now.asked
    for word in was.asked.split():
        if not is_asked(new.asked, word) and not (word == "recover" and _is_asked_anew(now, was)):
            asked = no_more_asked(asked, word)
    for word in new.asked.split():
        asked = also_asked(asked, word)
    return asked


def _is_asked_anew(now: r.Subscription, was: r.Subscription) -> bool:
    """Tell whether somebody asked since: what was missed later is not in what was read."""
    return now.next_at < 0 and now.next_at != was.next_at
