"""Stripe: all events of its webhook endpoints, and a typed API client."""

from trigflow_stripe.client import StripeClient
from trigflow_stripe.integration import Stripe, stripe

__all__ = ["Stripe", "StripeClient", "stripe"]
