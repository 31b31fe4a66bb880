"""The fake in a process of its own outlives who talks to it, and is told over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from trigflow_stripe.testing import FakeStripe
from trigflow_stripe.testing.process import FakeStripeProcess

ENDPOINTS = "/v1/webhook_endpoints"
NOWHERE = "http://127.0.0.1:9/x"  # where nobody listens
PATIENCE = 30.0  # seconds; a deadline, not a pause
CALLER = """
import sys, urllib.request
body = b"url=http%3A%2F%2F127.0.0.1%3A9%2Fx&enabled_events[0]=price.created"
request = urllib.request.Request(sys.argv[1], body)
request.add_header("Authorization", "Bearer sk_good")
urllib.request.urlopen(request)
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeStripeProcess]:
    with FakeStripeProcess("sk_good") as running:
        yield running


@pytest.fixture(autouse=True)
def clean(fake: FakeStripeProcess) -> None:
    for endpoint in fake.call("endpoints"):
        fake.call("delete", endpoint=endpoint["id"])


def api(fake: FakeStripeProcess, method: str, path: str, **options: Any) -> httpx.Response:
    return httpx.request(method, fake.url + path, headers={"authorization": "Bearer sk_good"}, **options)


def test_a_caller_that_is_killed_leaves_what_it_asked_for(fake: FakeStripeProcess) -> None:
    gate = fake.call("gate", method="POST", path=f"{ENDPOINTS}$", moment="after")
    caller = subprocess.Popen([sys.executable, "-c", CALLER, fake.url + ENDPOINTS])
    assert fake.call("gate_wait", gate=gate, timeout=PATIENCE) is True
    caller.kill()
    assert caller.wait(PATIENCE) == -9
    fake.call("gate_open", gate=gate)
    [endpoint] = api(fake, "GET", ENDPOINTS).json()["data"]
    assert (endpoint["url"], endpoint["enabled_events"]) == (NOWHERE, ["price.created"])
    assert "secret" not in endpoint


def test_endpoints_are_told_with_their_secrets_and_events_tried_again(fake: FakeStripeProcess) -> None:
    made = fake.call("add_endpoint", url=NOWHERE, enabled_events=["*"])
    assert made["secret"].startswith("whsec_")
    new = fake.call("roll", endpoint=made["id"], keep=60)
    assert [one["secret"] for one in fake.call("endpoints")] == [new]
    [attempt] = fake.call("emit", type="price.created", id="evt_one")
    assert (attempt["ok"], attempt["status"], attempt["event"]) == (False, 0, "evt_one")
    assert fake.call("pending") == 1
    [again] = fake.call("advance", by=7200)
    assert (again["event"], again["number"]) == ("evt_one", 2)
    fake.call("edit", endpoint=made["id"], disabled=True)
    assert fake.call("emit", type="price.created") == []
    assert fake.call("event", id="evt_one")["pending_webhooks"] == 1
    assert len(fake.call("attempts")) >= 2


def test_it_misbehaves_when_told_over_http(fake: FakeStripeProcess) -> None:
    fake.call("throttle", method="GET")
    fake.call("fail", method="GET", path=ENDPOINTS, status=502)
    assert [api(fake, "GET", ENDPOINTS).status_code for _ in range(3)] == [429, 502, 200]
    fake.call("down")
    with pytest.raises(httpx.TransportError):
        api(fake, "GET", ENDPOINTS)
    fake.call("up")
    assert api(fake, "GET", ENDPOINTS).status_code == 200
    assert [one["status"] for one in fake.call("calls")][-4:] == [429, 502, 200, 200]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("nonsense", {}, "is no call"),
        ("emit", {"type": "nothing.happened"}, "nothing.happened"),
        ("event", {"id": "evt_none"}, "No such event"),
        ("roll", {"endpoint": "we_none"}, "we_none"),
        ("advance", {"color": "blue"}, "color"),
        ("_answer", {}, "is no call"),
    ],
)
def test_a_wrong_call_is_explained(
    fake: FakeStripeProcess, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        fake.call(name, **arguments)


def test_the_mode_is_told_by_an_option_and_the_process_ends_with_its_parent() -> None:
    running = FakeStripeProcess(livemode=True)
    with running:
        assert httpx.get(f"{running.url}/v1/account").status_code == 401
        assert running.call("add_endpoint", url="https://h.example", enabled_events=["*"])["livemode"] is True
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/v1/account")


def test_only_a_served_fake_is_told_over_http() -> None:
    with FakeStripe("sk_good") as plain:
        headers = {"authorization": "Bearer sk_good"}
        answer = httpx.post(f"{plain.url}/_fake/endpoints", json={}, headers=headers)
    assert answer.status_code == 404
