"""Serve a fake Stripe until it is told to end: `python -m trigflow_stripe.testing`.

Prints its URL as the first line. What it knows is in memory and outlives its callers.
"""

from __future__ import annotations

from trigflow.testing.fake_process import options, serve_alone
from trigflow_stripe.testing.control import ServedFake
from trigflow_stripe.testing.fake import KEY


def main() -> None:
    """Serve as the options say."""
    parser = options("trigflow_stripe.testing", __doc__)
    parser.add_argument("--key", default=KEY, help="the API key that it knows")
    parser.add_argument("--livemode", action="store_true", help="be an account in live mode")
    told = parser.parse_args()
    serve_alone(ServedFake(told.key, livemode=told.livemode, port=told.port), with_parent=told.with_parent)


if __name__ == "__main__":
    main()
