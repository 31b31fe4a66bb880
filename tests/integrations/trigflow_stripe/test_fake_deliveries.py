"""FakeStripe delivers as Stripe documents it, over real HTTP; the official package verifies."""

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest
import stripe

from tests.integrations.trigflow_stripe.fakes import KEY, Receiver, created, official, verified
from trigflow_stripe.testing import FakeStripe


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(KEY) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_a_delivery_is_what_the_official_package_verifies(fake: FakeStripe, receiver: Receiver) -> None:
    made = created(fake, receiver.url, "price.updated")
    (attempt,) = fake.emit(
        "price.updated", {"id": "p", "object": "price"}, previous_attributes={"active": True}
    )
    event = verified(receiver.got[0], made.secret)
    assert (attempt.ok, attempt.event) == (True, event.id)
    assert (event.type, event.data.object.id, event.livemode) == ("price.updated", "p", False)
    assert event.data.previous_attributes.active is True
    with pytest.raises(stripe.SignatureVerificationError):
        verified(receiver.got[0], "whsec_other")


def test_only_enabled_endpoints_that_listen_are_sent_an_event(fake: FakeStripe, receiver: Receiver) -> None:
    every, other, off = (
        created(fake, receiver.url, "*"),
        created(fake, receiver.url),
        created(fake, receiver.url),
    )
    connect = created(fake, receiver.url, "*", connect=True)
    official(fake).webhook_endpoints.update(off.id, params={"disabled": True})
    assert {one.endpoint for one in fake.emit("price.created")} == {every.id, other.id}
    assert {one.endpoint for one in fake.emit("charge.failed")} == {every.id}
    fake.add_account("acct_1")
    assert [one.endpoint for one in fake.emit("price.created", account="acct_1")] == [connect.id]
    assert verified(receiver.got[-1], connect.secret).account == "acct_1"


def test_an_endpoint_gets_events_in_its_own_api_version(fake: FakeStripe, receiver: Receiver) -> None:
    made = created(fake, receiver.url, api_version="2025-03-31.basil")
    fake.emit("price.created")
    assert verified(receiver.got[0], made.secret).api_version == "2025-03-31.basil"


def test_while_a_secret_is_rolled_both_sign_and_then_only_the_new(
    fake: FakeStripe, receiver: Receiver
) -> None:
    made = created(fake, receiver.url)
    new = fake.roll(made.id)
    fake.emit("price.created")
    assert receiver.got[0].headers["stripe-signature"].count("v1=") == 2
    for secret in (made.secret, new):
        assert verified(receiver.got[0], secret).type == "price.created"
    fake.advance(timedelta(hours=24))
    fake.emit("price.created")
    assert verified(receiver.got[1], new).type == "price.created"
    with pytest.raises(stripe.SignatureVerificationError):
        verified(receiver.got[1], made.secret)


@pytest.mark.parametrize(("livemode", "tries"), [(False, 3), (True, None)])
def test_what_is_not_answered_2xx_is_tried_again_as_long_as_stripe_says(
    livemode: bool, tries: int | None, receiver: Receiver
) -> None:
    with FakeStripe(KEY, livemode=livemode) as fake:
        endpoint = fake.add_endpoint(receiver.url, ["*"])
        for status in (302, 410, 500):
            receiver.status = status
            receiver.got.clear()
            (first,) = fake.emit("price.created")
            attempts = [first, *fake.advance(timedelta(days=4))]
            assert {one.event for one in attempts} == {first.event}
            assert tries is None or len(attempts) == tries
            assert attempts[-1].at - first.at <= timedelta(days=3)
            waits = [later.at - earlier.at for earlier, later in itertools.pairwise(attempts)]
            assert waits == sorted(waits)
            assert len(receiver.got) == len(attempts)
            assert verified(receiver.got[-1], endpoint.secret).id == first.event


def test_a_try_that_succeeds_is_the_last(fake: FakeStripe, receiver: Receiver) -> None:
    created(fake, receiver.url)
    receiver.status = 503
    (first,) = fake.emit("price.created")
    assert fake.event(first.event)["pending_webhooks"] == 1
    receiver.status = 200
    assert [one.ok for one in fake.advance(timedelta(days=4))] == [True]
    assert fake.event(first.event)["pending_webhooks"] == 0


@pytest.mark.parametrize("act", ["disable", "delete"])
def test_an_endpoint_that_is_disabled_or_deleted_is_tried_no_more(
    act: str, fake: FakeStripe, receiver: Receiver
) -> None:
    made = created(fake, receiver.url)
    receiver.status = 500
    fake.emit("price.created")
    if act == "delete":
        fake.delete(made.id)
    else:
        fake.edit(made.id, disabled=True)
    assert fake.advance(timedelta(days=4)) == []
    assert len(receiver.got) == 1


def test_an_endpoint_that_is_enabled_again_before_the_next_try_is_tried(
    fake: FakeStripe, receiver: Receiver
) -> None:
    made = created(fake, receiver.url)
    receiver.status = 500
    fake.emit("price.created")
    receiver.status = 200
    fake.edit(made.id, disabled=True)
    fake.edit(made.id, disabled=False)
    assert [one.ok for one in fake.advance(timedelta(days=4))] == [True]


def test_it_loses_duplicates_delays_and_reorders_when_told_to(fake: FakeStripe, receiver: Receiver) -> None:
    made = created(fake, receiver.url)

    def ids() -> list[str]:
        found = [verified(got, made.secret).id for got in receiver.got]
        receiver.got.clear()
        return found

    fake.lose()
    fake.emit("price.created", id="lost")
    assert (ids(), fake.advance(timedelta(days=4))) == ([], [])
    fake.duplicate()
    fake.emit("price.created", id="twice")
    assert ids() == ["twice", "twice"]
    fake.reorder(3)
    for name in ("a", "b", "c"):
        fake.emit("price.created", id=name)
    assert ids() == ["c", "b", "a"]
    fake.delay(timedelta(hours=1))
    fake.emit("price.created", id="late")
    assert ids() == []
    fake.advance(timedelta(hours=1))
    assert ids() == ["late"]
    fake.resend("a", made.id)
    assert ids() == ["a"]


def test_a_forgery_is_signed_with_another_secret_and_is_in_no_list(
    fake: FakeStripe, receiver: Receiver
) -> None:
    made = created(fake, receiver.url)
    fake.forge(fake.endpoints[0], "price.created")
    with pytest.raises(stripe.SignatureVerificationError):
        verified(receiver.got[0], made.secret)
    assert official(fake).events.list().data == []
