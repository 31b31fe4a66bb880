"""Serve a fake GitHub until it is told to end: `python -m trigflow_github.testing`.

Prints its URL as the first line. What it knows is in memory and outlives its callers.
"""

from __future__ import annotations

from trigflow.testing.fake_process import options, serve_alone
from trigflow_github.testing.control import ServedFake
from trigflow_github.testing.fake import TOKEN


def main() -> None:
    """Serve as the options say."""
    parser = options("trigflow_github.testing", __doc__)
    parser.add_argument("--token", default=TOKEN, help="the token that it knows from the start")
    parser.add_argument("--limit", type=int, default=5000, help="requests that a caller has in an hour")
    told = parser.parse_args()
    serve_alone(ServedFake(told.token, limit=told.limit, port=told.port), with_parent=told.with_parent)


if __name__ == "__main__":
    main()
