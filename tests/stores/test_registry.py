"""Endpoints, subscriptions, keys and wants: every store beside a plain model."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import attrs
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trigflow.runtime import records as r
from trigflow.runtime.ports import Store
from trigflow.stores.memory import MemoryStore
from trigflow.stores.sqlite import SqliteStore

OWNERS = ("a", "b")
owners = st.sampled_from(OWNERS)
IDENTITIES = [("source", key, connection) for key in ("k1", "k2") for connection in ("c1", "c2")]
identities = st.sampled_from(IDENTITIES)
small_json = st.sampled_from([b"{}", b'{"id":7}'])


class Registries(RuleBasedStateMachine):
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
        self.now = 1_000
        self.serial = 0
        self.subscriptions: dict[str, r.Subscription] = {}
        self.endpoints: dict[str, r.Endpoint] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        self.wanted: dict[str, tuple[int, list[r.Want]]] = {}
        self.attempts: list[r.RegistrationAttempt] = []

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                self.portal.call(store.__aexit__, None, None, None)
            self._portal_context.__exit__(None, None, None)
            self._folder.cleanup()

    def all(self, call: Callable[[Store], Awaitable[Any]]) -> Any:
        """Ask every store; return the one answer that they agree on."""
        answers = [self.portal.call(call, store) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def some(self, data: st.DataObject) -> r.Subscription:
        return self.subscriptions[data.draw(st.sampled_from(sorted(self.subscriptions)))]

    @rule(by=st.integers(1, 10))
    def time_goes_by(self, by: int) -> None:
        self.now += by

    @rule(
        identity=identities, generated=st.booleans(), data=st.data(), source_has_one_url=st.booleans(),
    )  # fmt: skip
    def create(
        self, identity: tuple[str, str, str], generated: bool, data: st.DataObject, source_has_one_url: bool
    ) -> None:
        self.serial += 1
        known = [name for name, endpoint in self.endpoints.items() if endpoint.state != "removed"]
        shares = data.draw(st.sampled_from(known)) if known and source_has_one_url else None
        name = shares or f"ep_{self.serial:04d}"
        keys = (r.StoredKey(1, b"sealed", None),) if generated else ()
        endpoint = self.endpoints.get(name) or r.Endpoint(
            name, f"token{name}", "source", "pending", b"{}", keys
        )
        subscription = r.Subscription(
            f"sub_{self.serial:04d}", name, *identity, b"{}", created_at=self.now, updated_at=self.now
        )
        same = [s for s in self.subscriptions.values() if s.identity == identity and s.state != "removed"]
        expected = same[0] if same else subscription
        assert self.all(lambda store: store.create_subscription(endpoint, subscription)) == expected
        if not same:
            self.subscriptions[subscription.id] = subscription
            self.endpoints.setdefault(name, endpoint)

    @precondition(lambda self: self.subscriptions)
    @rule(
        data=st.data(),
        sealed=st.none() | st.binary(min_size=1, max_size=3),
        registered=st.lists(st.sampled_from(["issues", "push"]), unique=True),
        state=st.sampled_from(["pending", "active", "failing", "disabled"]),
        facts=st.fixed_dictionaries(
            {
                "data": st.none() | small_json,
                "cause": st.text(max_size=3),
                "account": st.none() | st.sampled_from(["acme", "umbrella"]),
                "lease_until": st.none() | st.integers(0, 9),
                "failures": st.integers(0, 3),
                "next_at": st.integers(0, 9),
                "params": small_json,
                "coverage": st.sampled_from(["events", "all", "unknown"]),
            }
        ),
    )
    def save(
        self,
        data: st.DataObject,
        sealed: bytes | None,
        registered: list[str],
        state: Any,
        facts: dict[str, Any],
    ) -> None:
        kept = self.some(data)
        if kept.state == "removed":
            return
        new = attrs.evolve(
            kept, registered=tuple(registered), state=state, updated_at=self.now, metadata=b'"stale"', **facts
        )
        self.all(lambda store: store.save_subscription(new, sealed_key=sealed))
        # What the handler remembers belongs to the intake; an older copy must not undo it.
        self.subscriptions[new.id] = attrs.evolve(new, metadata=kept.metadata)
        endpoint = self.endpoints[new.endpoint_id]
        if sealed is not None:
            endpoint = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed, None),))
        if state == "active":
            endpoint = attrs.evolve(endpoint, state="active")
        self.endpoints[endpoint.id] = endpoint

    @precondition(lambda self: self.subscriptions)
    @rule(
        data=st.data(),
        metadata=st.none() | small_json,
        activates=st.booleans(),
        signal=st.sampled_from([("", None), ("missed", None), ("expired", "expired"), ("gone", "failing")]),
        gone=st.booleans(),
    )
    def deliver(
        self,
        data: st.DataObject,
        metadata: bytes | None,
        activates: bool,
        signal: tuple[str, r.SubscriptionState | None],
        gone: bool,
    ) -> None:
        kept = self.some(data)
        cause, state = signal
        update = r.Update(kept.id, ("scope",), metadata, activates, state, cause, gone)
        self.serial += 1
        delivery = r.NewDelivery(
            f"dlv_{self.serial:04d}", kept.endpoint_id, kept.id, self.now, "accepted", "", 200, "POST", b"[]",
            b"", updates=(update,),
        )  # fmt: skip
        self.all(lambda store: store.accept(delivery))
        assert self.all(lambda store: store.delivery(delivery.id))[0].source == "source"
        if metadata is not None:
            kept = attrs.evolve(kept, metadata=metadata)
        if activates and kept.state == "pending":
            kept = attrs.evolve(kept, state="active", coverage="unknown", cause="")
        if cause and kept.state != "removed":
            left = None if gone else kept.data
            kept = attrs.evolve(kept, state=state or kept.state, cause=cause, data=left, next_at=0)
        self.subscriptions[kept.id] = kept
        endpoint = self.endpoints[kept.endpoint_id]
        if activates and endpoint.state == "pending":
            self.endpoints[endpoint.id] = attrs.evolve(endpoint, state="active")

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data(), until=st.integers(0, 10**12))
    def set_lease(self, data: st.DataObject, until: int) -> None:
        endpoint = self.some(data).endpoint_id
        self.all(lambda store: store.set_lease(endpoint, until=until))
        for kept in list(self.subscriptions.values()):
            if kept.endpoint_id == endpoint:
                self.subscriptions[kept.id] = attrs.evolve(kept, lease_until=until)

    @rule(data=st.data(), sealed=st.binary(min_size=1, max_size=3))
    def capture_key(self, data: st.DataObject, sealed: bytes) -> None:
        name = data.draw(st.sampled_from([*sorted(self.endpoints), "ep_nowhere"]))
        endpoint = self.endpoints.get(name)
        possible = endpoint is not None and endpoint.state == "pending" and not endpoint.keys
        assert self.all(lambda store: store.capture_key(name, sealed, at=self.now)) == possible
        if endpoint is not None and possible:
            self.endpoints[name] = attrs.evolve(endpoint, keys=(r.StoredKey(1, sealed, None),))

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = self.some(data)
        self.all(lambda store: store.remove_subscription(gone.id, at=self.now))
        self.subscriptions[gone.id] = attrs.evolve(gone, state="removed", updated_at=self.now)
        others = [s for s in self.subscriptions.values() if s.endpoint_id == gone.endpoint_id]
        if all(s.state == "removed" for s in others):
            self.endpoints[gone.endpoint_id] = attrs.evolve(self.endpoints[gone.endpoint_id], state="removed")

    @rule(data=st.data(), owner=owners, lasts=st.integers(0, 10))
    def claim(self, data: st.DataObject, owner: str, lasts: int) -> None:
        name = data.draw(st.sampled_from([*sorted(self.subscriptions), "sub_nowhere"]))
        until = self.now + lasts
        held = self.claims.get(name)
        free = held is None or held[0] == owner or held[1] < self.now
        possible = name in self.subscriptions and free
        assert (
            self.all(lambda store: store.claim_subscription(name, owner, now=self.now, until=until))
            == possible
        )
        if possible:
            self.claims[name] = (owner, until)

    @rule(data=st.data(), owner=owners)
    def release(self, data: st.DataObject, owner: str) -> None:
        name = data.draw(st.sampled_from([*sorted(self.subscriptions), "sub_nowhere"]))
        self.all(lambda store: store.release_subscription(name, owner))
        if self.claims.get(name, ("", 0))[0] == owner:
            del self.claims[name]

    @rule(owner=owners, found=st.dictionaries(identities, st.sampled_from([("push",), ("issues", "push")])))
    def want(self, owner: str, found: dict[tuple[str, str, str], tuple[str, ...]]) -> None:
        wants = [r.Want(*identity, b"{}", events) for identity, events in found.items()]
        self.all(lambda store: store.put_wants(owner, wants, at=self.now))
        self.wanted[owner] = (self.now, wants)

    @rule(patience=st.integers(0, 20))
    def look_at_wants(self, patience: int) -> None:
        since = self.now - patience
        expected = sorted(
            (want.identity, at, owner, want.events)
            for owner, (at, wants) in self.wanted.items()
            for want in wants
            if at >= since
        )
        found: list[r.Want] = self.all(lambda store: store.wants(since=since))
        assert [(want.identity, want.events) for want in found] == [(one[0], one[3]) for one in expected]

    @rule(data=st.data(), outcome=st.sampled_from(["done", "refused", "failed"]))
    def log_registration(self, data: st.DataObject, outcome: Any) -> None:
        self.serial += 1
        name = data.draw(st.sampled_from([*sorted(self.subscriptions), "sub_x"]))
        attempt = r.RegistrationAttempt(
            f"reg_{self.serial:04d}", name, "create", "r", outcome, "", self.now, 3
        )
        self.all(lambda store: store.log_registration(attempt))
        self.attempts.append(attempt)
        newest_first = [one for one in reversed(self.attempts) if one.subscription_id == name]
        assert self.all(lambda store: store.registrations(name)) == newest_first

    @invariant()
    def endpoints_are_as_noted(self) -> None:
        if not hasattr(self, "stores"):
            return
        expected = [
            attrs.evolve(
                endpoint,
                subscriptions=tuple(
                    s for _, s in sorted(self.subscriptions.items())
                    if s.endpoint_id == endpoint.id and s.state != "removed"
                ),
            )
            for _, endpoint in sorted(self.endpoints.items())
            if endpoint.state != "removed"
        ]  # fmt: skip
        assert self.all(lambda store: store.endpoints()) == expected
        self.what_is_asked_for_singly_is_as_noted(expected)

    def what_is_asked_for_singly_is_as_noted(self, expected: list[r.Endpoint]) -> None:
        tokens = {endpoint.token for endpoint in self.endpoints.values()}
        assert self.all(methodcaller("endpoints_at", {*tokens, "nowhere"})) == {
            endpoint.token: attrs.evolve(endpoint, subscriptions=first_of(endpoint.subscriptions))
            for endpoint in expected
        }
        there = [(endpoint, one) for endpoint in expected for one in endpoint.subscriptions]
        assert self.all(methodcaller("endpoints_for", {*IDENTITIES, ("other", "k1", "c1")})) == {
            one.identity: attrs.evolve(endpoint, subscriptions=(one,)) for endpoint, one in there
        }
        addresses = {
            (name, account) for name in (*self.endpoints, "ep_x") for account in ("acme", "umbrella")
        }
        receiving: dict[tuple[str, str], list[r.Subscription]] = {}
        for endpoint, one in there:
            if one.account is not None and one.state != "disabled":
                receiving.setdefault((endpoint.id, one.account), []).append(one)
        assert self.all(methodcaller("receiving", addresses)) == receiving
        live = {one.id: one for _, one in there}
        for name in (*self.subscriptions, "sub_nowhere"):
            assert self.all(methodcaller("subscription", name)) == live.get(name)
        paths = {endpoint.id: endpoint.token for endpoint in expected}
        for name in (*self.endpoints, "ep_nowhere"):
            assert self.all(methodcaller("token_of", name)) == paths.get(name)


def first_of(subscriptions: tuple[r.Subscription, ...]) -> tuple[r.Subscription, ...]:
    """Return the first, and the first that takes deliveries if that is another."""
    taking = [one for one in subscriptions if one.state != "disabled"]
    return tuple(dict.fromkeys([*subscriptions[:1], *taking[:1]]))


TestRegistries = Registries.TestCase
TestRegistries.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
