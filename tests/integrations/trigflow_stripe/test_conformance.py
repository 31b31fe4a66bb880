"""Stripe does what every integration must do."""

from typing import Any

from trigflow import Trigger
from trigflow.testing import Conformance
from trigflow_stripe import Stripe
from trigflow_stripe.testing import FakeStripe


class TestStripe(Conformance):
    integration = Stripe
    provider = FakeStripe
    connection = "sk_test_fake"

    def trigger(self, integration: Stripe) -> Trigger[Any]:
        return integration.price_created()
