"""What processes and subscribers want, and how soon they expect something."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables

NOTHING: Mapping[str, int] = {}


class WantTables(Tables):
    """Where wants are kept."""

    async def put_wants(
        self, owner: str, wants: Sequence[r.Want], *, at: int, expects: Mapping[str, int] = NOTHING
    ) -> None:
        """Replace what one process wants."""
        self._wants[owner] = (at, wants)
        self._expects[owner] = expects

    async def wants(self, *, since: int) -> Sequence[r.Want]:
        """Return what processes want whose wants are not older than `since`."""
        fresh = self._fresh(since)
        return [want for *_, want in sorted(fresh, key=lambda one: (one[2].identity, *one[:2]))]

    async def wanted(self, identities: Collection[Identity], *, since: int) -> Mapping[Identity, r.Want]:
        """Return what processes and subscribers want together."""
        found: dict[Identity, list[r.Want]] = {}
        for *_, want in sorted(self._fresh(since), key=lambda one: one[:2], reverse=True):
            found.setdefault(want.identity, []).append(want)
        for _, s in sorted(self._subscribers.items()):
            every = self._soonest(s, since)
            found.setdefault(s.identity, []).append(r.Want(*s.identity, s.params, s.events, every))
        return {one: _united(found[one]) for one in identities if one in found}

    def _soonest(self, s: r.Subscriber, since: int) -> int | None:
        """Return the shortest time that a subscriber, or a job behind its dynamic trigger, says."""
        said = [self._expects[owner].get(s.dynamic) for owner, (at, _) in self._wants.items() if at >= since]
        return min((one for one in (s.expect_every, *said) if one is not None), default=None)

    def _fresh(self, since: int) -> list[tuple[int, str, r.Want]]:
        there = ((at, owner, wants) for owner, (at, wants) in self._wants.items() if at >= since)
        return [(at, owner, want) for at, owner, wants in there for want in wants]


def _united(wants: Sequence[r.Want]) -> r.Want:
    """Return several wants of one identity as one: params of the first, all events, the shortest time."""
    first = wants[0]
    events = sorted({event for want in wants for event in want.events})
    times = [want.expect_every for want in wants if want.expect_every is not None]
    return r.Want(*first.identity, first.params, tuple(events), min(times, default=None))
