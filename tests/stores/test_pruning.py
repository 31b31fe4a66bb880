"""Removing what is old: never what must stay, in the end all that may go; both stores beside plain notes."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.stores.test_contract import ENDPOINTS, Stores, owners
from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore
from trigflow.stores.sqlite.care import check

KINDS: tuple[r.Kind, ...] = get_args(r.Kind)
STARTED_NOTHING = {"rejected", "ignored", "handshake", "duplicate"}
kinds = st.sampled_from(KINDS)
Names = set[tuple[str, ...]]


class PrunedStores(Stores):
    """What is removed from the stores is struck from the notes, too."""

    @initialize()
    def open(self) -> None:
        super().open()
        self.bodiless: set[str] = set()
        self.seen_at: dict[tuple[str, str], int] = {}
        self.tried: dict[str, int] = {}
        self.recovered: dict[str, int] = {}
        self.audited: dict[int, int] = {}
        self.removed: dict[tuple[str, ...], int] = {}
        self.shared: list[str] = []
        self.looks: list[tuple[r.Kind, int, Names]] = []

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                self.portal.call(store.__aexit__, None, None, None)
            self.look_through(Path(self._folder.name) / "store.db")
            self._portal_context.__exit__(None, None, None)
            self._folder.cleanup()

    def look_through(self, path: Path) -> None:
        assert check(path, full=True).problems == ()

    @invariant()
    def keys_are_noted(self) -> None:
        for key in getattr(self, "seen", {}):
            self.seen_at.setdefault(key, self.now)

    # --- what the notes say may go

    def run_may_go(self, name: str, before: int) -> bool:
        ended = self.runs[name].ended
        return ended is not None and ended.ended_at < before

    def runs_of(self, delivery: str) -> list[str]:
        events = {name for name, (_, brought_by, _) in self.events.items() if brought_by == delivery}
        return [name for name, run in self.runs.items() if run.event in events]

    def may_go(self, kind: r.Kind, before: int) -> Names:
        old = {name for name, (new, _) in self.deliveries.items() if new.received_at < before}
        unneeded = {name for name in old if all(self.run_may_go(run, before) for run in self.runs_of(name))}
        busy = {run.owner for run in self.runs.values() if run.open}
        there = {
            (subscription, event.dedupe_id or event.event_id)
            for event, _, subscription in self.events.values()
        }
        found: dict[r.Kind, Names] = {
            "runs": {(name,) for name in self.runs if self.run_may_go(name, before)},
            "noise": {(name,) for name in old if self.deliveries[name][1] in STARTED_NOTHING},
            "deliveries": {(name,) for name in unneeded},
            "bodies": {(name,) for name in unneeded - self.bodiless},
            "registrations": {(name,) for name, at in self.tried.items() if at < before},
            "recoveries": {(name,) for name, at in self.recovered.items() if at < before},
            "audit": {(str(number),) for number, at in self.audited.items() if at < before},
            "removed": {name for name, at in self.removed.items() if at < before},
            "processes": {(name,) for name, beat in self.beats.items() if beat < before and name not in busy},
            "dedupe": {key for key in self.seen if self.seen_at[key] < before and key not in there},
        }
        return found[kind]

    def nothing_is_left(self, kind: r.Kind, name: str) -> None:
        match kind:
            case "runs":
                assert self.all(lambda store: store.run(name)) is None
            case "noise" | "deliveries":
                assert self.all(lambda store: store.delivery(name)) is None
                assert self.all(lambda store: store.events(name)) == []
            case "bodies":
                assert self.all(lambda store: store.delivery(name))[1] is None
                for event in self.all(lambda store: store.events(name)):
                    assert self.all(lambda store, id_=event.id: store.payload(id_)) is None
            case _:
                pass

    def strike(self, kind: r.Kind, names: Names) -> None:
        for name in names:
            self.nothing_is_left(kind, name[0])
            match kind:
                case "runs":
                    del self.runs[name[0]]
                case "noise":
                    del self.deliveries[name[0]]
                case "deliveries":
                    self.strike_delivery(name[0])
                case "bodies":
                    self.bodiless.add(name[0])
                case "registrations":
                    del self.tried[name[0]]
                case "recoveries":
                    del self.recovered[name[0]]
                case "audit":
                    del self.audited[int(name[0])]
                case "removed":
                    del self.removed[name]
                case "processes":
                    del self.beats[name[0]]
                case "dedupe":
                    del self.seen[name[0], name[1]], self.seen_at[name[0], name[1]]

    def strike_delivery(self, delivery: str) -> None:
        for run in self.runs_of(delivery):
            del self.runs[run]
        for event in [name for name, (_, brought_by, _) in self.events.items() if brought_by == delivery]:
            del self.events[event]
        del self.deliveries[delivery]

    # --- looking and removing

    def look(self, kind: r.Kind, before: int, limit: int) -> Names:
        async def walk(store: Store) -> Names:
            after: str | None = ""
            found: list[tuple[str, ...]] = []
            while after is not None:
                old = await store.find_old(kind, before=before, after=after, limit=limit)
                found += old.names
                after = old.after
            assert len(found) == len(set(found))
            return set(found)

        found: Names = self.all(walk)
        return found

    @rule(kind=kinds, kept=st.integers(-1, 15), limit=st.integers(1, 5))
    def prune(self, kind: r.Kind, kept: int, limit: int) -> None:
        before = self.now - kept
        for one in KINDS:
            assert self.look(one, before, limit if one != "processes" else 1_000) == self.may_go(one, before)
        found = self.may_go(kind, before)
        removed = self.all(lambda store: store.remove_old(kind, sorted(found), before=before))
        assert removed == len(found)
        self.strike(kind, found)

    @rule(kept=st.integers(0, 10))
    def look_now_and_remove_later(self, kept: int) -> None:
        before = self.now - kept
        self.looks.extend((kind, before, self.look(kind, before, 1_000)) for kind in KINDS)

    @precondition(lambda self: self.looks)
    @rule(which=st.integers(0, 20))
    def remove_what_was_seen(self, which: int) -> None:
        self.remove(*self.looks.pop(which % len(self.looks)))

    def remove(self, kind: r.Kind, before: int, seen: Names) -> None:
        still = seen & self.may_go(kind, before)
        removed = self.all(lambda store: store.remove_old(kind, sorted(seen), before=before))
        assert removed == len(still)
        self.strike(kind, still)

    @precondition(lambda self: self.events)
    @rule(data=st.data(), kind=st.sampled_from(["bodies", "deliveries"]), kept=st.sampled_from([-1, 0, 5]))
    def replay_between_a_look_and_the_removal(self, data: st.DataObject, kind: r.Kind, kept: int) -> None:
        before = self.now - kept
        seen = self.look(kind, before, 1_000)
        going = [name for name, (_, brought_by, _) in self.events.items() if (brought_by,) in seen]
        if going:
            self.replay_one(data.draw(st.sampled_from(sorted(going))), None)
        self.remove(kind, before, seen)

    @rule()
    def try_to_register(self) -> None:
        name = self.name("reg")
        self.tried[name] = self.now
        attempt = r.RegistrationAttempt(name, "s1", "create", "new", "done", "", self.now, 1)
        self.all(lambda store: store.log_registration(attempt))

    @rule()
    def attempts_are_as_noted(self) -> None:
        kept = self.all(lambda store: store.registrations("s1"))
        assert [one.id for one in kept] == sorted(self.tried, reverse=True)[:100]

    @rule()
    def recover(self) -> None:
        name = self.name("rec")
        self.recovered[name] = self.now
        recovery = r.Recovery(name, "s1", 0, 1, 2, 3, 4, "", self.now)
        self.all(lambda store: store.log_recovery(recovery))

    @rule()
    def do_something(self) -> None:
        self.audited[max(self.audited, default=0) + 1] = self.now
        self.all(lambda store: store.log_audit(r.AuditEntry(self.now, "ann", "removed", "subscription s1")))

    @rule(shared=st.booleans())
    def create_and_remove(self, shared: bool) -> None:
        """Where the endpoint is shared it stays: another subscription is behind it."""
        name = self.name("sub")
        number = len(self.shared) if shared else self.serial
        endpoint = r.Endpoint(
            f"ep_{name}", f"token_{name}", "source", "active", b"{}", (r.StoredKey(1, b"sealed"),),
            shared_key="app" if shared else None,
        )  # fmt: skip
        pairs = [(endpoint, r.Subscription(name, endpoint.id, "source", f"k{number}", "c", b"{}"))]
        if shared and not self.shared:
            stays = self.name("sub")
            pairs.append((endpoint, r.Subscription(stays, endpoint.id, "source", "stays", "c", b"{}")))
            self.shared.append(endpoint.token)
        self.all(methodcaller("create_subscriptions", pairs))
        self.all(lambda store: store.remove_subscription(name, at=self.now))
        self.removed["subscriptions", name] = self.now
        if not shared:
            self.removed["endpoints", endpoint.id] = self.now

    @invariant()
    def what_was_removed_is_known_for_a_while(self) -> None:
        removed = {name for table, name in getattr(self, "removed", {}) if table == "endpoints"}
        if not removed:
            return
        tokens = [f"token_{name.removeprefix('ep_')}" for name in removed]
        found: dict[str, r.Endpoint] = self.all(methodcaller("endpoints_at", tokens))
        assert {one.id: (one.state, len(one.keys)) for one in found.values()} == dict.fromkeys(
            removed, ("removed", 1)
        )
        assert {one.token for one in self.all(methodcaller("endpoints"))} == set(self.shared)

    @rule()
    def what_else_is_kept_is_as_noted(self) -> None:
        kept = self.all(lambda store: store.recoveries("s1"))
        assert [one.id for one in kept] == sorted(self.recovered, reverse=True)[:100]
        done: list[r.AuditEntry] = self.all(lambda store: store.audit(limit=100))
        assert [one.at for one in done] == [at for _, at in sorted(self.audited.items(), reverse=True)]

    # --- what the contract says, of what is no longer there

    def good(self, claim: r.Claim) -> bool:
        return claim.run_id in self.runs and super().good(claim)

    def text_of(self, name: str) -> bytes | None:
        event, delivery, _ = self.events[name]
        if delivery in self.bodiless:
            return None
        return self.deliveries[delivery][0].body if event.payload is None else event.payload

    @precondition(lambda self: self.events)
    @rule(data=st.data(), owner=st.none() | owners)
    def replay(self, data: st.DataObject, owner: str | None) -> None:
        self.replay_one(data.draw(st.sampled_from(sorted(self.events))), owner)

    def replay_one(self, event: str, owner: str | None) -> None:
        run = self.new_run(owner, 0, 1, replay_of="run_before")
        kept = self.text_of(event) is not None
        assert self.all(lambda store: store.replay(event, run, at=self.now)) == kept
        if kept:
            self.note_run(run, event)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def look_at_a_run(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[name]
        text = self.text_of(run.event)
        assert self.all(lambda store: store.payload(run.event)) == text
        loaded = self.all(lambda store: store.load(name))
        assert (None if loaded is None else loaded.text) == text
        if run.open:
            assert text is not None

    @rule(
        outcome=st.none() | st.sampled_from(["accepted", "duplicate", "rejected"]),
        endpoint=st.sampled_from([None, *ENDPOINTS]),
        limit=st.integers(1, 9),
    )
    def look_at_deliveries(self, outcome: str | None, endpoint: str | None, limit: int) -> None:
        wanted = [
            name for name in sorted(self.deliveries, reverse=True)
            if outcome in (None, self.deliveries[name][1])
            and endpoint in (None, self.deliveries[name][0].endpoint_id)
        ][:limit]  # fmt: skip
        rows = self.all(lambda store: store.deliveries(limit=limit, outcome=outcome, endpoint=endpoint))
        assert [(row.id, row.key_serial) for row in rows] == [
            (name, self.deliveries[name][0].key_serial) for name in wanted
        ]
        for name in wanted:
            body = None if name in self.bodiless else self.deliveries[name][0].body
            assert self.all(lambda store, name=name: store.delivery(name))[1] == body


TestPrunedStores = PrunedStores.TestCase
TestPrunedStores.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --- examples

DAY = 24 * 3600 * 1000


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore(store_id="abc")
    return SqliteStore(tmp_path / "s.db", store_id=lambda: "abc")


def delivery(number: int, *, event: str = "", day: int = 0, open_run: bool = False) -> r.NewDelivery:
    name = f"{number:06d}"
    run = r.NewRun(f"run_{name}", "job", 0, (r.Enqueue(f"run_{name}", 0, 0, None),))
    new = r.NewEvent(f"evt_{name}", event or name, "push", None, None, None, (run,) if open_run else ())
    return r.NewDelivery(
        f"dlv_{name}", "ep", "sub", day * DAY, "accepted", "", 200, "POST", b"[]", b"{}", events=(new,)
    )


async def prune(store: Store, kind: r.Kind, *, before: int) -> int:
    old = await store.find_old(kind, before=before * DAY, after="", limit=1_000)
    return await store.remove_old(kind, old.names, before=before * DAY)


@pytest.mark.anyio
async def test_a_redelivery_of_what_was_removed_is_still_a_duplicate(store: Store) -> None:
    async with store:
        await store.accept(delivery(1, event="e"))
        for kind in ("runs", "noise", "deliveries", "bodies"):
            await prune(store, kind, before=100)
        assert await store.deliveries(limit=9) == []
        assert (await store.accept(delivery(2, event="e", day=300, open_run=True))).outcome == "duplicate"
        assert await store.runs(limit=9) == []


@pytest.mark.anyio
async def test_a_key_outlives_its_age_as_long_as_its_event_is_there(store: Store) -> None:
    async with store:
        await store.accept(delivery(1, event="e", open_run=True))
        assert await prune(store, "deliveries", before=500) == 0
        assert await prune(store, "dedupe", before=500) == 0
        assert (await store.accept(delivery(2, event="e", day=501))).outcome == "duplicate"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["bodies", "deliveries"])
async def test_a_run_that_starts_between_a_look_and_the_removal_keeps_what_it_needs(
    store: Store, kind: r.Kind
) -> None:
    async with store:
        await store.accept(delivery(1))
        old = await store.find_old(kind, before=DAY, after="", limit=9)
        assert old.names == (("dlv_000001",),)
        run = r.NewRun("run_again", "job", 0, (r.Enqueue("run_again", 0, 0, None),))
        assert await store.replay("evt_000001", run, at=DAY)
        assert await store.remove_old(kind, old.names, before=DAY) == 0
        loaded = await store.load("run_again")
        assert loaded is not None
        assert loaded.text == b"{}"


@pytest.mark.anyio
async def test_a_delivery_without_its_body_still_says_which_key_verified_it(store: Store) -> None:
    async with store:
        await store.accept(msgspec.structs.replace(delivery(1), key_serial=3))
        assert await prune(store, "bodies", before=1) == 1
        (row,) = await store.deliveries(limit=9)
        assert row.key_serial == 3


@pytest.mark.anyio
async def test_a_chore_is_taken_once_in_a_while_whatever_the_clock_did(store: Store) -> None:
    async with store:
        taken: Callable[[int], Any] = lambda now: store.claim_chore("prune", now=now, until=now + 10)  # noqa: E731
        assert [await taken(now) for now in (100, 101, 109, 110, 111, 119, 120)] == [
            True, False, False, True, False, False, True,
        ]  # fmt: skip
        assert await taken(50), "set back: what was taken then lasts too long to be believed"
        assert not await taken(51)
        assert await store.claim_chore("another", now=51, until=61)


@pytest.mark.anyio
async def test_chores_that_are_over_leave_nothing(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        for number in range(50):
            assert await store.claim_chore(f"oauth:{number}", now=number * 10, until=number * 10 + 20)
        sql = "SELECT count(*) FROM meta WHERE name LIKE 'chore %'"
        ((left,),) = await store.read(lambda connection: connection.execute(sql).fetchall())
        assert left == 2


@pytest.mark.anyio
async def test_pages_of_removed_bodies_are_free_for_what_comes(tmp_path: Path) -> None:
    many = 400
    async with SqliteStore(tmp_path / "s.db", store_id=lambda: "abc") as store:
        for number in range(many):
            new = delivery(number)
            noise = number.to_bytes(2, "big") * 8
            body = b"".join(bytes([byte ^ n % 256]) for n in range(200) for byte in noise)
            await store.accept(msgspec.structs.replace(new, body=body))
        pages = await store.read(lambda connection: connection.pragma("page_count"))
        removed = await prune(store, "bodies", before=1)
        free = await store.read(lambda connection: connection.pragma("freelist_count"))
        assert removed == many
        assert free > pages / 2
        assert len(await store.deliveries(limit=1_000)) == many
