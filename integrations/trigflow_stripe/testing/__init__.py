"""A Stripe to test against, over real HTTP; `python -m trigflow_stripe.testing` serves it alone."""

from trigflow.testing.fake_faults import Gate
from trigflow.testing.fake_server import Call
from trigflow_stripe.testing.deliveries import Attempt
from trigflow_stripe.testing.endpoints import FakeEndpoint
from trigflow_stripe.testing.fake import FakeStripe

__all__ = ["Attempt", "Call", "FakeEndpoint", "FakeStripe", "Gate"]
