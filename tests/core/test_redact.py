"""What of a request may be shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigflow.core.redact import redacted_headers

SECRET = [
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Gitlab-Token", "X-Api-Key",
    "x-api_key", "X-Hub-Signature-256", "Stripe-Signature", "X-Shopify-Hmac-Sha256", "X-Sig", "X-Access-Key",
    "X-Client-Secret", "X-Password", "X-Passwd", "X-Signed-JWT", "X-Bearer", "Content-Mac",
]  # fmt: skip
PLAIN = [
    "Content-Type", "X-GitHub-Event", "X-GitHub-Delivery", "X-Event-Key", "User-Agent", "Design",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET)
def test_credentials_and_signatures_are_hidden(name: str) -> None:
    shown = redacted_headers([(name.encode(), b"hunter2")])
    assert b"hunter2" not in shown
    assert json.loads(shown)[0][0] == name


@pytest.mark.parametrize("name", PLAIN)
def test_the_rest_is_shown(name: str) -> None:
    assert json.loads(redacted_headers([(name.encode(), b"value")])) == [[name, "value"]]


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))))
def test_any_bytes_can_be_shown_in_the_order_received(raw: list[tuple[bytes, bytes]]) -> None:
    shown = json.loads(redacted_headers(raw))
    assert [name for name, _ in shown] == [name.decode("latin-1") for name, _ in raw]
