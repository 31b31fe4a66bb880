"""What is bought: checkout sessions, subscriptions, invoices. Amounts are in the smallest unit."""

from trigflow import Payload, payload
from trigflow_stripe.payloads.catalog import Price
from trigflow_stripe.payloads.shared import Address, Details, Metadata


@payload
class CustomerDetails(Payload):
    """Who bought, as told at the checkout."""

    address: Address | None = None
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    tax_exempt: str | None = None


@payload
class CheckoutSession(Payload):
    """A visit to Stripe's checkout.

    mode: "payment", "setup" or "subscription". payment_status: "paid", "unpaid" or
        "no_payment_required". status: "open", "complete" or "expired".
    """

    id: str
    object: str = "checkout.session"
    amount_subtotal: int | None = None
    amount_total: int | None = None
    cancel_url: str | None = None
    client_reference_id: str | None = None
    created: int | None = None
    currency: str | None = None
    customer: str | None = None
    customer_details: CustomerDetails | None = None
    customer_email: str | None = None
    expires_at: int | None = None
    invoice: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    mode: str | None = None
    payment_intent: str | None = None
    payment_link: str | None = None
    payment_method_types: list[str] | None = None
    payment_status: str | None = None
    setup_intent: str | None = None
    status: str | None = None
    subscription: str | None = None
    success_url: str | None = None
    url: str | None = None


@payload
class SubscriptionItem(Payload):
    """A price that is subscribed to; its period stands here since API version 2025-03-31."""

    id: str
    object: str = "subscription_item"
    created: int | None = None
    current_period_end: int | None = None
    current_period_start: int | None = None
    metadata: Metadata | None = None
    price: Price | None = None
    quantity: int | None = None
    subscription: str | None = None


@payload
class SubscriptionItems(Payload):
    """The items of a subscription; has_more: ask the API for the rest."""

    data: list[SubscriptionItem]
    has_more: bool = False


@payload
class Subscription(Payload):
    """A subscription; times are unix seconds.

    status: "incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled",
        "unpaid" or "paused".
    current_period_end: until API version 2025-03-31; after that see the items.
    """

    id: str
    customer: str
    status: str
    object: str = "subscription"
    billing_cycle_anchor: int | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool | None = None
    canceled_at: int | None = None
    collection_method: str | None = None
    created: int | None = None
    currency: str | None = None
    current_period_end: int | None = None
    current_period_start: int | None = None
    default_payment_method: str | None = None
    description: str | None = None
    ended_at: int | None = None
    items: SubscriptionItems | None = None
    latest_invoice: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    start_date: int | None = None
    trial_end: int | None = None
    trial_start: int | None = None


@payload
class Invoice(Payload):
    """An invoice; times are unix seconds.

    id: None for one that is upcoming, in older API versions.
    status: "draft", "open", "paid", "uncollectible" or "void".
    lines: a list object; `data` holds the first lines.
    """

    id: str | None = None
    object: str = "invoice"
    amount_due: int | None = None
    amount_paid: int | None = None
    amount_remaining: int | None = None
    attempt_count: int | None = None
    attempted: bool | None = None
    auto_advance: bool | None = None
    billing_reason: str | None = None
    charge: str | None = None
    collection_method: str | None = None
    created: int | None = None
    currency: str | None = None
    customer: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None
    description: str | None = None
    due_date: int | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    lines: Details | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    next_payment_attempt: int | None = None
    number: str | None = None
    parent: Details | None = None
    period_end: int | None = None
    period_start: int | None = None
    status: str | None = None
    subscription: str | None = None
    subtotal: int | None = None
    total: int | None = None
