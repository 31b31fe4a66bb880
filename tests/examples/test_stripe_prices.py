"""The Stripe example in a real server, from Stripe's signed request to the job's API call."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tests.examples.served import Served, ended, listening, load, serving
from trigflow_stripe.testing import FakeStripe

PRICE = {"id": "price_1", "object": "price", "currency": "eur", "unit_amount": 1250, "product": "prod_1",
         "recurring": {"interval": "month", "interval_count": 1}}  # fmt: skip


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeStripe, ModuleType, Served]]:
    with FakeStripe() as fake, listening() as (held, url):
        fake.put({"id": "prod_1", "object": "product", "name": "Tea"})
        monkeypatch.setenv("TRIGFLOW_URL", url)
        monkeypatch.setenv("TRIGFLOW_STORE", "memory:")
        monkeypatch.setenv("TRIGFLOW_REGISTER", "off")
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_fake")
        monkeypatch.setenv("STRIPE_API_URL", fake.url)
        module = load("stripe_prices")
        with serving(module.app, held, url) as served:
            yield fake, module, served


def result_of(module: ModuleType, served: Served, function: str) -> Any:
    """Wait for the runs of a job and return what the one that there is has returned."""
    job = next(name for name in module.app.jobs if name.endswith(f":{function}"))
    assert served.call(lambda: ended(module.app, job)) == ["succeeded"]

    async def read() -> Any:
        (run,) = await module.app.opened.store.runs(limit=10, job=job)
        detail = await module.app.opened.store.run(run.id)
        return msgspec.json.decode(detail.result)

    return served.call(read)


def test_a_new_price_is_announced_once_however_often_it_is_delivered(
    running: tuple[FakeStripe, ModuleType, Served],
) -> None:
    fake, module, served = running
    served.call(module.app.apply)
    (endpoint,) = fake.endpoints
    assert set(endpoint.enabled_events) == {"price.created", "price.updated"}

    (attempt,) = fake.emit("price.created", PRICE)
    assert (attempt.status, fake.resend(attempt.event, endpoint.id).status) == (200, 200)

    assert result_of(module, served, "announce") == "Tea: 12.50 EUR every month"


def test_what_was_changed_stands_in_the_context(running: tuple[FakeStripe, ModuleType, Served]) -> None:
    fake, module, served = running
    served.call(module.app.apply)
    fake.emit("price.updated", PRICE, previous_attributes={"nickname": "old", "active": False})
    assert result_of(module, served, "note") == ["active", "nickname"]


def test_a_forged_delivery_is_refused(running: tuple[FakeStripe, ModuleType, Served]) -> None:
    fake, module, served = running
    served.call(module.app.apply)
    assert fake.forge(fake.endpoints[0], "price.created").status == 401
