"""Parts that several resources have."""

from typing import Any

from trigflow import Payload, payload


@payload
class Address(Payload):
    """A postal address; country: two letters (ISO 3166-1)."""

    city: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    state: str | None = None


@payload
class BillingDetails(Payload):
    """Who pays, as they told it."""

    address: Address | None = None
    email: str | None = None
    name: str | None = None
    phone: str | None = None


@payload
class StripeError(Payload):
    """Why something failed, such as `code` "card_declined"."""

    type: str | None = None
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    param: str | None = None
    charge: str | None = None


Metadata = dict[str, str]
Details = dict[str, Any]  # of a shape that depends on the kind of the resource
Resource = dict[str, Any]  # one that has no class of its own
