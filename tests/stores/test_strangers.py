"""Deliveries that wait for their account: every store beside a plain model."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import attrs
from anyio.from_thread import start_blocking_portal
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

ENDPOINTS = ("ep1", "ep2")
ACCOUNTS = ("", "acme", "umbrella")
endpoints, accounts = st.sampled_from(ENDPOINTS), st.sampled_from(ACCOUNTS)
event_ids = st.sampled_from(["e1", "e2", "e3"])
FIRST = ("", "")


@attrs.define
class Noted:
    """A delivery, as a person would note it down."""

    received_at: int
    outcome: str
    cause: str
    subscription: str | None = None
    has_body: bool = True


class Waited(RuleBasedStateMachine):
    """What is done to the stores is done to the notes, too."""

    @initialize()
    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._portal_context = start_blocking_portal()
        self.portal = self._portal_context.__enter__()
        self.stores: list[Store] = [
            SqliteStore(Path(self._folder.name) / "store.db", store_id=lambda: "abc"),
            MemoryStore(store_id="abc"),
        ]
        for store in self.stores:
            self.portal.call(store.__aenter__)
        self.serial, self.now = 0, 1_000
        self.deliveries: dict[str, Noted] = {}
        self.waits: set[tuple[str, str, str]] = set()
        self.subscriptions: dict[tuple[str, str], r.Subscription] = {}
        self.seen: dict[tuple[str, str], str] = {}  # subscription, event: its run

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                self.portal.call(store.__aexit__, None, None, None)
            self._portal_context.__exit__(None, None, None)
            self._folder.cleanup()

    def all(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        answers = [self.portal.call(call, store) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def name(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}_{self.serial:04d}"

    def is_known(self, address: tuple[str, str]) -> bool:
        return address in self.subscriptions

    @rule(endpoint=endpoints, of=st.lists(accounts, min_size=1, unique=True), by=st.integers(0, 9))
    def arrive(self, endpoint: str, of: list[str], by: int) -> None:
        self.now += by
        name = self.name("dlv")
        new = r.NewDelivery(
            name, endpoint, None, self.now, "ignored", "unknown-account", 200, "POST", b"[]", b"{}",
            waits_for=tuple(of),
        )  # fmt: skip
        self.all(methodcaller("accept", new))
        self.deliveries[name] = Noted(self.now, "ignored", "unknown-account")
        self.waits |= {(endpoint, one, name) for one in of}

    @rule(endpoint=endpoints, account=accounts)
    def become_known(self, endpoint: str, account: str) -> None:
        if (endpoint, account) in self.subscriptions:
            return
        row = r.Endpoint(endpoint, f"token{endpoint}", "source", "active", b"{}")
        new = r.Subscription(
            self.name("sub"), endpoint, "source", endpoint, account, b"{}", account=account, state="active"
        )
        self.all(methodcaller("create_subscriptions", [(row, new)]))
        self.subscriptions[endpoint, account] = new

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.subscriptions)))
        gone = self.subscriptions.pop(address)
        self.all(lambda store: store.remove_subscription(gone.id, at=self.now))

    @rule(data=st.data(), account=accounts, event=st.none() | event_ids, says=st.sampled_from("xf"))
    def adopt(self, data: st.DataObject, account: str, event: str | None, says: str) -> None:
        """One that waits is adopted once, for each account; one that does not changes nothing."""
        if not self.deliveries:
            return
        name = data.draw(st.sampled_from(sorted(self.deliveries)))
        there = [endpoint for endpoint, _, id_ in self.waits if id_ == name]
        endpoint = there[0] if there else "ep1"
        subscription = self.subscriptions.get((endpoint, account))
        if subscription is None:
            return
        noted, run, row = self.deliveries[name], self.name("run"), self.name("evt")
        events = () if event is None else (
            r.NewEvent(
                row, event, "thing", None, None, None,
                (r.NewRun(run, "job", self.now, (r.Enqueue(run, self.now, 0),)),), subscription.id,
            ),
        )  # fmt: skip
        outcome = "failed" if says == "f" and event is None else "accepted" if event else "ignored"
        new = r.NewDelivery(
            name, endpoint, subscription.id, noted.received_at, outcome, says if not event else "", 200,
            "POST", b"[]", b"anything", events=events,
        )  # fmt: skip
        told: list[r.Accepted] = []
        taken = self.all(lambda store: store.adopt(account, new, told.append))
        waited = (endpoint, account, name) in self.waits
        self.waits.discard((endpoint, account, name))
        if not waited or not noted.has_body:
            assert (taken, told) == (None, [])
            return
        is_new = event is not None and (subscription.id, event) not in self.seen
        if event is not None and not is_new:
            outcome = "duplicate"
        assert taken == r.Accepted(outcome, frozenset() if is_new or event is None else frozenset({0}))
        assert told == [taken] * len(self.stores)
        if is_new:
            self.seen[subscription.id, event or ""] = run
        is_first = (noted.outcome, noted.cause) == ("ignored", "unknown-account")
        noted.subscription = subscription.id if is_first else None
        if noted.outcome != "accepted":
            noted.outcome, noted.cause = outcome, new.cause

    @precondition(lambda self: self.waits)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        endpoint, account, name = data.draw(st.sampled_from(sorted(self.waits)))
        self.all(methodcaller("stop_waiting", (endpoint, account), name))
        self.waits.discard((endpoint, account, name))

    @rule(ago=st.integers(0, 20), limit=st.integers(1, 3))
    def stop_old(self, ago: int, limit: int) -> None:
        at = self.now - ago
        old = [(self.deliveries[one[2]].received_at, one) for one in self.waits]
        gone = sorted(one for one in old if one[0] < at)[:limit]
        assert self.all(lambda store: store.stop_waiting_before(at, limit=limit)) == len(gone)
        self.waits -= {one for _, one in gone}

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data())
    def body_goes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.deliveries)))
        if not self.deliveries[name].has_body or self.all(methodcaller("events", name)):
            return
        removed = self.all(lambda store: store.remove_old("bodies", [(name,)], before=self.now + 1))
        assert removed == 1
        self.deliveries[name].has_body = False

    @rule(limit=st.integers(1, 4))
    def look(self, limit: int) -> None:
        """All accounts are looked at, in as many looks as it takes, each as large as it may be."""
        found: list[tuple[str, str]] = []
        after: tuple[str, str] | None = FIRST
        looks = 0
        while after is not None:
            place = after
            seen = self.all(lambda store, place=place: store.waited_for(after=place, limit=limit))
            found += seen.known
            after, looks = seen.after, looks + 1
        waited = sorted({(endpoint, account) for endpoint, account, _ in self.waits})
        assert found == [one for one in waited if self.is_known(one)]
        assert looks <= len(waited) // limit + 1

    @rule(endpoint=endpoints, account=accounts, limit=st.integers(1, 3), after=st.integers(0, 30))
    def list_waiting(self, endpoint: str, account: str, limit: int, after: int) -> None:
        place = f"dlv_{after:04d}"
        all_ = sorted(id_ for *address, id_ in self.waits if address == [endpoint, account] and id_ > place)
        listed = self.all(lambda store: store.waiting((endpoint, account), after=place, limit=limit))
        assert listed == all_[:limit]

    @invariant()
    def deliveries_say_what_became_of_them(self) -> None:
        if not hasattr(self, "deliveries"):
            return
        rows = self.all(lambda store: store.deliveries(limit=1_000))
        assert {row.id: (row.outcome, row.cause, row.subscription_id) for row in rows} == {
            name: (one.outcome, one.cause, one.subscription) for name, one in self.deliveries.items()
        }
        assert {row.id for row in self.all(lambda store: store.runs(limit=1_000))} == set(self.seen.values())


TestWaited = Waited.TestCase
TestWaited.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
