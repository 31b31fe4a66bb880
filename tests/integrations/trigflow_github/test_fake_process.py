"""The fake in a process of its own outlives who talks to it, and is told over HTTP."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integrations.trigflow_github.keys import public_pem
from tests.integrations.trigflow_github.receiver import Receiver
from trigflow_github.testing import FakeGitHub
from trigflow_github.testing.process import FakeGitHubProcess

HOOKS = "/repos/acme/web/hooks"
PATIENCE = 30.0  # seconds; a deadline, not a pause
CALLER = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], b'{"config": {"url": "http://127.0.0.1:9/x"}}')
request.add_header("Authorization", "Bearer good")
urllib.request.urlopen(request)
"""


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGitHubProcess]:
    with FakeGitHubProcess(token="good") as running:
        yield running


@pytest.fixture(autouse=True)
def clean(fake: FakeGitHubProcess) -> None:
    for hook in fake.call("hooks", place="acme/web"):
        fake.call("delete_hook", hook_id=hook["id"])


def api(fake: FakeGitHubProcess, method: str, path: str, **options: Any) -> httpx.Response:
    return httpx.request(method, fake.url + path, headers={"authorization": "Bearer good"}, **options)


def test_a_caller_that_is_killed_leaves_what_it_asked_for(fake: FakeGitHubProcess) -> None:
    gate = fake.call("hold", method="POST", path="/hooks$", moment="after")
    caller = subprocess.Popen([sys.executable, "-c", CALLER, fake.url + HOOKS])
    assert fake.call("gate_wait", gate=gate, timeout=PATIENCE) is True
    caller.kill()
    assert caller.wait(PATIENCE) == -9
    fake.call("gate_open", gate=gate)
    [hook] = api(fake, "GET", HOOKS).json()
    assert hook["config"]["url"] == "http://127.0.0.1:9/x"


def test_hooks_are_told_with_their_secrets_and_events_sent(fake: FakeGitHubProcess) -> None:
    with Receiver() as receiver:
        foreign = fake.call("add_hook", place="acme/web", url=receiver.url, events=["issues"], secret="hush")
        assert [(one["id"], one["secret"]) for one in fake.call("hooks", place="acme/web")] == [
            (foreign["id"], "hush")
        ]
        payload = fake.call("payload", place="acme/web", event="issues", name="opened")
        [attempt] = fake.call("emit", place="acme/web", event="issues", payload=payload, delivery="one")
        assert (attempt["ok"], attempt["status"], attempt["delivery"]) == (True, 200, "one")
        assert fake.call("redeliver", attempt=attempt["id"])["redelivery"] is True
        assert all(got.signed_with("hush") for got in receiver.got)
        assert [one["delivery"] for one in fake.call("attempts", place="acme/web")] == ["one", "one"]
        fake.call("delay", by=60)
        assert fake.call("emit", place="acme/web", event="issues", payload={}) == []
        [late] = fake.call("advance", by=60)
        assert late["throttled_at"] is not None
        assert len(receiver.got) == 3


def test_it_misbehaves_when_told_over_http(fake: FakeGitHubProcess) -> None:
    fake.call("throttle", limit="secondary", method="GET", wait=30)
    assert api(fake, "GET", HOOKS).headers["retry-after"] == "30"
    fake.call("fail", method="GET", path="/hooks", status=502)
    assert [api(fake, "GET", HOOKS).status_code for _ in range(2)] == [502, 200]
    fake.call("down")
    with pytest.raises(httpx.TransportError):
        api(fake, "GET", HOOKS)
    fake.call("up")
    assert api(fake, "GET", HOOKS).status_code == 200
    fake.call("restart")
    assert [one["status"] for one in fake.call("calls")][-2:] == [200, 200]


def test_an_app_is_told_over_http(fake: FakeGitHubProcess) -> None:
    key = rsa.generate_private_key(65537, 2048)
    app = fake.call("add_app", public_key=public_pem(key).decode(), app_id=77, events=["push"], secret="hush")
    assert (app["id"], app["hook"]["secret"]) == (77, "hush")
    assert fake.call("install", account="acme")["account"] == "acme"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("nonsense", {}, "is no call"),
        ("emit", {"place": "no/where", "event": "push", "payload": {}}, "add it first"),
        ("hooks", {"color": "blue"}, "color"),
        ("_down", {}, "is no call"),
    ],
)
def test_a_wrong_call_is_explained(
    fake: FakeGitHubProcess, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        fake.call(name, **arguments)


def test_the_process_ends_with_its_parent() -> None:
    running = FakeGitHubProcess()
    with running:
        assert httpx.get(running.url + "/user").status_code == 401
    with pytest.raises(httpx.ConnectError):
        httpx.get(running.url + "/user")


def test_only_a_served_fake_is_told_over_http() -> None:
    with FakeGitHub(token="good") as plain:
        headers = {"authorization": "Bearer good"}
        answer = httpx.post(f"{plain.url}/_fake/hooks", json={"place": "acme/web"}, headers=headers)
    assert answer.status_code == 404
