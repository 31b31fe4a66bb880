"""A fake Stripe in a process of its own, for tests that kill processes."""

from __future__ import annotations

from trigflow.testing.fake_process import FakeProcess
from trigflow_stripe.testing.fake import KEY


class FakeStripeProcess(FakeProcess):
    """Starts the fake, tells it things, and ends it; it ends with this process too.

    with FakeStripeProcess() as fake:
        fake.call("add_account", id="acct_1")
        fake.call("emit", type="price.created")
    """

    def __init__(self, key: str = KEY, *, livemode: bool = False) -> None:
        """Prepare a Stripe that knows one key."""
        super().__init__("trigflow_stripe.testing", "--key", key, *(["--livemode"] if livemode else []))
