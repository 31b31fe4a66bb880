"""What an integration with Stripe is told, and what its events' keywords mean."""

from __future__ import annotations

from typing import TypeAlias

from trigflow import ApiKey, Integration, When
from trigflow_stripe.source import Mode

Where: TypeAlias = Mode | When[Mode]

AUTH = [
    ApiKey(
        "STRIPE_API_KEY",
        label="Secret key",
        help="sk_… or a restricted key rk_… that may write webhook endpoints and read events",
    )
]


class StripeSettings(Integration, id="stripe", auth=AUTH):
    """The fields of `Stripe`; the classes of its events are built on it."""

    api_version: str | None = None
    base_url: str | None = None

    def _at(self, connect: bool, livemode: bool | None = None) -> Where:
        """Return the endpoint of an event; with `livemode`, events of that mode alone."""
        mode = Mode(connect=connect, api_version=self.api_version)
        return mode if livemode is None else When(mode, {"livemode": [livemode]})
