"""Announce new prices, and say what changed: Stripe as the provider.

Needs STRIPE_API_KEY (a test mode key does) and a public URL (TRIGFLOW_URL).
Run it with `trigflow dev examples/stripe_prices.py`, or `uvicorn stripe_prices:app`.
"""

from trigflow import IO, App, Event, Retry, trigger
from trigflow_stripe import StripeClient, stripe
from trigflow_stripe.payloads import Price

WHOLE = {"jpy", "krw", "vnd"}  # some of the currencies that have no smaller unit


def money(price: Price) -> str:
    """Write an amount; Stripe counts in the smallest unit of a currency."""
    if price.unit_amount is None:
        return "a price in tiers"
    every = f" every {price.recurring.interval}" if price.recurring else ""
    currency = price.currency or ""
    amount = str(price.unit_amount) if currency in WHOLE else f"{price.unit_amount / 100:.2f}"
    return f"{amount} {currency.upper()}{every}"


@trigger(stripe.price_created, retry=Retry(times=5))
async def announce(price: Price, client: StripeClient, io: IO) -> str:
    """Say what a new price is for."""
    assert price.product is not None
    product = await io.task("product", client.product, price.product)
    line = f"{product.name}: {money(price)}"
    io.log("announced", line=line)
    return line


@trigger(stripe.price_updated)
async def note(price: Price, event: Event) -> list[str]:
    """Name the fields that were changed; they stand beside the resource, in the event's context."""
    before = event.context["previous_attributes"]
    return sorted(before) if isinstance(before, dict) else []


app = App(jobs=[announce, note])
