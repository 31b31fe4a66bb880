"""The methods of the client: accounts, events, webhook endpoints, and the resources jobs read most."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from trigflow_stripe.client.connection import Connection
from trigflow_stripe.client.resources import WebhookEndpoint
from trigflow_stripe.payloads import (
    Account,
    Charge,
    CheckoutSession,
    Customer,
    Invoice,
    PaymentIntent,
    Price,
    Product,
    Subscription,
)

T = TypeVar("T")
MOST_ENDPOINTS = 16  # of an account, for live and test mode each
ENDPOINTS = "/v1/webhook_endpoints"


class StripeClient(Connection):
    """Stripe's REST API with one key.

    Every method may raise Unauthorized, NotFound, RateLimited or another ApiError.
    It never waits for a limit to end: let the job fail and be tried again.
    account: the connected account (`acct_…`) to act for; None for one's own.
    """

    async def account(self) -> Account:
        """Get the account that the key belongs to."""
        return (await self.request("GET", "/v1/account")).decode(Account)

    async def connected_accounts(self) -> AsyncIterator[Account]:
        """Yield the accounts that are connected to one's own."""
        async with aclosing(self.paginate("/v1/accounts", Account)) as found:
            async for account in found:
                yield account

    async def price(self, id: str, *, account: str | None = None) -> Price:  # noqa: A002 - Stripe's word
        """Get a price."""
        return await self._get("prices", id, Price, account)

    async def product(self, id: str, *, account: str | None = None) -> Product:  # noqa: A002
        """Get a product."""
        return await self._get("products", id, Product, account)

    async def customer(self, id: str, *, account: str | None = None) -> Customer:  # noqa: A002
        """Get a customer; one that was deleted has `deleted` set and little else."""
        return await self._get("customers", id, Customer, account)

    async def charge(self, id: str, *, account: str | None = None) -> Charge:  # noqa: A002
        """Get a charge."""
        return await self._get("charges", id, Charge, account)

    async def payment_intent(self, id: str, *, account: str | None = None) -> PaymentIntent:  # noqa: A002
        """Get a payment intent."""
        return await self._get("payment_intents", id, PaymentIntent, account)

    async def invoice(self, id: str, *, account: str | None = None) -> Invoice:  # noqa: A002
        """Get an invoice."""
        return await self._get("invoices", id, Invoice, account)

    async def subscription(self, id: str, *, account: str | None = None) -> Subscription:  # noqa: A002
        """Get a subscription."""
        return await self._get("subscriptions", id, Subscription, account)

    async def checkout_session(self, id: str, *, account: str | None = None) -> CheckoutSession:  # noqa: A002
        """Get a checkout session."""
        return await self._get("checkout/sessions", id, CheckoutSession, account)

    async def events(
        self, *, since: datetime | None = None, types: Sequence[str] = (), account: str | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield events of the last 30 days as they were sent, the newest first.

        since: the oldest that is wanted (aware). types: at most 20; none for all.
        """
        created = None if since is None else {"gte": since}
        query = {"created": created, "types": list(types) or None}
        found = self.paginate("/v1/events", dict[str, Any], query=query, account=account)
        async with aclosing(found):
            async for event in found:
                yield event

    async def webhook_endpoints(self) -> AsyncIterator[WebhookEndpoint]:
        """Yield all webhook endpoints of the key's mode; none tells its secret."""
        async with aclosing(self.paginate(ENDPOINTS, WebhookEndpoint)) as found:
            async for endpoint in found:
                yield endpoint

    async def create_webhook_endpoint(
        self,
        url: str,
        enabled_events: Sequence[str],
        *,
        connect: bool = False,
        api_version: str | None = None,
        description: str | None = None,
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """Make a webhook endpoint; the answer alone tells its secret."""
        form = {
            "url": url,
            "enabled_events": list(enabled_events),
            "connect": connect or None,
            "api_version": api_version,
            "description": description,
        }
        answer = await self.request("POST", ENDPOINTS, form=form, idempotency_key=idempotency_key)
        return answer.decode(WebhookEndpoint)

    async def update_webhook_endpoint(
        self,
        id: str,  # noqa: A002
        *,
        url: str | None = None,
        enabled_events: Sequence[str] | None = None,
        disabled: bool | None = None,
        description: str | None = None,
    ) -> WebhookEndpoint:
        """Change what is given of an endpoint; its API version and `connect` can't be changed."""
        events = None if enabled_events is None else list(enabled_events)
        form = {"url": url, "enabled_events": events, "disabled": disabled, "description": description}
        return (await self.request("POST", f"{ENDPOINTS}/{_segment(id)}", form=form)).decode(WebhookEndpoint)

    async def delete_webhook_endpoint(self, id: str) -> None:  # noqa: A002
        """Delete an endpoint; Stripe stops trying its deliveries again."""
        await self.request("DELETE", f"{ENDPOINTS}/{_segment(id)}")

    async def _get(self, place: str, id_: str, kind: type[T], account: str | None) -> T:
        return (await self.request("GET", f"/v1/{place}/{_segment(id_)}", account=account)).decode(kind)


def _segment(id_: str) -> str:
    """Quote an id; ValueError for one that a server would take for a step up or for nothing."""
    if not id_.strip("."):
        raise ValueError(f"{id_!r} is not the id of anything at Stripe")
    return quote(id_, safe="")
