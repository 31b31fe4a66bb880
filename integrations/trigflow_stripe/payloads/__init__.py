"""The resources that most jobs work with, typed; every other one is a plain dict.

Frozen attrs classes that msgspec decodes straight from bytes and cattrs structures. What an
API version lacks is None: strict are only the fields that every version has.
"""

from trigflow import Payload
from trigflow_stripe.payloads.billing import (
    CheckoutSession,
    CustomerDetails,
    Invoice,
    Subscription,
    SubscriptionItem,
    SubscriptionItems,
)
from trigflow_stripe.payloads.catalog import Account, Customer, Price, Product, Recurring
from trigflow_stripe.payloads.payments import (
    Charge,
    Dispute,
    PaymentIntent,
    PaymentMethod,
    Payout,
    Refund,
    SetupIntent,
)
from trigflow_stripe.payloads.shared import Address, BillingDetails, Details, Metadata, Resource, StripeError

__all__ = [
    "Account",
    "Address",
    "BillingDetails",
    "Charge",
    "CheckoutSession",
    "Customer",
    "CustomerDetails",
    "Details",
    "Dispute",
    "Invoice",
    "Metadata",
    "Payload",
    "PaymentIntent",
    "PaymentMethod",
    "Payout",
    "Price",
    "Product",
    "Recurring",
    "Refund",
    "Resource",
    "SetupIntent",
    "StripeError",
    "Subscription",
    "SubscriptionItem",
    "SubscriptionItems",
]
