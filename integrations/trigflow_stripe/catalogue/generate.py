"""Writes the modules of `trigflow_stripe.events` from events.json, the catalogue beside this file.

    python -m trigflow_stripe.catalogue.generate

The catalogue has each snapshot event of an API version: its type, the name of the resource
that it carries, and Stripe's description. For a new API version take them from the type
declarations of Stripe's package for Node.js (esm/resources/Events.d.ts: one interface an
event, with its description above and its resource below), put a fixture of each new resource
into `samples`, and run this again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

PACKAGE = Path(__file__).parent.parent
WIDTH = 110

TYPED: Mapping[str, str] = {
    "account": "Account",
    "charge": "Charge",
    "checkout.session": "CheckoutSession",
    "customer": "Customer",
    "dispute": "Dispute",
    "invoice": "Invoice",
    "payment_intent": "PaymentIntent",
    "payment_method": "PaymentMethod",
    "payout": "Payout",
    "price": "Price",
    "product": "Product",
    "refund": "Refund",
    "setup_intent": "SetupIntent",
    "subscription": "Subscription",
}


@attrs.frozen
class Family:
    """Events that one module declares: those whose names begin with one of these parts.

    The first family that takes an event has it; one without parts takes all.
    """

    module: str
    title: str
    parts: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        """The name of the class in the module."""
        return f"{self.module.title()}Events"

    def takes(self, type_: str) -> bool:
        """Tell whether an event may stand in this module."""
        return not self.parts or any(f"{type_}.".startswith(f"{part}.") for part in self.parts)


FAMILIES = (
    Family(
        "accounts",
        "Accounts, their balances, and money between them",
        (
            "account", "application_fee", "apps", "balance", "balance_settings", "capability", "payout",
            "person", "topup", "transfer",
        ),
    ),
    Family(
        "billing",
        "Invoices, subscription schedules and taxes",
        (
            "credit_note", "entitlements", "invoice", "invoice_payment", "invoiceitem",
            "subscription_schedule", "tax", "tax_rate",
        ),
    ),
    Family(
        "customers",
        "Customers, their subscriptions, and what is sold to them",
        (
            "cash_balance", "customer", "customer_cash_balance_transaction", "plan", "price", "product",
        ),
    ),
    Family(
        "payments",
        "Charges, intents, refunds and reviews",
        ("charge", "mandate", "payment_intent", "radar", "refund", "review", "setup_intent"),
    ),
    Family(
        "checkout",
        "Checkouts and ways to pay",
        ("checkout", "payment_link", "payment_method", "source", "three_d_secure"),
    ),
    Family("offers", "Quotes and discounts", ("coupon", "promotion_code", "quote")),
    Family(
        "issuing",
        "Cards that are issued, and reserves",
        (
            "issuing_authorization", "issuing_card", "issuing_cardholder", "issuing_dispute",
            "issuing_personalization_design", "issuing_token", "issuing_transaction", "reserve",
        ),
    ),
    Family(
        "treasury",
        "Financial accounts, and money that comes in",
        (
            "treasury.credit_reversal", "treasury.debit_reversal", "treasury.financial_account",
            "treasury.inbound_transfer",
        ),
    ),
    Family("outbound", "Money that leaves financial accounts, or was received there", ("treasury",)),
    Family(
        "verification",
        "Bank accounts that are linked, and identities that are verified",
        ("financial_connections", "identity"),
    ),
    Family("metering", "Meters, credits and the billing portal", ("billing", "billing_portal")),
    Family("more", "Everything else: files, reports, terminals"),
)  # fmt: skip


@attrs.frozen
class Declared:
    """One event as the catalogue has it.

    has_mode: whether its resource tells live from test mode. has_secret: whether the resource
        has a client_secret, with which a browser may act on it and which Stripe wants neither
        logged nor stored.
    """

    type: str
    object: str
    description: str
    has_mode: bool
    has_secret: bool
    captured: bool

    @property
    def method(self) -> str:
        """The name of its method."""
        return self.type.replace(".", "_")

    @property
    def payload(self) -> str:
        """The name of the class that its resource is structured into."""
        return TYPED.get(self.object, "Resource")


def declared() -> list[Declared]:
    """Read the catalogue."""
    catalogue: Any = json.loads((PACKAGE / "catalogue" / "events.json").read_text(encoding="utf-8"))
    return [_declared(**entry) for entry in catalogue["events"]]


def _declared(type: str, object: str, description: str) -> Declared:  # noqa: A002 - the catalogue's words
    fixture: Any = json.loads((PACKAGE / "samples" / f"{object}.json").read_text(encoding="utf-8"))
    return Declared(
        type, object, description, "livemode" in fixture, "client_secret" in fixture, _is_captured(type)
    )


def _is_captured(type_: str) -> bool:
    return (PACKAGE / "samples" / "captured" / f"{type_}.json").exists()


def modules() -> dict[str, str]:
    """Return the text of each module by file name."""
    events = declared()
    return {f"{family.module}.py": _module(family, _of(family, events)) for family in FAMILIES} | {
        "__init__.py": _package()
    }


def _of(family: Family, events: Sequence[Declared]) -> list[Declared]:
    return [event for event in events if next(one for one in FAMILIES if one.takes(event.type)) is family]


def _module(family: Family, events: Sequence[Declared]) -> str:
    payloads = sorted({event.payload for event in events})
    methods = "".join(map(_method, events))
    is_wide = any(len(line) > WIDTH for line in methods.splitlines())
    noqa = "# ruff: noqa: E501 - the sentences are Stripe's\n" if is_wide else ""
    head = f'''\
"""{family.title}.

Generated by trigflow_stripe.catalogue.generate: change that, not this.
"""
{noqa}
from __future__ import annotations

from trigflow import event
from trigflow_stripe.facts import facts
{_import("trigflow_stripe.payloads", payloads)}
from trigflow_stripe.samples import samples
from trigflow_stripe.settings import StripeSettings, Where
from trigflow_stripe.source import webhook


class {family.class_name}(StripeSettings, id="stripe"):
    """{family.title}."""
'''
    return head + methods


def _method(event: Declared) -> str:
    captured = f', captured="{event.type}"' if event.captured else ""
    examples = f'examples=samples("{event.object}"{captured})'
    keywords = ["source=webhook", examples, "properties=facts"]
    params = ["connect: bool = False"] + ["livemode: bool | None = None"] * event.has_mode
    secret = ['sensitive=["client_secret"]'] * event.has_secret
    passed = "connect, livemode" if event.has_mode else "connect"
    return "\n".join([
        "",
        *_call("    @event", [f'"{event.type}"', event.payload, *keywords, *secret], ""),
        *_call(f"    def {event.method}", ["self", "*", *params], " -> Where:"),
        *_docstring(event.description),
        f"        return self._at({passed})",
        "",
    ])  # fmt: skip


def _call(start: str, arguments: Iterable[str], end: str) -> list[str]:
    """Write a call or a head in as few lines as fit, as the formatter would."""
    arguments = list(arguments)
    line = f"{start}({', '.join(arguments)}){end}"
    if len(line) <= WIDTH:
        return [line]
    inner = f"        {', '.join(arguments)}"
    inside = [inner] if len(inner) <= WIDTH else [f"        {argument}," for argument in arguments]
    return [f"{start}(", *inside, f"    ){end}"]


def _import(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def _docstring(description: str) -> list[str]:
    first, *rest = re.split(r"(?<=\.)\s+(?=[A-Z])", _plain(description), maxsplit=1)
    if not rest:
        return [f'        """{first}"""']
    return [f'        """{first}', "", f"        {rest[0]}", '        """']


def _plain(description: str) -> str:
    """Turn Markdown links into their text; end with a full stop."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", description).replace("&mdash;", ", ")
    text = " ".join(text.replace("\\", "").replace('"', "'").split())
    return text if text.endswith(".") else f"{text}."


def _package() -> str:
    imports = "\n".join(
        f"from trigflow_stripe.events.{family.module} import {family.class_name}"
        for family in sorted(FAMILIES, key=lambda one: one.module)
    )
    bases = "".join(f"    {family.class_name},\n" for family in FAMILIES)
    return f'''\
"""All events of Stripe.

Generated by trigflow_stripe.catalogue.generate: change that, not this.
"""

{imports}
from trigflow_stripe.settings import AUTH


class StripeEvents(
{bases}    id="stripe",
    auth=AUTH,
):
    """The events of all families together."""


__all__ = ["StripeEvents"]
'''


def main() -> None:
    """Write the modules."""
    for name, text in modules().items():
        (PACKAGE / "events" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
