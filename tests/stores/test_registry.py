"""Endpoints, subscriptions, keys and wants: every store beside a plain model."""

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

OWNERS = ("a", "b")
owners = st.sampled_from(OWNERS)
SOURCES = ("source", "other")
IDENTITIES = [
    *(("source", key, connection) for key in ("k1", "k2") for connection in ("c1", "c2")),
    ("other", "k1", "c1"),
    ("other", "k2", "c1/x"),
]
NOBODY = ("nobody", "k1", "c1")
identities = st.sampled_from(IDENTITIES)
REFS = [*sorted({identity[2] for identity in IDENTITIES}), "nobody/x"]
refs = st.sets(st.sampled_from(REFS), max_size=2)
integrations = st.sets(st.sampled_from(["", *sorted({name.split("/")[0] for name in REFS})]), max_size=1)
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
        self.subscribers: dict[tuple[str, str], r.Subscriber] = {}
        self.quiets: dict[str, tuple[int, str]] = {}

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

    def live(self, identity: tuple[str, str, str]) -> r.Subscription | None:
        there = (one for one in self.subscriptions.values() if one.state != "removed")
        return next((one for one in there if one.identity == identity), None)

    def pair(
        self, identity: tuple[str, str, str], keys: int, shared_key: str | None, behind: str | None
    ) -> tuple[r.Endpoint, r.Subscription]:
        self.serial += 1
        name = behind or f"ep_{self.serial:04d}"
        endpoint = r.Endpoint(
            name, f"token{name}", identity[0], "pending", b"{}",
            tuple(r.StoredKey(n, b"sealed", None, self.now, None, b"{}") for n in range(keys, 0, -1)),
            shared_key=shared_key,
        )  # fmt: skip
        subscription = r.Subscription(
            f"sub_{self.serial:04d}", name, *identity, b"{}", created_at=self.now, updated_at=self.now,
            next_at=self.now, metadata=b'"first"', last_at=3, seen=2, usual_gap=1, asked="renew",
        )  # fmt: skip
        return endpoint, subscription

    def note_pair(self, endpoint: r.Endpoint, subscription: r.Subscription) -> None:
        if self.live(subscription.identity) is not None:
            return
        live = [one for one in self.endpoints.values() if one.state != "removed"]
        same = [
            one for one in live
            if endpoint.shared_key is not None
            and (one.source, one.shared_key) == (endpoint.source, endpoint.shared_key)
        ]  # fmt: skip
        behind = same[0] if same else self.endpoints.get(endpoint.id, endpoint)
        self.endpoints[behind.id] = behind
        self.subscriptions[subscription.id] = attrs.evolve(subscription, endpoint_id=behind.id)

    @rule(
        wanted=st.lists(
            st.tuples(identities, st.integers(0, 2), st.sampled_from([None, None, "app"])), max_size=3
        ),
        data=st.data(),
    )
    def create(self, wanted: list[tuple[tuple[str, str, str], int, str | None]], data: st.DataObject) -> None:
        known = [
            name for name, one in self.endpoints.items()
            if one.state != "removed" and one.shared_key is None
        ]  # fmt: skip
        pairs: list[tuple[r.Endpoint, r.Subscription]] = []
        for identity, keys, shared_key in wanted:
            behind = data.draw(st.sampled_from([None, *known])) if shared_key is None else None
            pairs.append(self.pair(identity, keys, shared_key, behind))
        self.all(methodcaller("create_subscriptions", pairs))
        for pair in pairs:
            self.note_pair(*pair)

    @precondition(lambda self: self.subscriptions)
    @rule(
        data=st.data(),
        sealed=st.none() | st.binary(min_size=1, max_size=3),
        registered=st.lists(st.sampled_from(["issues", "push"]), unique=True),
        state=st.sampled_from(["pending", "active", "failing", "disabled", "silent"]),
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
                "leased_at": st.none() | st.integers(0, 9),
                "asked": st.sampled_from(["", "rotate"]),
            }
        ),
        rotates=st.booleans(),
        old_webhook=st.none() | small_json,
    )
    def save(
        self,
        data: st.DataObject,
        sealed: bytes | None,
        registered: list[str],
        state: Any,
        facts: dict[str, Any],
        rotates: bool,
        old_webhook: bytes | None,
    ) -> None:
        kept = self.some(data)
        if kept.state == "removed":
            return
        new = attrs.evolve(
            kept, registered=tuple(registered), state=state, updated_at=self.now, metadata=b'"stale"',
            last_at=1, seen=99, usual_gap=99, **facts,
        )  # fmt: skip
        # What the handler remembers, and what came, belongs to the intake; an older copy must not undo it.
        self.subscriptions[new.id] = attrs.evolve(
            new, metadata=kept.metadata, last_at=kept.last_at, seen=kept.seen, usual_gap=kept.usual_gap
        )
        endpoint = self.endpoints[new.endpoint_id]
        if state == "active" and endpoint.state == "pending":
            endpoint = attrs.evolve(endpoint, state="active")
        self.endpoints[endpoint.id] = endpoint
        if rotates and sealed is not None:
            self.all(lambda store: store.save_rotated(new, sealed, old_webhook=old_webhook, at=self.now + 1))
            newest, *others = endpoint.keys or (None,)
            if newest is not None and old_webhook is not None:
                newest = attrs.evolve(newest, data=old_webhook)
            kept_keys = () if newest is None else (newest, *others)
            self.endpoints[endpoint.id] = attrs.evolve(endpoint, keys=kept_keys)
            self.note_key(endpoint.id, sealed, self.now + 1)
            return
        self.all(lambda store: store.save_subscription(new, sealed_key=sealed))
        if sealed is not None:
            self.note_key(endpoint.id, sealed, self.now)
            self.endpoints[endpoint.id] = attrs.evolve(endpoint, keys=self.endpoints[endpoint.id].keys[:1])

    def note_key(self, endpoint_id: str, sealed: bytes, at: int) -> int:
        """Put a key before the others; its serial is the next one."""
        endpoint = self.endpoints[endpoint_id]
        serial = endpoint.keys[0].serial + 1 if endpoint.keys else 1
        key = r.StoredKey(serial, sealed, None, at)
        self.endpoints[endpoint_id] = attrs.evolve(endpoint, keys=(key, *endpoint.keys))
        return serial

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), sealed=st.binary(min_size=1, max_size=3))
    def add_key(self, data: st.DataObject, sealed: bytes) -> None:
        name = data.draw(st.sampled_from(sorted(self.endpoints)))
        serial = self.note_key(name, sealed, self.now)
        assert self.all(lambda store: store.add_key(name, sealed, at=self.now)) == serial

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), serials=st.sets(st.integers(1, 4)))
    def retire_keys(self, data: st.DataObject, serials: set[int]) -> None:
        name = data.draw(st.sampled_from(sorted(self.endpoints)))
        self.all(methodcaller("retire_keys", name, serials))
        keys = tuple(key for key in self.endpoints[name].keys if key.serial not in serials)
        self.endpoints[name] = attrs.evolve(self.endpoints[name], keys=keys)

    @precondition(lambda self: self.endpoints)
    @rule(data=st.data(), serial=st.integers(1, 4), webhook=st.none() | small_json)
    def keep_webhook(self, data: st.DataObject, serial: int, webhook: bytes | None) -> None:
        name = data.draw(st.sampled_from(sorted(self.endpoints)))
        self.all(methodcaller("keep_webhook", name, serial, webhook))
        keys = tuple(
            attrs.evolve(key, data=webhook) if key.serial == serial else key
            for key in self.endpoints[name].keys
        )
        self.endpoints[name] = attrs.evolve(self.endpoints[name], keys=keys)

    # --- when they are looked at

    @rule(looked_at=st.sets(st.sampled_from([*IDENTITIES, NOBODY])))
    def look_soon(self, looked_at: set[tuple[str, str, str]]) -> None:
        self.all(methodcaller("look_soon", looked_at))
        for identity in looked_at:
            self.note_look_soon(identity)

    def note_look_soon(self, identity: tuple[str, str, str]) -> None:
        kept = self.live(identity)
        if kept is not None:
            self.subscriptions[kept.id] = attrs.evolve(kept, next_at=min(kept.next_at, 0) - 1)

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data(), what=st.sampled_from(["rotate", "renew", "recover"]))
    def ask(self, data: st.DataObject, what: str) -> None:
        kept = self.some(data)
        self.all(lambda store: store.ask(kept.id, what))
        if kept.state != "removed":
            asked = " ".join(dict.fromkeys([*kept.asked.split(), what]))  # one word hides no other
            self.subscriptions[kept.id] = attrs.evolve(kept, asked=asked, next_at=min(kept.next_at, 0) - 1)

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data(), at=st.integers(0, 9), stale=st.booleans())
    def look_again(self, data: st.DataObject, at: int, stale: bool) -> None:
        kept = self.some(data)
        was = kept.next_at + stale
        self.all(lambda store: store.look_again(kept.id, at=at, was=was))
        if not stale:
            self.subscriptions[kept.id] = attrs.evolve(kept, next_at=at)

    @rule(
        data=st.data(), before=st.integers(-1, 12), limit=st.integers(1, 4), but=refs, but_of=integrations
    )  # fmt: skip
    def look_at_what_is_due(
        self, data: st.DataObject, before: int, limit: int, but: set[str], but_of: set[str]
    ) -> None:
        now = data.draw(st.sampled_from([before, self.now]))
        quiet = {name: until for name, (until, _) in self.quiets.items() if until > now}
        live = [one for one in self.subscriptions.values() if one.state != "removed"]
        called = [one for one in live if one.connection not in quiet]
        soon = now + 6 * 3_600_000
        due = sorted(
            (
                (1, one.next_at)
                if one.lease_until is None or one.lease_until > soon
                else (0, one.lease_until),
                one.id,
            )
            for one in called
            if one.next_at <= now and one.connection not in but and one.connection.split("/")[0] not in but_of
        )
        found: list[r.Endpoint] = self.all(
            lambda store: store.due(now=now, limit=limit, but=but, but_of=but_of)
        )
        assert found == [self.alone(id_) for _, id_ in due[:limit]]
        soonest = min([*(one.next_at for one in called), *quiet.values()], default=None)
        assert self.all(methodcaller("next_look", now=now)) == soonest

    @rule(name=st.sampled_from(REFS), lasts=st.integers(-1, 9), cause=st.sampled_from(["one", "another"]))
    def hush(self, name: str, lasts: int, cause: str) -> None:
        until = self.now + lasts
        period = r.QuietPeriod(name, until, cause)
        self.all(lambda store: store.hush(period, now=self.now))
        self.quiets = {one: kept for one, kept in self.quiets.items() if kept[0] > self.now - 30_000}
        if name not in self.quiets or self.quiets[name][0] < until:
            self.quiets[name] = (until, cause)

    @rule(after=st.sampled_from(["", *REFS]), limit=st.integers(1, 3))
    def look_at_connections(self, after: str, limit: int) -> None:
        there = {one.connection for one in self.subscriptions.values() if one.state != "removed"}
        expected = sorted(ref for ref in there if ref > after)[:limit]
        assert self.all(lambda store: store.refs_in_use(after=after, limit=limit)) == expected

    @rule(name=st.sampled_from(REFS))
    def look_whether_it_is_quiet(self, name: str) -> None:
        until, cause = self.quiets.get(name, (0, ""))
        expected = r.QuietPeriod(name, until, cause) if until > self.now else None
        assert self.all(lambda store: store.quiet(name, now=self.now)) == expected

    @rule(data=st.data(), limit=st.integers(1, 4))
    def turn_pages(self, data: st.DataObject, limit: int) -> None:
        after = data.draw(st.sampled_from(["", *sorted(self.subscriptions)]))
        live = sorted(name for name, one in self.subscriptions.items() if one.state != "removed")
        expected = [self.alone(name) for name in live if name > after][:limit]
        assert self.all(lambda store: store.page(after=after, limit=limit)) == expected
        assert self.all(methodcaller("sources")) == sorted({one.source for one in self.endpoints.values()})

    @rule(data=st.data(), limit=st.integers(1, 4), called=st.sampled_from([None, "k1", "k", "nothing", ""]))
    def turn_pages_of_some(self, data: st.DataObject, limit: int, called: str | None) -> None:
        called = data.draw(st.sampled_from([called, *sorted(self.subscriptions)]))
        source = data.draw(st.none() | st.sampled_from([*SOURCES, "nobody"]))
        connection = data.draw(st.none() | st.sampled_from(["c1", "c2"]))
        states: list[r.SubscriptionState] = ["pending", "active", "paused"]
        state = data.draw(st.none() | st.sampled_from(states))
        after = data.draw(st.sampled_from(["", *sorted(self.subscriptions)]))
        live = [one for _, one in sorted(self.subscriptions.items()) if one.state != "removed"]
        expected = [
            self.alone(one.id)
            for one in live
            if one.id > after
            and called in (None, one.id, one.key)
            and all(
                want in (None, is_)
                for want, is_ in [(source, one.source), (connection, one.connection), (state, one.state)]
            )
        ][:limit]
        which = r.Which(called, connection, source, state)
        assert self.all(lambda store: store.page(after=after, limit=limit, which=which)) == expected

    @rule(prefix=st.sampled_from(["", "k", "k1", "k2", "k11", "K", "l"]), limit=st.integers(1, 9))
    def look_for_keys_that_start_so(self, prefix: str, limit: int) -> None:
        live = [one for one in self.subscriptions.values() if one.state != "removed"]
        expected = sorted(one.identity for one in live if one.key.startswith(prefix))[:limit]
        found: list[r.Subscription] = self.all(lambda store: store.starting(prefix, limit=limit))
        assert [one.identity for one in found] == expected

    def alone(self, name: str) -> r.Endpoint:
        one = self.subscriptions[name]
        return attrs.evolve(self.endpoints[one.endpoint_id], subscriptions=(one,))

    @precondition(lambda self: self.subscriptions)
    @rule(
        data=st.data(),
        metadata=st.none() | small_json,
        activates=st.booleans(),
        signal=st.sampled_from([("", None), ("missed", None), ("expired", "expired"), ("gone", "failing")]),
        gone=st.booleans(),
        asked=st.sampled_from(["", "", "renew"]),
    )
    def deliver(
        self,
        data: st.DataObject,
        metadata: bytes | None,
        activates: bool,
        signal: tuple[str, r.SubscriptionState | None],
        gone: bool,
        asked: str,
    ) -> None:
        kept = self.some(data)
        cause, state = signal
        update = r.Update(kept.id, ("scope",), metadata, activates, state, cause, gone, asked)
        self.serial += 1
        delivery = r.NewDelivery(
            f"dlv_{self.serial:04d}", kept.endpoint_id, kept.id, self.now, "accepted", "", 200, "POST", b"[]",
            b"", updates=(update,),
        )  # fmt: skip
        self.all(lambda store: store.accept(delivery))
        assert (
            self.all(lambda store: store.delivery(delivery.id))[0].source
            == self.endpoints[kept.endpoint_id].source
        )
        if metadata is not None:
            kept = attrs.evolve(kept, metadata=metadata)
        by_hand = kept.coverage == "unknown" and kept.state in ("failing", "expired")
        if activates and (kept.state == "pending" or by_hand):
            kept = attrs.evolve(kept, state="active", coverage="unknown", cause="")
        if cause and kept.state != "removed":
            left = None if gone else kept.data
            words = dict.fromkeys([*kept.asked.split(), *asked.split()])  # one word hides no other
            kept = attrs.evolve(
                kept, state="paused" if kept.state == "paused" else state or kept.state, cause=cause,
                data=left, next_at=min(kept.next_at, 0) - 1, asked=" ".join(words),
            )  # fmt: skip
        self.subscriptions[kept.id] = kept
        endpoint = self.endpoints[kept.endpoint_id]
        if activates and endpoint.state == "pending":
            self.endpoints[endpoint.id] = attrs.evolve(endpoint, state="active")

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data(), until=st.integers(0, 10**12))
    def set_lease(self, data: st.DataObject, until: int) -> None:
        endpoint = self.some(data).endpoint_id
        self.all(lambda store: store.set_lease(endpoint, at=self.now, until=until))
        for kept in list(self.subscriptions.values()):
            if kept.endpoint_id == endpoint:
                self.subscriptions[kept.id] = attrs.evolve(kept, leased_at=self.now, lease_until=until)

    @rule(data=st.data(), sealed=st.binary(min_size=1, max_size=3))
    def capture_key(self, data: st.DataObject, sealed: bytes) -> None:
        name = data.draw(st.sampled_from([*sorted(self.endpoints), "ep_nowhere"]))
        endpoint = self.endpoints.get(name)
        possible = endpoint is not None and endpoint.state == "pending" and not endpoint.keys
        assert self.all(lambda store: store.capture_key(name, sealed, at=self.now)) == possible
        if endpoint is not None and possible:
            self.note_key(name, sealed, self.now)

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        gone = self.some(data)
        self.all(lambda store: store.remove_subscription(gone.id, at=self.now))
        if gone.state == "removed":
            return
        if any(one.identity == gone.identity for one in self.subscribers.values()):
            self.subscriptions[gone.id] = attrs.evolve(
                gone, state="pending", cause="not registered yet", data=None, registered=(),
                lease_until=None, leased_at=None, failures=0, asked="", next_at=min(gone.next_at, 0) - 1,
                updated_at=self.now,
            )  # fmt: skip
            return
        self.subscriptions[gone.id] = attrs.evolve(gone, state="removed", updated_at=self.now)
        others = [s for s in self.subscriptions.values() if s.endpoint_id == gone.endpoint_id]
        if all(s.state == "removed" for s in others):
            self.endpoints[gone.endpoint_id] = attrs.evolve(
                self.endpoints[gone.endpoint_id], state="removed", removed_at=self.now
            )

    @rule(data=st.data(), owner=owners, lasts=st.integers(0, 10))
    def claim(self, data: st.DataObject, owner: str, lasts: int) -> None:
        name = data.draw(st.sampled_from([*sorted(self.subscriptions), "sub_nowhere"]))
        until = self.now + lasts
        held = self.claims.get(name)
        free = held is None or held[0] == owner or not self.now <= held[1] <= until + lasts
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

    @rule(
        owner=owners,
        found=st.dictionaries(
            identities,
            st.tuples(
                small_json, st.sampled_from([("push",), ("issues", "push")]), st.sampled_from([None, 5, 7])
            ),
        ),
    )
    def want(
        self, owner: str, found: dict[tuple[str, str, str], tuple[bytes, tuple[str, ...], int | None]]
    ) -> None:
        wants = [r.Want(*identity, *rest) for identity, rest in found.items()]
        self.all(lambda store: store.put_wants(owner, wants, at=self.now))
        self.wanted[owner] = (self.now, wants)

    @rule(patience=st.integers(0, 20))
    def look_at_wants(self, patience: int) -> None:
        since = self.now - patience
        fresh = sorted(
            (want.identity, at, owner, want)
            for owner, (at, wants) in self.wanted.items()
            for want in wants
            if at >= since
        )
        assert self.all(lambda store: store.wants(since=since)) == [want for *_, want in fresh]
        together: dict[tuple[str, str, str], r.Want] = self.all(
            lambda store: store.wanted([*IDENTITIES, NOBODY], since=since)
        )
        for identity in (*IDENTITIES, NOBODY):
            wants = [want for *_, want in reversed(fresh) if want.identity == identity]
            behind = [one for _, one in sorted(self.subscribers.items()) if one.identity == identity]
            if not wants and not behind:
                assert identity not in together
                continue
            events = {event for one in (*wants, *behind) for event in one.events}
            times = [want.expect_every for want in wants if want.expect_every is not None]
            assert together[identity] == r.Want(
                *identity, (*wants, *behind)[0].params, tuple(sorted(events)), min(times, default=None)
            )

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
        behind = {endpoint.id: first_of(endpoint.subscriptions) for endpoint in expected}
        assert self.all(methodcaller("endpoints_at", {*tokens, "nowhere"})) == {
            endpoint.token: attrs.evolve(endpoint, subscriptions=behind.get(name, ()))
            for name, endpoint in self.endpoints.items()
        }
        there = [(endpoint, one) for endpoint in expected for one in endpoint.subscriptions]
        assert self.all(methodcaller("endpoints_for", {*IDENTITIES, NOBODY})) == {
            one.identity: attrs.evolve(endpoint, subscriptions=(one,)) for endpoint, one in there
        }
        addresses = {
            (name, account) for name in (*self.endpoints, "ep_x") for account in ("acme", "umbrella")
        }
        receiving: dict[tuple[str, str], list[r.Subscription]] = {}
        for endpoint, one in there:
            if one.account is not None:
                receiving.setdefault((endpoint.id, one.account), []).append(one)
        assert self.all(methodcaller("receiving", addresses)) == receiving
        live = {one.id: one for _, one in there}
        for name in (*self.subscriptions, "sub_nowhere"):
            assert self.all(methodcaller("subscription", name)) == live.get(name)
        paths = {endpoint.id: endpoint.token for endpoint in expected}
        for name in (*self.endpoints, "ep_nowhere"):
            assert self.all(methodcaller("token_of", name)) == paths.get(name)


def first_of(subscriptions: tuple[r.Subscription, ...]) -> tuple[r.Subscription, ...]:
    """Return the first that is not removed."""
    return subscriptions[:1]


TestRegistries = Registries.TestCase
TestRegistries.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
