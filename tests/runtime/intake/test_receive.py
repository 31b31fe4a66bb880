"""The path of a delivery: what is answered, what is kept, what a handler gets to see."""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

import anyio
import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Fetch,
    Headers,
    Ignored,
    Integration,
    Metadata,
    Request,
    Respond,
    Response,
    Secret,
    Signal,
    Trigger,
    event,
    header,
    hmac_sha256,
    json,
    trigger,
)
from trigflow.core.errors import StoreUnavailable
from trigflow.core.events import Outcome
from trigflow.runtime import records as r, views as v
from trigflow.sources.handshake import Handshake, echo, header_echo, hub_intent
from trigflow.sources.parts import Part, query
from trigflow.stores.memory import MemoryStore

pytestmark = pytest.mark.anyio
Handle = Callable[[Delivery[str, int]], Iterable[Outcome]]


def one_event(delivery: Delivery[str, int]) -> list[Event]:
    return [Event("thing", delivery.payload["id"], delivery.payload)]


@attrs.define
class Setup:
    """An app with one source whose handler the test gives."""

    handle: Handle = one_event
    handshakes: tuple[Handshake, ...] = ()
    account: Part | None = None
    secret: Secret = Secret.GENERATED
    facts: Callable[[str, str], dict[str, str]] | None = None
    filter: dict[str, object] = attrs.field(factory=dict)
    seen: list[object] = attrs.field(factory=list)
    handled: list[Delivery[str, int]] = attrs.field(factory=list)

    def app(self) -> App:
        return App(
            [trigger(self.trigger(), filter=self.filter, id="job")(self.job())],
            store="memory:",
            register="off",
        )

    def job(self) -> Callable[..., object]:
        async def job(payload: dict[str, object]) -> None:
            self.seen.append(payload)

        return job

    def trigger(self) -> Trigger[dict[str, object]]:
        source: ExternalSource[str, object, int] = ExternalSource(
            "test.webhook", params=str, client=object, data=int, verify=hmac_sha256("X-Sig"),
            handshakes=self.handshakes, account=self.account,
            facts=self.facts, secret=self.secret,
        )  # fmt: skip

        @source.handler
        def handle(delivery: Delivery[str, int]) -> Iterable[Outcome]:
            self.handled.append(delivery)
            return self.handle(delivery)

        class Test(Integration, id="test"):
            @event("thing", dict[str, object], source=source)
            def thing(self) -> str:
                """A thing."""
                return "params"

        return Test().thing()


async def key_of(app: App) -> tuple[r.Endpoint, bytes]:
    (endpoint,) = await app.opened.store.endpoints()
    keys = app.opened.routes.keys_of(endpoint)
    return endpoint, keys[0].secret if keys else b""


def request(body: bytes, key: bytes, **more: str) -> Request:
    signature = hmac.new(key, body, hashlib.sha256).hexdigest()
    return Request("POST", "https://h.example.com/", Headers.of({"X-Sig": signature, **more}), body)


async def post(app: App, value: object) -> Response:
    endpoint, key = await key_of(app)
    return await app.opened.receive(endpoint.token, request(msgspec.json.encode(value), key))


async def latest(app: App) -> v.DeliveryRow:
    return (await app.opened.store.deliveries(limit=1))[0]


async def rows(app: App) -> Sequence[v.DeliveryRow]:
    return list(reversed(await app.opened.store.deliveries(limit=100)))


async def test_an_event_is_kept_once_and_a_redelivery_is_answered_2xx_as_duplicate() -> None:
    setup = Setup()
    async with setup.app() as app:
        assert [(await post(app, {"id": "1"})).status for _ in range(3)] == [200, 200, 200]
        assert [row.outcome for row in await rows(app)] == ["accepted", "duplicate", "duplicate"]
        assert len(await app.opened.store.runs(limit=10)) == 1


async def test_a_delivery_with_known_and_new_events_starts_the_new_ones_only() -> None:
    def each(delivery: Delivery[str, int]) -> list[Event]:
        return [Event("thing", item["id"], item) for item in delivery.payload]

    async with Setup(each).app() as app:
        await post(app, [{"id": "1"}])
        await post(app, [{"id": "1"}, {"id": "2"}])
        assert [row.outcome for row in await rows(app)] == ["accepted", "accepted"]
        assert sorted(run.event_id for run in await app.opened.store.runs(limit=10)) == ["1", "2"]


async def test_what_is_forged_is_answered_401_logged_and_never_handled() -> None:
    setup = Setup()
    async with setup.app() as app:
        endpoint, _ = await key_of(app)
        answer = await app.opened.receive(endpoint.token, request(b'{"id": "1"}', b"another key"))
        assert answer.status == 401
        row = await latest(app)
        assert (row.outcome, row.cause, row.status, setup.handled) == ("rejected", "bad-signature", 401, [])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(["x-sig", "content-type", "x-other"]), st.binary(max_size=80)), max_size=4
    ),
    st.sampled_from(["POST", "GET", "HEAD", "PUT"]),
)
async def test_nothing_unsigned_reaches_the_handler_and_nothing_breaks(
    body: bytes, headers: list[tuple[str, bytes]], method: str
) -> None:
    setup = Setup()
    async with setup.app() as app:
        endpoint, _ = await key_of(app)
        raw = [(name.encode(), value) for name, value in headers]
        answer = await app.opened.receive(endpoint.token, Request(method, "https://h/", Headers(raw), body))
        assert answer.status == 401
        assert setup.handled == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5_000, b'{"id": "1"} x'])
async def test_a_signed_body_that_is_not_json_is_rejected_not_an_error(body: bytes) -> None:
    async with Setup().app() as app:
        endpoint, key = await key_of(app)
        assert (await app.opened.receive(endpoint.token, request(body, key))).status == 400
        assert (await latest(app)).outcome == "rejected"


async def test_an_unknown_url_is_404_and_not_logged() -> None:
    async with Setup().app() as app:
        assert (await app.opened.receive("unknown", request(b"{}", b"k"))).status == 404
        assert await app.opened.store.deliveries(limit=1) == []


async def test_a_handler_that_raises_is_answered_2xx_kept_and_handled_again_by_replay() -> None:
    setup = Setup()
    broken = [True]

    def sometimes(delivery: Delivery[str, int]) -> list[Event]:
        if broken:
            raise RuntimeError("the handler has a bug")
        return one_event(delivery)

    setup.handle = sometimes
    async with setup.app() as app:
        assert (await post(app, {"id": "1"})).status == 200
        row = await latest(app)
        assert (row.outcome, row.cause) == ("failed", "handler: RuntimeError: the handler has a bug")
        broken.clear()
        (run,) = await app.replay(row.id)
        assert run.startswith("run_")


@pytest.mark.parametrize(
    "wrong",
    [
        Event("thing", "", {}),
        Event("thing", 5, {}),  # type: ignore[arg-type]
        Event("thing", "1", {1, 2}.__iter__()),
        Event("thing", "1", {}, at=datetime(2026, 1, 1)),
        Event("thing", "1", {}, context={"x": object()}),
    ],
)
async def test_an_event_that_can_not_be_kept_is_the_handlers_failure(wrong: Event) -> None:
    async with Setup(lambda _: [wrong]).app() as app:
        assert (await post(app, {"id": "1"})).status == 200
        assert (await latest(app)).outcome == "failed"


async def test_the_time_and_context_of_an_event_are_kept() -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    async with Setup(lambda d: [Event("thing", "1", d.payload, at, {"request": "r1"})]).app() as app:
        await post(app, {})
        (kept,) = await app.opened.store.events((await latest(app)).id)
        assert kept.at == int(at.timestamp() * 1000)
        (run,) = await app.opened.store.runs(limit=1)
        loaded = await app.opened.store.load(run.id)
        assert loaded is not None
        assert loaded.context == b'{"request":"r1"}'


async def test_what_no_job_wants_is_ignored_with_its_reason() -> None:
    async with Setup(lambda _: [Ignored("heartbeat")]).app() as app:
        await post(app, {})
        row = await latest(app)
        assert (row.outcome, row.cause) == ("ignored", "heartbeat")
    async with Setup(lambda _: []).app() as app:
        await post(app, {})
        assert (await latest(app)).cause == "no-event"


async def test_a_job_whose_filter_says_no_is_named_with_the_false_clause() -> None:
    async with Setup(filter={"user": {"type": ["User"]}}).app() as app:
        await post(app, {"id": "1", "user": {"type": "Bot"}})
        row = await latest(app)
        assert (row.outcome, row.runs) == ("accepted", 0)
        assert row.trace is not None
        (missed,) = msgspec.json.decode(row.trace)
        assert missed["job"] == "job"
        assert "user.type" in missed["why"]
        assert "Bot" in missed["why"]


async def test_a_handler_may_answer_and_remember() -> None:
    def counting(delivery: Delivery[str, int]) -> list[Outcome]:
        count = (delivery.metadata or 0) + 1
        return [Respond(202, b"seen", {"x-count": str(count)}), Metadata(count)]

    async with Setup(counting).app() as app:
        await post(app, {})
        app.opened.routes.forget((await key_of(app))[0].token)
        answer = await post(app, {})
        assert (answer.status, answer.body, answer.headers) == (202, b"seen", (("x-count", "2"),))


async def test_a_ping_is_accepted_though_it_brings_no_event() -> None:
    async with Setup(lambda _: [Fetch("calendar-1")]).app() as app:
        await post(app, {})
        assert (await latest(app)).outcome == "accepted"


async def test_an_echo_handshake_is_answered_and_never_handled() -> None:
    setup = Setup(handshakes=(echo(query("challenge")),))
    async with setup.app() as app:
        endpoint, _ = await key_of(app)
        hello = Request("GET", "https://h/?challenge=abc", Headers(), b"", "challenge=abc")
        answer = await app.opened.receive(endpoint.token, hello)
        assert (answer.status, answer.body, setup.handled) == (200, b"abc", [])
        assert (await latest(app)).outcome == "handshake"


async def test_a_secret_is_captured_once_and_then_verifies_deliveries() -> None:
    setup = Setup(handshakes=(header_echo("X-Hook-Secret"),), secret=Secret.HANDSHAKE)
    async with setup.app() as app:
        endpoint, _ = await key_of(app)

        def hello(secret: str) -> Request:
            return Request("POST", "https://h/", Headers.of({"X-Hook-Secret": secret}), b"{}")

        first = await app.opened.receive(endpoint.token, hello("a-secret-of-some-length"))
        assert (first.status, dict(first.headers)["X-Hook-Secret"]) == (200, "a-secret-of-some-length")
        assert (await app.opened.receive(endpoint.token, hello("another-secret-of-length"))).status == 403
        answer = await app.opened.receive(endpoint.token, request(b'{"id": "1"}', b"a-secret-of-some-length"))
        assert answer.status == 200
        assert len(setup.handled) == 1


async def test_on_a_shared_endpoint_the_account_says_whose_delivery_it_is() -> None:
    setup = Setup(account=json("team"))
    async with setup.app() as app:
        endpoint, key = await key_of(app)
        (known,) = endpoint.subscriptions
        store = app.opened.store
        await store.save_subscription(attrs.evolve(known, account="T1"))
        other = attrs.evolve(known, id="sub_other", key="other", account="T2")
        await store.create_subscriptions([(endpoint, other)])
        for team in ("T1", "T2", "T3"):
            body = msgspec.json.encode({"id": "1", "team": team})
            assert (await app.opened.receive(endpoint.token, request(body, key))).status == 200
        assert [(row.outcome, row.cause, row.subscription_id) for row in await rows(app)] == [
            ("accepted", "", known.id),
            ("accepted", "", "sub_other"),
            ("ignored", "unknown-account", None),
        ]


async def test_what_came_before_its_account_was_known_is_kept_and_can_be_replayed() -> None:
    setup = Setup(account=json("team"))
    async with setup.app() as app:
        endpoint, key = await key_of(app)
        store = app.opened.store
        await store.save_subscription(attrs.evolve(endpoint.subscriptions[0], account="T1"))
        assert (await app.opened.receive(endpoint.token, request(b'{"team": "T2"}', key))).status == 200
        (row,) = await rows(app)
        assert (row.outcome, row.cause, setup.handled) == ("ignored", "unknown-account", [])
        other = attrs.evolve(endpoint.subscriptions[0], id="sub_other", key="other", account="T2")
        await store.create_subscriptions([(endpoint, other)])
        app.opened.routes.forget(endpoint.token)
        await app.replay(row.id)
        assert [delivery.payload for delivery in setup.handled] == [{"team": "T2"}]


async def test_a_batch_for_several_accounts_is_one_delivery_in_one_transaction() -> None:
    setup = Setup(lambda d: [Event("thing", f"{d.params}-1", d.payload)], account=json("teams[*]"))
    async with setup.app() as app:
        endpoint, key = await key_of(app)
        (known,) = endpoint.subscriptions
        store = app.opened.store
        await store.save_subscription(attrs.evolve(known, account="T1"))
        other = attrs.evolve(known, id="sub_other", key="other", account="T2", params=b'"other"')
        await store.create_subscriptions([(endpoint, other)])
        answer = await app.opened.receive(endpoint.token, request(b'{"teams": ["T1", "T2"]}', key))
        assert answer.status == 200
        (row,) = await rows(app)
        assert (row.outcome, row.events, row.subscription_id) == ("accepted", 2, None)
        assert {e.subscription_id for e in await store.events(row.id)} == {known.id, "sub_other"}


@attrs.define
class Asking(Setup):
    """A setup whose job asks for the delivery that brought its event."""

    def job(self) -> Callable[..., object]:
        async def job(payload: dict[str, object], delivery: Delivery[str, int]) -> None:
            self.seen.append(delivery.params)

        return job


async def test_the_job_of_each_account_in_a_batch_sees_the_delivery_as_that_of_its_own_subscription() -> None:
    setup = Asking(lambda d: [Event("thing", f"{d.params}-1", d.payload)], account=json("teams[*]"))
    async with setup.app() as app:
        endpoint, key = await key_of(app)
        (known,) = endpoint.subscriptions
        await app.opened.store.save_subscription(attrs.evolve(known, account="T1"))
        other = attrs.evolve(known, id="sub_other", key="other", account="T2", params=b'"other"')
        await app.opened.store.create_subscriptions([(endpoint, other)])
        body = b'{"teams": ["T1", "T2"]}'
        assert (await app.opened.receive(endpoint.token, request(body, key))).status == 200
        with anyio.fail_after(5):
            while not setup.seen:
                await anyio.sleep(0.005)
        assert setup.seen == ["params"]


@pytest.mark.parametrize(
    ("kind", "state", "keeps_data"),
    [
        ("expired", "expired", False),
        ("removed", "failing", False),
        ("reauthorize", "active", True),
        ("missed", "active", True),
    ],
)
async def test_a_signal_changes_the_subscription_and_says_why(
    kind: Literal["expired", "removed", "reauthorize", "missed"], state: str, keeps_data: bool
) -> None:
    async with Setup(lambda _: [Signal(kind, "said so")]).app() as app:
        endpoint, _ = await key_of(app)
        working = attrs.evolve(endpoint.subscriptions[0], state="active", data=b"7")
        await app.opened.store.save_subscription(working)
        await post(app, {})
        endpoint, _ = await key_of(app)
        (kept,) = endpoint.subscriptions
        assert (kept.state, kept.data is not None) == (state, keeps_data)
        assert kept.cause.endswith(": said so")


async def test_a_handshake_that_grants_a_lease_is_kept() -> None:
    hello = hub_intent(topic="topic", mode="mode")
    setup = Setup(handshakes=(hello,), facts=lambda params, secret: {"topic": "t", "mode": "subscribe"})
    async with setup.app() as app:
        endpoint, _ = await key_of(app)
        asked = "hub.mode=subscribe&hub.topic=t&hub.challenge=c&hub.lease_seconds=60"
        before = app.opened.clock.now()
        answer = await app.opened.receive(
            endpoint.token, Request("GET", f"https://h/?{asked}", Headers(), b"", asked)
        )
        assert (answer.status, answer.body) == (200, b"c")
        endpoint, _ = await key_of(app)
        until = endpoint.subscriptions[0].lease_until
        assert until is not None
        assert before * 1000 + 60_000 <= until + 1


async def test_an_account_is_read_from_a_header_too() -> None:
    setup = Setup(account=header("X-Team"))
    async with setup.app() as app:
        endpoint, key = await key_of(app)
        await app.opened.store.save_subscription(attrs.evolve(endpoint.subscriptions[0], account="T1"))
        answer = await app.opened.receive(endpoint.token, request(b'{"id": "1"}', key, **{"X-Team": "T1"}))
        assert (answer.status, len(setup.handled)) == (200, 1)


async def test_the_first_verified_delivery_makes_a_pending_subscription_active() -> None:
    async with Setup().app() as app:
        endpoint, _ = await key_of(app)
        assert endpoint.subscriptions[0].state == "pending"
        await post(app, {"id": "1"})
        endpoint, _ = await key_of(app)
        assert endpoint.subscriptions[0].state == "active"


async def test_credentials_in_headers_are_hidden_in_the_log() -> None:
    async with Setup().app() as app:
        endpoint, key = await key_of(app)
        more = {
            "Authorization": "Bearer abc",
            "X-Gitlab-Token": "t0ken",
            "Cookie": "session",
            "User-Agent": "Hook/1",
        }
        await app.opened.receive(endpoint.token, request(b'{"id": "1"}', key, **more))
        kept = (await latest(app)).headers.decode()
        assert "Hook/1" in kept
        for secret in ("abc", "t0ken", "session"):
            assert secret not in kept


async def test_a_store_that_can_not_be_written_makes_the_sender_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Setup().app() as app:

        async def full(self: MemoryStore, delivery: r.NewDelivery, then: object) -> r.Accepted:
            raise StoreUnavailable("the store is full; free disk space")

        monkeypatch.setattr(MemoryStore, "accept", full)
        answer = await post(app, {"id": "1"})
        assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "5")
        monkeypatch.undo()
        assert (await post(app, {"id": "1"})).status == 200
        assert [row.outcome for row in await rows(app)] == ["accepted"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        Respond(headers={"x-name": "snow \u2603"}),
        Respond(headers={"x-name": "a\r\nset-cookie: b"}),
        Respond(headers={"x name": "a"}),
        Respond(headers={"": "a"}),
        Respond(status=0),
        Respond(status=700),
    ],
)
async def test_an_answer_that_cannot_be_sent_is_the_handlers_failure(answer: Respond) -> None:
    async with Setup(lambda d: [Event("thing", "1", d.payload), answer]).app() as app:
        endpoint, key = await key_of(app)
        response = await app.opened.receive(endpoint.token, request(b"{}", key))
        assert response.status == 200
        (row,) = await app.opened.store.deliveries(limit=10)
        assert row.outcome == "failed"
        assert "Respond" in row.cause


@pytest.mark.parametrize(
    ("outcomes", "taken"),
    [
        ([Event("thing", "1")], ["recovered", "known"]),
        ([Ignored("heartbeat")], ["known", "known"]),
        ([Fetch("new")], ["known", "known"]),
    ],
)
async def test_of_a_providers_log_only_new_events_count_as_recovered(
    outcomes: list[Outcome], taken: list[str]
) -> None:
    setup = Setup(lambda _: outcomes)
    async with setup.app() as app:
        endpoint, _ = await key_of(app)
        logged = Request("POST", "https://h/", Headers(), b"{}")
        at = app.opened.clock.now() - 60
        found = [await app.opened.receiver.take_recovered(endpoint.token, logged, at) for _ in taken]
        assert found == taken
        unreadable = attrs.evolve(logged, body=b"{")
        assert await app.opened.receiver.take_recovered("unknown", logged, at) == "failed"
        assert await app.opened.receiver.take_recovered(endpoint.token, unreadable, at) == "failed"
