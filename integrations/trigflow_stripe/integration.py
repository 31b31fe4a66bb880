"""Stripe as an integration: its credentials, its client, and all of its events."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TypeVar

from trigflow import Checked, Credentials
from trigflow_stripe.client import NotPermitted, StripeClient
from trigflow_stripe.events import StripeEvents
from trigflow_stripe.payloads import Account
from trigflow_stripe.settings import AUTH

T = TypeVar("T")
API = "https://api.stripe.com"
# What is tried by `check`, by what a person calls the permission.
_NEEDED = {"webhook endpoints: write": "/v1/webhook_endpoints", "events: read": "/v1/events"}


class Stripe(StripeEvents, id="stripe", auth=AUTH):
    """Payments on stripe.com.

    api_version: how events and answers are rendered, such as "2026-10-28.endive"; Stripe
        can't change it for an endpoint that is there, so that another one means another
        endpoint. Default: the account's own version.
    base_url: of the API. Default: STRIPE_API_URL, else https://api.stripe.com.
    """

    def client(self, credentials: Credentials) -> StripeClient:
        """Make the client of a connection."""
        base_url = self.base_url or os.environ.get("STRIPE_API_URL") or API
        return StripeClient(credentials["token"], base_url=base_url, api_version=self.api_version)

    async def check(self, client: StripeClient) -> Checked:
        """Tell whose the key is, and what a restricted one lacks; Unauthorized where Stripe refuses it.

        Reading is all that can be tried without changing something: a key that may read endpoints
        and not write them is found out when an endpoint is made.
        """
        # GET /v1/account is `Account.retrieve()` of Stripe's own packages. A restricted key may not
        # be allowed to; registering does not need it.
        account, _ = await _tried(client.account())
        missing = [
            lacks or (name,)
            for name, path in _NEEDED.items()
            for found, lacks in [await _tried(client.request("GET", path, query={"limit": 1}))]
            if found is None
        ]
        label = "" if account is None else _label(account)
        id_ = None if account is None else account.id
        return Checked(id_, label, tuple(one for lacks in missing for one in lacks))


async def _tried(call: Awaitable[T]) -> tuple[T | None, tuple[str, ...]]:
    """Return an answer; None, and the permissions that Stripe names, where the key may not ask."""
    try:
        return await call, ()
    except NotPermitted as refused:
        return None, refused.permissions


def _label(account: Account) -> str:
    """Return the account's name as a person knows it, else its e-mail address; "" where it has neither."""
    dashboard: dict[str, object] = (account.settings or {}).get("dashboard") or {}
    name = dashboard.get("display_name") or (account.business_profile or {}).get("name")
    return str(name or account.email or "")


stripe: Stripe = Stripe()
