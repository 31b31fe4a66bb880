"""Finding and removing what is old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from trigflow.runtime import records as r
from trigflow.stores.memory.tables import Tables


class RetentionTables(Tables):
    """Where what is old is found and removed."""

    async def find_old(self, kind: r.Kind, *, before: int, after: str, limit: int) -> r.Old:
        """Look at all rows: there are few."""
        return r.Old(tuple(self._old(kind, before)), None)

    async def remove_old(self, kind: r.Kind, names: Sequence[tuple[str, ...]], *, before: int) -> int:
        """Remove which of these are still old."""
        old = set(self._old(kind, before)) & set(names)
        for name in old:
            self._removers()[kind](*name)
        return len(old)

    async def claim_chore(self, chore: str, *, now: int, until: int) -> bool:
        """Take what one process must do once until a moment."""
        if now < self._chores.get(chore, 0) <= until:
            return False
        self._chores[chore] = until
        self._chores = {name: ends for name, ends in self._chores.items() if ends > now}
        return True

    def _old(self, kind: r.Kind, before: int) -> Iterable[tuple[str, ...]]:
        match kind:
            case "runs":
                return [(id_,) for id_, run in self._runs.items() if self._ended(run.new.id, before)]
            case "noise":
                return [(d.id,) for d in self._received(before) if d.outcome in r.NOISE]
            case "deliveries":
                return [(d.id,) for d in self._received(before) if not self._needed(d.id, before)]
            case "bodies":
                kept = (d for d in self._received(before) if d.id not in self._bodiless)
                return [(d.id,) for d in kept if not self._needed(d.id, before)]
            case "registrations":
                return [(one.id,) for one in self._attempts if one.at < before]
            case "recoveries":
                return [(one.id,) for one in self._recoveries if one.at < before]
            case "audit":
                return [(str(number),) for number, one in self._audit.items() if one.at < before]
            case "removed":
                return self._removed_before(before)
            case "processes":
                return self._gone(before)
            case "dedupe":
                there = {(one.row.subscription_id, one.dedupe_id) for one in self._events.values()}
                return [key for key, at in self._known.items() if at < before and key not in there]

    def _received(self, before: int) -> list[r.NewDelivery]:
        return [one for one in self._deliveries.values() if one.received_at < before]

    def _ended(self, run: str, before: int) -> bool:
        finish = self._runs[run].finish
        return finish is not None and finish.ended_at < before

    def _needed(self, delivery: str, before: int) -> bool:
        return any(not self._ended(run, before) for run in self._runs_of(delivery))

    def _runs_of(self, delivery: str) -> list[str]:
        events = {id_ for id_, one in self._events.items() if one.row.delivery_id == delivery}
        return [id_ for id_, run in self._runs.items() if run.event in events]

    def _gone(self, before: int) -> list[tuple[str, ...]]:
        wanted = {owner for owner, (at, _) in self._wants.items() if at < before}
        owners = {queued.owner for queued in self._queue.values()} | set(self._wants)
        lived = {owner for owner, beat in self._beats.items() if beat < before and owner not in owners}
        return [(owner,) for owner in sorted(wanted | lived)]

    def _removed_before(self, before: int) -> list[tuple[str, ...]]:
        endpoints = [
            e for e in self._endpoints.values() if e.removed_at is not None and e.removed_at < before
        ]
        gone = [s for s in self._subscriptions.values() if s.state == "removed" and s.updated_at < before]
        return [*(("endpoints", one.id) for one in endpoints), *(("subscriptions", one.id) for one in gone)]

    # --- removals

    def _removers(self) -> Mapping[r.Kind, Callable[..., object]]:
        return {
            "runs": self._runs.pop,
            "noise": self._deliveries.pop,
            "deliveries": self._remove_delivery,
            "bodies": self._remove_body,
            "registrations": self._remove_registration,
            "recoveries": self._remove_recovery,
            "audit": self._remove_audit,
            "removed": self._remove_removed,
            "processes": self._remove_process,
            "dedupe": lambda *key: self._known.pop(key),
        }

    def _remove_delivery(self, delivery: str) -> None:
        for run in self._runs_of(delivery):
            del self._runs[run]
        for event in [id_ for id_, one in self._events.items() if one.row.delivery_id == delivery]:
            del self._events[event]
        del self._deliveries[delivery]
        self._bodiless.discard(delivery)

    def _remove_body(self, delivery: str) -> None:
        self._bodiless.add(delivery)
        for event_row, event in self._events.items():
            if event.row.delivery_id == delivery:
                self._events[event_row] = attrs.evolve(event, payload=None, context=None)

    def _remove_registration(self, id_: str) -> None:
        self._attempts = [one for one in self._attempts if one.id != id_]

    def _remove_recovery(self, id_: str) -> None:
        self._recoveries = [one for one in self._recoveries if one.id != id_]

    def _remove_audit(self, number: str) -> None:
        del self._audit[int(number)]

    def _remove_removed(self, table: str, id_: str) -> None:
        if table == "endpoints":
            self._tokens.pop(self._endpoints.pop(id_).token)
        else:
            del self._subscriptions[id_]

    def _remove_process(self, owner: str) -> None:
        self._wants.pop(owner, None)
        self._expects.pop(owner, None)
        self._beats.pop(owner, None)
        self._started.pop(owner, None)
