"""Stripe does what every integration must do."""

from typing import Any

import attrs

from trigflow import App, Headers, Trigger
from trigflow.testing import Conformance, deliver
from trigflow.testing.deliveries import signed
from trigflow_stripe import Stripe
from trigflow_stripe.source import webhook
from trigflow_stripe.testing import FakeStripe


async def register(app: App) -> None:
    """Make the endpoint: before that there is no secret to sign with, for Stripe makes it."""
    assert not [one.error for one in await app.apply() if one.error]


class TestStripe(Conformance):
    integration = Stripe
    provider = FakeStripe
    connection = "sk_test_fake"

    def trigger(self, integration: Stripe) -> Trigger[Any]:
        return integration.price_created()

    def test_what_the_provider_signs_is_accepted_and_a_redelivery_is_a_duplicate(self) -> None:
        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                await register(app)
                first = await deliver(app, wanted, id="one")
                assert (first.outcome, [run.state for run in first.runs]) == ("accepted", ["succeeded"])
                assert (await deliver(app, wanted, id="one")).outcome == "duplicate"

        self._run(run)

    def test_what_is_not_signed_or_was_changed_is_rejected(self) -> None:
        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                await register(app)
                body = wanted.specification.examples()["fixture"].read()
                token, request = await signed(app.opened, webhook, "price.created", body, "one")
                bare = Headers.of(list(webhook.sample_headers("price.created", body, "one")))
                for forged in (attrs.evolve(request, headers=bare), attrs.evolve(request, body=body + b" ")):
                    assert (await app.opened.receive(token, forged)).status == 401
                assert (await app.opened.receive(token, request)).status == 200

        self._run(run)
