"""Who subscribed, credentials, activity and alerts: every store beside a plain model."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

import attrs
from hypothesis import settings, strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from msgspec.structs import replace

from tests.stores.test_registry import IDENTITIES, NOBODY, Registries, identities, owners, small_json
from trigflow.runtime import records as r

DYNAMICS = ("repos", "teams")
KEYS = ("u1", "u2", "u3")
REFS = ("github", "github/acme", "stripe")
SUBJECTS = ("subscription s1", "connection github")
dynamics, keys, refs = st.sampled_from(DYNAMICS), st.sampled_from(KEYS), st.sampled_from(REFS)
subjects, causes = st.sampled_from(SUBJECTS), st.sampled_from(["silent", "expired", "refused"])
moments = st.none() | st.integers(990, 1_020)


class Subscribed(Registries):
    """The registry with all that is kept around it."""

    @initialize()
    def open(self) -> None:
        super().open()
        self.connections: dict[str, r.Connection] = {}
        self.connection_claims: dict[str, tuple[str, int]] = {}
        self.open_alerts: dict[tuple[str, str], r.AlertRow] = {}

    # --- who subscribed

    @rule(
        dynamic=dynamics,
        key=keys,
        identity=identities,
        events=st.sampled_from([("push",), ("issues", "push")]),
        metadata=small_json,
        filter_=st.none() | st.just(b'{"action":["opened"]}'),
        most=st.integers(0, 2),
    )
    def subscribe(
        self,
        dynamic: str,
        key: str,
        identity: tuple[str, str, str],
        events: tuple[str, ...],
        metadata: bytes,
        filter_: bytes | None,
        most: int,
    ) -> None:
        endpoint, subscription = self.pair(identity, 1, None, None)
        new = r.Subscriber(dynamic, key, *identity, b"{}", events, metadata, self.now, filter_)
        before = self.subscribers.get((dynamic, key))
        others = [
            one for name, one in self.subscribers.items()
            if one.connection == new.connection and name != (dynamic, key)
        ]  # fmt: skip
        was_there = before is not None and before.connection == new.connection
        possible = most == 0 or was_there or len(others) < most
        told = self.all(lambda store: store.subscribe(new, endpoint, subscription, most=most))
        assert told == possible
        if not possible:
            return
        self.subscribers[dynamic, key] = new
        self.note_pair(endpoint, subscription)
        self.note_look_soon(identity)
        if before is not None and before.identity != identity:
            self.note_look_soon(before.identity)

    @rule(dynamic=dynamics, key=keys)
    def unsubscribe(self, dynamic: str, key: str) -> None:
        gone = self.subscribers.pop((dynamic, key), None)
        assert self.all(methodcaller("unsubscribe", dynamic, key)) == gone
        if gone is not None:
            self.note_look_soon(gone.identity)

    @rule(dynamic=dynamics, after=st.sampled_from(["", *KEYS]), limit=st.integers(1, 3))
    def look_at_subscribers(self, dynamic: str, after: str, limit: int) -> None:
        there = [one for (of, key), one in sorted(self.subscribers.items()) if of == dynamic and key > after]
        found = self.all(lambda store: store.subscribers(dynamic, after=after, limit=limit))
        assert found == there[:limit]
        called = [one for (_, key), one in sorted(self.subscribers.items()) if key == after][:limit]
        assert self.all(lambda store: store.subscribers_called(after, limit=limit)) == called
        for key in KEYS:
            expected = self.subscribers.get((dynamic, key))
            assert self.all(methodcaller("subscriber", dynamic, key)) == expected
        behind = {
            identity: [one for _, one in sorted(self.subscribers.items()) if one.identity == identity]
            for identity in IDENTITIES
        }
        assert self.all(methodcaller("subscribers_of", {*IDENTITIES, NOBODY})) == {
            identity: some for identity, some in behind.items() if some
        }

    # --- credentials

    @rule(
        ref=refs,
        sealed=st.binary(min_size=1, max_size=9),
        account=st.none() | st.just("acme"),
        state=st.sampled_from(["good", "reauthorize"]),
        missing=st.sampled_from([(), ("repo", "admin:hook")]),
        expires_at=moments,
        refresh_at=moments,
    )
    def put_connection(
        self,
        ref: str,
        sealed: bytes,
        account: str | None,
        state: Any,
        missing: tuple[str, ...],
        expires_at: int | None,
        refresh_at: int | None,
    ) -> None:
        new = r.Connection(
            ref, ref.partition("/")[0], "key", sealed, account, "Acme", state, "why", missing, expires_at,
            refresh_at, self.now, self.now - 1, self.now,
        )  # fmt: skip
        self.all(methodcaller("put_connection", new))
        self.connections[ref] = new

    @rule(ref=refs)
    def remove_connection(self, ref: str) -> None:
        there = self.connections.pop(ref, None) is not None
        self.connection_claims.pop(ref, None)
        assert self.all(methodcaller("remove_connection", ref)) == there

    @rule(ref=refs, since=st.integers(0, 2), sealed=st.binary(min_size=1, max_size=9))
    def replace_connection(self, ref: str, since: int, sealed: bytes) -> None:
        there = self.connections.get(ref)
        before = there or r.Connection(ref, "github", "key", b"x", created_at=1, updated_at=1)
        before = attrs.evolve(before, sealed=b"anew", updated_at=before.updated_at - since)
        after = attrs.evolve(before, sealed=sealed, cause="replaced", updated_at=self.now)
        possible = there is not None and since == 0
        told = self.all(methodcaller("replace_connection", before, after))
        assert told == possible
        if possible:
            self.connections[ref] = after

    @rule(ref=refs, owner=owners, lasts=st.integers(0, 10))
    def claim_connection(self, ref: str, owner: str, lasts: int) -> None:
        held = self.connection_claims.get(ref)
        free = held is None or held[0] == owner or not self.now <= held[1] <= self.now + 2 * lasts
        possible = ref in self.connections and free
        until = self.now + lasts
        told = self.all(lambda store: store.claim_connection(ref, owner, now=self.now, until=until))
        assert told == possible
        if possible:
            self.connection_claims[ref] = (owner, until)

    @rule(ref=refs, owner=owners)
    def release_connection(self, ref: str, owner: str) -> None:
        self.all(methodcaller("release_connection", ref, owner))
        if self.connection_claims.get(ref, ("", 0))[0] == owner:
            del self.connection_claims[ref]

    @rule(integration=st.sampled_from([None, "github", "stripe"]), limit=st.integers(1, 3))
    def look_at_connections(self, integration: str | None, limit: int) -> None:
        there = [one for _, one in sorted(self.connections.items())]
        found = self.all(lambda store: store.connections(integration=integration))
        assert found == [one for one in there if integration in (None, one.integration)]
        due = sorted(
            (one.refresh_at, one.ref)
            for one in there
            if one.refresh_at is not None and one.refresh_at <= self.now
        )
        told: list[r.Connection] = self.all(lambda store: store.connections_due(now=self.now, limit=limit))
        assert [one.ref for one in told] == [ref for _, ref in due][:limit]
        for ref in REFS:
            assert self.all(methodcaller("connection", ref)) == self.connections.get(ref)
        for name in ("c1", "c2", "c3"):
            live = [one for one in self.subscriptions.values() if one.state != "removed"]
            expected = sum(one.connection == name for one in live)
            assert self.all(methodcaller("connected", name)) == expected
            through = sorted((one for one in live if one.connection == name), key=lambda one: one.id)
            told_of: list[r.Subscription] = self.all(lambda store, of=name: store.through(of, limit=limit))
            assert [one.id for one in told_of] == [one.id for one in through][:limit]
            for number in range(len(through)):
                after = through[number].id
                rest = self.all(lambda store, of=name, id_=after: store.through(of, limit=9, after=id_))
                assert [one.id for one in rest] == [one.id for one in through[number + 1 :]][:9]
            behind = [one for _, one in sorted(self.subscribers.items()) if one.connection == name]
            assert self.all(methodcaller("subscribed_through", name, limit=99)) == behind

    # --- how they do

    @precondition(lambda self: self.subscriptions)
    @rule(
        data=st.data(),
        some=st.lists(
            st.tuples(
                st.integers(0, 9), st.integers(0, 9), st.integers(1, 5), st.integers(0, 50),
                st.frozensets(st.integers(1, 3), max_size=2),
            ),
            min_size=1,
            max_size=3,
        ),
    )  # fmt: skip
    def note_activity(
        self, data: st.DataObject, some: list[tuple[int, int, int, int, frozenset[int]]]
    ) -> None:
        noted: list[r.Activity] = []
        for ago, lasted, count, gap, serials in some:
            one = self.some(data)
            first = self.now - ago
            noted.append(r.Activity(one.id, first, first + lasted, count, gap, one.endpoint_id, serials))
        self.all(methodcaller("note_activity", noted))
        for activity in noted:
            self.note_one(activity)

    def note_one(self, a: r.Activity) -> None:
        kept = self.subscriptions[a.subscription_id]
        since_last = 0 if kept.last_at is None else a.first_at - kept.last_at
        gaps = (a.gap, since_last, int(kept.usual_gap * 0.9))
        last_at = max(one for one in (kept.last_at, a.last_at) if one is not None)
        new = attrs.evolve(kept, seen=kept.seen + a.count, last_at=last_at, usual_gap=max(gaps))
        if kept.state == "silent" or (kept.state == "disabled" and a.last_at > kept.updated_at):
            new = attrs.evolve(new, state="active", cause="")
        self.subscriptions[kept.id] = new
        endpoint = self.endpoints[a.endpoint_id]
        used = tuple(
            attrs.evolve(key, used_at=a.first_at)
            if key.serial in a.key_serials and key.used_at is None
            else key
            for key in endpoint.keys
        )
        self.endpoints[endpoint.id] = attrs.evolve(endpoint, keys=used)

    # --- what people must hear of

    @rule(subject=subjects, cause=causes)
    def raise_alert(self, subject: str, cause: str) -> None:
        alert = r.AlertRow(subject, cause, self.now)
        is_new = (subject, cause) not in self.open_alerts
        assert self.all(methodcaller("raise_alert", alert)) == is_new
        self.open_alerts.setdefault((subject, cause), alert)

    @rule(subject=subjects, cause=causes)
    def alert_told(self, subject: str, cause: str) -> None:
        self.all(lambda store: store.alert_told(subject, cause, at=self.now))
        alert = self.open_alerts.get((subject, cause))
        if alert is not None:
            self.open_alerts[subject, cause] = replace(alert, told_at=self.now)

    @rule(subject=subjects, but=st.sampled_from(["", "silent", "unknown"]))
    def clear_alerts(self, subject: str, but: str) -> None:
        closed = [name for name in self.open_alerts if name[0] == subject and name[1] != but]
        assert self.all(lambda store: store.clear_alerts(subject, but=but)) == len(closed)
        for name in closed:
            del self.open_alerts[name]

    @invariant()
    def alerts_are_as_noted(self) -> None:
        if hasattr(self, "open_alerts"):
            oldest = sorted(self.open_alerts.values(), key=lambda one: (one.since, one.subject, one.cause))
            assert self.all(methodcaller("alerts")) == oldest


TestSubscribed = Subscribed.TestCase
TestSubscribed.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
