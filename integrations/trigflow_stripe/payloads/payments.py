"""Money on its way: charges, intents, refunds, disputes, payouts. Amounts are in the smallest unit."""

from trigflow import Payload, payload
from trigflow_stripe.payloads.shared import BillingDetails, Details, Metadata, StripeError


@payload
class Charge(Payload):
    """A charge; status: "succeeded", "pending" or "failed"."""

    id: str
    amount: int
    currency: str
    status: str
    object: str = "charge"
    amount_captured: int | None = None
    amount_refunded: int = 0
    balance_transaction: str | None = None
    billing_details: BillingDetails | None = None
    captured: bool | None = None
    created: int | None = None
    customer: str | None = None
    description: str | None = None
    disputed: bool | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    invoice: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    outcome: Details | None = None
    paid: bool | None = None
    payment_intent: str | None = None
    payment_method: str | None = None
    payment_method_details: Details | None = None
    receipt_email: str | None = None
    receipt_url: str | None = None
    refunded: bool | None = None
    statement_descriptor: str | None = None
    transfer_group: str | None = None


@payload
class PaymentIntent(Payload):
    """A payment from its start to its end; client_secret lets its holder complete the payment."""

    id: str
    amount: int
    currency: str
    status: str
    object: str = "payment_intent"
    amount_capturable: int = 0
    amount_received: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    capture_method: str | None = None
    client_secret: str | None = None
    confirmation_method: str | None = None
    created: int | None = None
    customer: str | None = None
    description: str | None = None
    invoice: str | None = None
    last_payment_error: StripeError | None = None
    latest_charge: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    next_action: Details | None = None
    payment_method: str | None = None
    payment_method_types: list[str] | None = None
    receipt_email: str | None = None
    setup_future_usage: str | None = None
    statement_descriptor: str | None = None
    transfer_group: str | None = None

    def __repr__(self) -> str:
        return f"PaymentIntent(id={self.id!r}, amount={self.amount!r}, status={self.status!r})"


@payload
class SetupIntent(Payload):
    """A way to pay that is set up for later."""

    id: str
    status: str
    object: str = "setup_intent"
    cancellation_reason: str | None = None
    client_secret: str | None = None
    created: int | None = None
    customer: str | None = None
    description: str | None = None
    last_setup_error: StripeError | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    payment_method: str | None = None
    payment_method_types: list[str] | None = None
    usage: str | None = None

    def __repr__(self) -> str:
        return f"SetupIntent(id={self.id!r}, status={self.status!r})"


@payload
class PaymentMethod(Payload):
    """A way to pay; the field named as `type` holds its details, such as `card`."""

    id: str
    type: str
    object: str = "payment_method"
    billing_details: BillingDetails | None = None
    card: Details | None = None
    created: int | None = None
    customer: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None


@payload
class Refund(Payload):
    """Money that goes back; status: "pending", "requires_action", "succeeded", "failed", "canceled"."""

    id: str
    amount: int
    currency: str
    object: str = "refund"
    balance_transaction: str | None = None
    charge: str | None = None
    created: int | None = None
    failure_reason: str | None = None
    metadata: Metadata | None = None
    payment_intent: str | None = None
    reason: str | None = None
    receipt_number: str | None = None
    status: str | None = None


@payload
class Dispute(Payload):
    """A payment that a customer disputes."""

    id: str
    amount: int
    currency: str
    status: str
    object: str = "dispute"
    charge: str | None = None
    created: int | None = None
    evidence: Details | None = None
    evidence_details: Details | None = None
    is_charge_refundable: bool | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    payment_intent: str | None = None
    reason: str | None = None


@payload
class Payout(Payload):
    """Money that goes to a bank account or card; arrival_date: unix seconds."""

    id: str
    amount: int
    currency: str
    status: str
    object: str = "payout"
    arrival_date: int | None = None
    automatic: bool | None = None
    balance_transaction: str | None = None
    created: int | None = None
    description: str | None = None
    destination: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    livemode: bool = False
    metadata: Metadata | None = None
    method: str | None = None
    statement_descriptor: str | None = None
    type: str | None = None
