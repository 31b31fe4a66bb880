"""FakeStripe's API behaves as Stripe documents it, over real HTTP; the official package is the client."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import stripe
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.integrations.trigflow_stripe.fakes import DEAD, KEY, created, official
from trigflow_stripe.testing import FakeStripe


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(KEY) as running:
        yield running


def test_the_official_client_makes_lists_changes_and_deletes_endpoints(fake: FakeStripe) -> None:
    api = official(fake).webhook_endpoints
    made = created(fake, "https://h.example/1", "price.created", "charge.failed", metadata={"k": "v"})
    assert made.secret.startswith("whsec_")
    assert (made.status, made.livemode, made.metadata.k) == ("enabled", False, "v")
    listed = api.list(params={"limit": 100}).data
    assert [one.id for one in listed] == [made.id]
    assert "secret" not in listed[0]
    changed = api.update(made.id, params={"enabled_events": ["*"], "disabled": True})
    assert (changed.enabled_events, changed.status, changed.url) == (["*"], "disabled", "https://h.example/1")
    assert "secret" not in changed
    assert "secret" not in api.retrieve(made.id)
    assert api.delete(made.id).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.delete(made.id)
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_the_official_client_pages_through_endpoints(fake: FakeStripe) -> None:
    made = [created(fake).id for _ in range(13)]
    api = official(fake).webhook_endpoints
    found = [one.id for one in api.list(params={"limit": 5}).auto_paging_iter()]
    assert found == made[::-1]
    back = api.list(params={"limit": 4, "ending_before": made[3]})
    assert ([one.id for one in back.data], back.has_more) == (made[4:8][::-1], True)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"enabled_events": ["price.created"]}, "url"),
        ({"url": "https://h"}, "enabled_events"),
        ({"url": "https://h", "enabled_events": []}, "enabled_events"),
        ({"url": "h/e", "enabled_events": ["*"]}, "url"),
        ({"url": "https://h", "enabled_events": ["*", "price.invented"]}, "enabled_events[1]"),
        ({"url": "https://h", "enabled_events": ["*"], "disabled": True}, "disabled"),
        ({"url": "https://h", "enabled_events": ["*"], "connect": "maybe"}, "connect"),
        ({"url": "https://h", "enabled_events": ["*"], "secret": "mine"}, "secret"),
    ],
)
def test_what_stripe_refuses_is_refused(fake: FakeStripe, params: Any, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        official(fake).webhook_endpoints.create(params=params)
    assert (caught.value.http_status, caught.value.param) == (400, param)  # pyright: ignore[reportUnknownMemberType]
    assert fake.endpoints == []


@pytest.mark.parametrize("fixed", [{"api_version": "2026-10-28.endive"}, {"connect": True}])
def test_version_and_connect_can_not_be_changed(fake: FakeStripe, fixed: Any) -> None:
    made = created(fake)
    with pytest.raises(stripe.InvalidRequestError):
        official(fake).webhook_endpoints.update(made.id, params=fixed)


def test_an_account_has_at_most_sixteen_endpoints(fake: FakeStripe) -> None:
    for _ in range(16):
        created(fake)
    with pytest.raises(stripe.InvalidRequestError, match="16"):
        created(fake)


def test_a_live_endpoint_must_be_reached_over_https() -> None:
    with FakeStripe("sk_live_x", livemode=True) as fake, pytest.raises(stripe.InvalidRequestError):
        official(fake, "sk_live_x").webhook_endpoints.create(params={"url": DEAD, "enabled_events": ["*"]})


def test_a_wrong_key_is_refused_and_a_right_one_may_be_a_user_name(fake: FakeStripe) -> None:
    with pytest.raises(stripe.AuthenticationError):
        official(fake, "sk_test_bad").accounts.retrieve_current()
    assert httpx.get(f"{fake.url}/v1/account").status_code == 401
    assert httpx.get(f"{fake.url}/v1/account", auth=(KEY, "")).status_code == 200
    assert official(fake).accounts.retrieve_current().object == "account"


def test_the_same_idempotency_key_does_a_thing_once(fake: FakeStripe) -> None:
    api = official(fake).webhook_endpoints
    params = {"url": "https://h", "enabled_events": ["*"]}
    first, again = (api.create(params=params, options={"idempotency_key": "k"}) for _ in range(2))
    assert (first.id, first.secret) == (again.id, again.secret)
    assert len(fake.endpoints) == 1
    with pytest.raises(stripe.IdempotencyError):
        api.create(params={**params, "url": "https://other"}, options={"idempotency_key": "k"})


def test_events_are_listed_by_type_time_and_success(fake: FakeStripe) -> None:
    start = int(datetime.now(UTC).timestamp())
    fake.emit("price.created", id="evt_a")
    fake.advance(timedelta(hours=1))
    created(fake)
    fake.emit("price.created", id="evt_b")
    fake.emit("product.created", id="evt_c")
    api = official(fake).events

    def ids(**params: Any) -> list[str]:
        return [event.id for event in api.list(params=params).data]

    assert ids() == ["evt_c", "evt_b", "evt_a"]
    assert ids(types=["price.created"]) == ["evt_b", "evt_a"]
    assert ids(type="pr*.created", created={"gte": start + 3000}) == ["evt_c", "evt_b"]
    assert ids(created={"lt": start + 3000}) == ["evt_a"]
    assert ids(delivery_success=False) == ["evt_b"]
    assert ids(delivery_success=True) == ["evt_c", "evt_a"]
    assert api.retrieve("evt_b").pending_webhooks == 1
    for refused in ({"types": ["a"] * 21}, {"type": "a", "types": ["b"]}, {"limit": 101}, {"limit": 0}):
        with pytest.raises(stripe.InvalidRequestError):
            ids(**refused)
    fake.advance(timedelta(days=31))
    assert ids() == []


def test_the_api_answers_with_resources_that_it_was_given(fake: FakeStripe) -> None:
    fake.put({"id": "price_x", "object": "price", "unit_amount": 7})
    assert official(fake).prices.retrieve("price_x").unit_amount == 7
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        official(fake).prices.retrieve("price_y")


# --- faults


def test_it_fails_before_or_after_doing_what_was_asked(fake: FakeStripe) -> None:
    fake.fail("POST", "webhook_endpoints", 500)
    with pytest.raises(stripe.APIError):
        created(fake)
    assert fake.endpoints == []
    fake.fail("POST", "webhook_endpoints", 500, effective=True)
    with pytest.raises(stripe.APIError):
        created(fake)
    assert len(fake.endpoints) == 1
    fake.throttle()
    with pytest.raises(stripe.RateLimitError):
        created(fake)
    assert [call.status for call in fake.writes] == [500, 500, 429]


def test_a_request_can_be_held_before_and_after_it_is_carried_out(fake: FakeStripe) -> None:
    for moment, there in (("before", 0), ("after", 1)):
        with fake.gate("POST", "webhook_endpoints", moment) as gate:  # type: ignore[arg-type]
            asking = threading.Thread(target=created, args=(fake,))
            asking.start()
            assert gate.wait(10)
            assert len(fake.endpoints) == there
        asking.join()
        for endpoint in fake.endpoints:
            fake.delete(endpoint.id)


# --- any order of it all


class Endpoints(RuleBasedStateMachine):
    """Endpoints as the official client sees them, beside a plain model."""

    made: Bundle[str] = Bundle("made")
    types = st.lists(
        st.sampled_from(["price.created", "charge.failed", "invoice.paid"]), min_size=1, unique=True
    )

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, tuple[list[str], bool]] = {}

    @initialize()
    def start(self) -> None:
        self.fake = FakeStripe(KEY).__enter__()
        self.api = official(self.fake).webhook_endpoints

    def teardown(self) -> None:
        self.fake.__exit__()

    @precondition(lambda self: len(self.model) < 16)
    @rule(target=made, events=types)
    def create(self, events: list[str]) -> str:
        id_ = str(self.api.create(params={"url": "https://h", "enabled_events": events}).id)
        self.model[id_] = (events, False)
        return id_

    @rule(id_=made, events=types, disabled=st.booleans())
    def update(self, id_: str, events: list[str], disabled: bool) -> None:
        self.api.update(id_, params={"enabled_events": events, "disabled": disabled})
        self.model[id_] = (events, disabled)

    @rule(id_=consumes(made))
    def delete(self, id_: str) -> None:
        self.api.delete(id_)
        del self.model[id_]

    @rule(id_=consumes(made))
    def delete_behind_our_back(self, id_: str) -> None:
        self.fake.delete(id_)
        del self.model[id_]

    @rule(type_=st.sampled_from(["price.created", "charge.failed", "invoice.created"]))
    def emit(self, type_: str) -> None:
        # Lost on purpose: nobody listens, and this is about who would be sent it.
        self.fake.lose(times=None)
        before = {one.id for one in self.fake.endpoints if one.wants(type_, account=None)}
        expected = {id_ for id_, (events, disabled) in self.model.items() if type_ in events and not disabled}
        assert before == expected
        assert self.fake.emit(type_) == []

    @invariant()
    def the_lists_agree(self) -> None:
        if hasattr(self, "api"):
            listed = self.api.list(params={"limit": 100}).data
            assert [one.id for one in listed] == list(self.model)[::-1]
            told = {one.id: (list(one.enabled_events), one.status == "disabled") for one in listed}
            assert told == self.model


TestEndpoints = Endpoints.TestCase
TestEndpoints.settings = settings(
    max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
