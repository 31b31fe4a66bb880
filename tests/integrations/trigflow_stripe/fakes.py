"""What the tests of the fake share: the official client, and a receiver of deliveries."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import attrs
import stripe

from trigflow_stripe.testing import FakeStripe

DEAD = "http://127.0.0.1:9/hook"  # nobody listens on the discard port
KEY = "sk_test_good"


@attrs.frozen
class Got:
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A server that keeps what it is sent and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(Got({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(outer.status)
                self.send_header("Location", DEAD)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def official(fake: FakeStripe, key: str = KEY) -> Any:
    """Return the official client, which knows nothing of us."""
    made: Any = stripe.StripeClient(key, base_addresses={"api": fake.url}, max_network_retries=0)
    return made.v1


def created(fake: FakeStripe, url: str = DEAD, *events: str, **more: Any) -> Any:
    params = {"url": url, "enabled_events": list(events or ("price.created",)), **more}
    return official(fake).webhook_endpoints.create(params=params)


def verified(got: Got, secret: str) -> Any:
    """Have the official package verify a delivery."""
    made: Any = stripe.Webhook.construct_event(got.body, got.headers["stripe-signature"], secret)  # pyright: ignore[reportUnknownMemberType] - untyped there
    return made
