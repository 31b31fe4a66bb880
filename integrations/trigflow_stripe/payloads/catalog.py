"""What is sold, to whom: accounts, customers, prices, products."""

from typing import Any

from trigflow import Payload, payload
from trigflow_stripe.payloads.shared import Address, Details, Metadata


@payload
class Account(Payload):
    """A Stripe account: one's own or a connected one; created: unix seconds."""

    id: str
    object: str = "account"
    business_profile: Details | None = None
    business_type: str | None = None
    capabilities: dict[str, str] | None = None
    charges_enabled: bool | None = None
    country: str | None = None
    created: int | None = None
    default_currency: str | None = None
    details_submitted: bool | None = None
    email: str | None = None
    metadata: Metadata | None = None
    payouts_enabled: bool | None = None
    requirements: Details | None = None
    settings: Details | None = None
    type: str | None = None


@payload
class Customer(Payload):
    """A customer; deleted: set in an answer of the API for one that is gone."""

    id: str
    object: str = "customer"
    address: Address | None = None
    balance: int | None = None
    created: int | None = None
    currency: str | None = None
    default_source: str | None = None
    deleted: bool = False
    delinquent: bool | None = None
    description: str | None = None
    email: str | None = None
    invoice_settings: Details | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    name: str | None = None
    phone: str | None = None
    preferred_locales: list[str] | None = None
    shipping: Details | None = None
    tax_exempt: str | None = None


@payload
class Product(Payload):
    """A product; default_price: the id of its price."""

    id: str
    object: str = "product"
    active: bool | None = None
    created: int | None = None
    default_price: str | None = None
    deleted: bool = False
    description: str | None = None
    images: list[str] | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    name: str | None = None
    tax_code: str | None = None
    unit_label: str | None = None
    updated: int | None = None
    url: str | None = None


@payload
class Recurring(Payload):
    """How often a price is charged; interval: "day", "week", "month" or "year"."""

    interval: str
    interval_count: int = 1
    meter: str | None = None
    trial_period_days: int | None = None
    usage_type: str | None = None


@payload
class Price(Payload):
    """A price.

    unit_amount: in the smallest unit of the currency, such as cents; None where it is not whole
        (then see unit_amount_decimal) or where tiers set it.
    type: "one_time" or "recurring".
    """

    id: str
    object: str = "price"
    active: bool | None = None
    billing_scheme: str | None = None
    created: int | None = None
    currency: str | None = None
    deleted: bool = False
    livemode: bool = False
    lookup_key: str | None = None
    metadata: Metadata | None = None
    nickname: str | None = None
    product: str | None = None
    recurring: Recurring | None = None
    tax_behavior: str | None = None
    tiers_mode: str | None = None
    transform_quantity: dict[str, Any] | None = None
    type: str | None = None
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
