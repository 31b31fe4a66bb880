"""A Stripe to test against, over real HTTP."""

from trigflow_stripe.testing.deliveries import Attempt
from trigflow_stripe.testing.endpoints import FakeEndpoint
from trigflow_stripe.testing.fake import FakeStripe
from trigflow_stripe.testing.faults import Gate
from trigflow_stripe.testing.server import Call

__all__ = ["Attempt", "Call", "FakeEndpoint", "FakeStripe", "Gate"]
