"""A typed client of Stripe's REST API: for jobs, and for making webhook endpoints."""

from trigflow_stripe.client.api import MOST_ENDPOINTS, StripeClient
from trigflow_stripe.client.connection import Answer
from trigflow_stripe.client.refusals import NotPermitted

__all__ = ["MOST_ENDPOINTS", "Answer", "NotPermitted", "StripeClient"]
