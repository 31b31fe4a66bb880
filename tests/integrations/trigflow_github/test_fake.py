"""FakeGitHub behaves as GitHub documents it, over real HTTP."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from tests.integrations.trigflow_github.receiver import Receiver
from trigflow import ApiError, NotFound, RateLimited, Unauthorized
from trigflow_github.client import GitHubClient
from trigflow_github.testing import FakeGitHub

HOOKS = "/repos/acme/web/hooks"
DEAD = "http://127.0.0.1:9/hook"  # nobody listens on the discard port


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="good") as running:
        yield running


@pytest.fixture
def api(fake: FakeGitHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake.url, headers={"authorization": "Bearer good"}) as connected:
        yield connected


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def wanted(url: str = DEAD, *events: str, **config: str) -> dict[str, Any]:
    told = {"url": url, "content_type": "json", **config}
    return {"name": "web", "active": True, "events": list(events or ("issues",)), "config": told}


def create(api: httpx.Client, body: dict[str, Any], path: str = HOOKS) -> dict[str, Any]:
    answer = api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def sha256(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("authorization", [None, "Bearer bad", "good", "Basic good"])
def test_only_its_token_is_let_in(fake: FakeGitHub, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = httpx.get(fake.url + HOOKS, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["message"] == "Bad credentials"


@pytest.mark.parametrize(
    "path",
    ["/repos/acme/secret/hooks", "/orgs/nobody/hooks", f"{HOOKS}/1", "/nothing", "/repos/acme/web/issues/99"],
)
def test_what_it_does_not_know_is_not_found(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")


def test_what_is_no_json_object_is_a_400(api: httpx.Client) -> None:
    assert api.post(HOOKS, content=b"{").json()["message"] == "Problems parsing JSON"
    assert api.post(HOOKS, content=b"[]").status_code == 400


def test_every_answer_tells_the_rate_limit(api: httpx.Client) -> None:
    for remaining, path in (("4999", HOOKS), ("4998", "/nothing")):
        assert api.get(path).headers["x-ratelimit-remaining"] == remaining


def test_a_delivery_is_signed_and_marked_as_github_does(
    fake: FakeGitHub, api: httpx.Client, receiver: Receiver
) -> None:
    hook = create(api, wanted(receiver.url, "issues", secret="It's a Secret to Everybody"))
    fake.settle()
    receiver.got.clear()
    [attempt] = fake.emit("acme/web", "issues", fake.payload("acme/web", "issues", "opened"))
    [got] = receiver.got
    assert (attempt.status, attempt.body, attempt.ok) == (200, b"seen", True)
    assert got.headers["x-hub-signature-256"] == sha256("It's a Secret to Everybody", got.body)
    sha1 = hmac.new(b"It's a Secret to Everybody", got.body, hashlib.sha1).hexdigest()
    assert got.headers["x-hub-signature"] == f"sha1={sha1}"
    assert got.headers["x-github-event"] == "issues"
    assert got.headers["x-github-delivery"] == attempt.delivery
    assert got.headers["x-github-hook-id"] == str(hook["id"])
    assert got.headers["x-github-hook-installation-target-type"] == "repository"
    assert got.headers["user-agent"].startswith("GitHub-Hookshot/")
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.body)["repository"]["full_name"] == "acme/web"


def test_the_known_signature_comes_out(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    create(api, wanted(receiver.url, "issues", secret="mysecret"))
    fake.settle()
    fake.emit("acme/web", "issues", b'{"foo":"bar"}')
    known = "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"
    assert receiver.got[-1].headers["x-hub-signature-256"] == known


def test_a_form_is_signed_as_it_is_sent(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    create(api, wanted(receiver.url, "issues", secret="hush", content_type="form"))
    fake.settle()
    fake.emit("acme/web", "issues", {"text": "a&b=ü"})
    got = receiver.got[-1]
    assert got.headers["content-type"] == "application/x-www-form-urlencoded"
    assert json.loads(parse_qs(got.body.decode())["payload"][0]) == {"text": "a&b=ü"}
    assert got.headers["x-hub-signature-256"] == sha256("hush", got.body)


def test_without_a_secret_nothing_is_signed(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    create(api, wanted(receiver.url))
    fake.settle()
    assert "x-hub-signature-256" not in receiver.got[0].headers


def test_creating_a_hook_sends_a_ping(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    for path, about in ((HOOKS, "repository"), ("/orgs/acme/hooks", "organization")):
        receiver.got.clear()
        hook = create(api, wanted(receiver.url, secret="hush"), path)
        fake.settle()
        [got] = receiver.got
        said = json.loads(got.body)
        assert got.headers["x-github-event"] == "ping"
        assert got.headers["x-github-hook-installation-target-type"] == about
        assert (said["hook_id"], said["hook"]["config"]["secret"]) == (hook["id"], "********")
        assert about in said


def test_a_failing_ping_does_not_prevent_the_hook(fake: FakeGitHub, api: httpx.Client) -> None:
    hook = create(api, wanted(DEAD))
    fake.settle()
    assert [at["id"] for at in api.get(HOOKS).json()] == [hook["id"]]
    assert fake.attempts("acme/web")[0].status == 0


def test_an_event_reaches_who_wants_it_under_one_guid(
    fake: FakeGitHub, api: httpx.Client, receiver: Receiver
) -> None:
    chosen = [
        create(api, wanted(f"{receiver.url}&1", "issues")),
        create(api, wanted(f"{receiver.url}&2", "*")),
        create(api, wanted(f"{receiver.url}&3", "issues"), "/orgs/acme/hooks"),
    ]
    create(api, wanted(f"{receiver.url}&4", "push"))
    create(api, wanted(f"{receiver.url}&5", "issues") | {"active": False})
    fake.add_repository("other/web")
    create(api, wanted(f"{receiver.url}&6", "issues"), "/repos/other/web/hooks")
    attempts = fake.emit("acme/web", "issues", {})
    assert [attempt.hook_id for attempt in attempts] == [hook["id"] for hook in chosen]
    assert len({attempt.delivery for attempt in attempts}) == 1


def test_a_redelivery_is_a_new_attempt_with_the_old_guid(
    fake: FakeGitHub, api: httpx.Client, receiver: Receiver
) -> None:
    hook = create(api, wanted(receiver.url, "issues", secret="old"))
    fake.settle()
    receiver.status = 500
    [failed] = fake.emit("acme/web", "issues", {"action": "opened"}, delivery="the-guid")
    receiver.status = 202
    api.patch(f"{HOOKS}/{hook['id']}/config", json={"secret": "new"})
    path = f"{HOOKS}/{hook['id']}/deliveries"
    assert [entry["id"] for entry in api.get(path, params={"status": "failure"}).json()] == [failed.id]
    assert api.post(f"{path}/{failed.id}/attempts").status_code == 202
    fake.settle()
    newest, oldest = api.get(path).json()[:2]
    assert (newest["guid"], oldest["guid"]) == ("the-guid", "the-guid")
    assert (newest["redelivery"], newest["status"], newest["status_code"]) == (True, "OK", 202)
    assert (oldest["redelivery"], oldest["status_code"], oldest["action"]) == (False, 500, "opened")
    assert newest["id"] != oldest["id"]
    assert receiver.got[-1].headers["x-hub-signature-256"] == sha256("new", receiver.got[-1].body)
    detail = api.get(f"{path}/{newest['id']}").json()
    assert detail["request"]["payload"] == {"action": "opened"}
    assert detail["response"]["payload"] == "seen"


def test_deliveries_are_paged_by_cursor(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    hook = create(api, wanted(receiver.url, "issues"))
    fake.settle()
    sent = [fake.emit("acme/web", "issues", {})[0].id for _ in range(4)]
    seen: list[int] = []
    url = f"{HOOKS}/{hook['id']}/deliveries?per_page=2"
    while url:
        answer = api.get(url)
        seen += [entry["id"] for entry in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert seen[:4] == sent[::-1]
    assert len(seen) == 5  # and the ping


def test_a_redirect_is_not_followed(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    create(api, wanted(receiver.url, "issues"))
    receiver.status = 302
    [attempt] = fake.emit("acme/web", "issues", {})
    assert (attempt.status, attempt.ok) == (302, False)


def test_a_forgery_has_a_wrong_signature_and_is_not_remembered(
    fake: FakeGitHub, api: httpx.Client, receiver: Receiver
) -> None:
    create(api, wanted(receiver.url, "issues", secret="hush"))
    fake.settle()
    before = len(fake.attempts("acme/web"))
    fake.forge(fake.hooks("acme/web")[0], "issues", {"evil": True})
    got = receiver.got[-1]
    assert got.headers["x-hub-signature-256"].startswith("sha256=")
    assert got.headers["x-hub-signature-256"] != sha256("hush", got.body)
    assert len(fake.attempts("acme/web")) == before


def test_scripted_faults_come_in_order_and_end(fake: FakeGitHub, api: httpx.Client) -> None:
    fake.fail("POST", "/hooks$", 502, times=2)
    assert [api.post(HOOKS, json=wanted()).status_code for _ in range(3)] == [502, 502, 201]


def test_an_answer_may_be_lost_after_its_effect(fake: FakeGitHub, api: httpx.Client) -> None:
    fake.fail("POST", "/hooks$", 502, effective=True)
    assert api.post(HOOKS, json=wanted()).status_code == 502
    assert len(fake.hooks("acme/web")) == 1


def test_calls_are_kept_and_writes_told_apart(fake: FakeGitHub, api: httpx.Client) -> None:
    api.get(HOOKS)
    create(api, wanted())
    assert [(call.method, call.path, call.status) for call in fake.calls] == [
        ("GET", HOOKS, 200),
        ("POST", HOOKS, 201),
    ]
    assert [call.method for call in fake.writes] == ["POST"]


def hub(fake: FakeGitHub) -> GitHubClient:
    return GitHubClient("good", base_url=fake.url)


@pytest.mark.anyio
async def test_the_client_and_the_fake_agree_on_issues(fake: FakeGitHub) -> None:
    async with hub(fake) as client:
        assert await client.add_labels("acme/web", 1, ["bug", "a/b", "bug"]) == ["bug", "a/b"]
        assert await client.remove_label("acme/web", 1, "a/b") == ["bug"]
        with pytest.raises(NotFound, match="Label does not exist"):
            await client.remove_label("acme/web", 1, "a/b")
        comment = await client.comment("acme/web", 1, "first")
        assert (await client.update_comment("acme/web", comment.id, "second")).body == "second"
        closed = await client.close_issue("acme/web", 1)
        assert (closed.state, closed.closed_at is None) == ("closed", False)
        new = await client.create_issue("acme/web", "More", "text", labels=["x"], assignees=["octocat"])
        assert (new.number, new.title, [label.name for label in new.labels]) == (3, "More", ["x"])
    assert fake.labels("acme/web", 1) == ["bug"]
    assert fake.comments("acme/web", 1) == ["second"]
    assert fake.issue("acme/web", 1)["state"] == "closed"


@pytest.mark.anyio
async def test_the_client_and_the_fake_agree_on_pull_requests(fake: FakeGitHub) -> None:
    for number in range(130):
        fake.add_file("acme/web", 2, f"{number}.py")
    sha = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
    async with hub(fake) as client:
        pull = await client.pull_request("acme/web", 2)
        assert (pull.number, pull.head.sha, pull.merged) == (2, sha, False)
        assert (await client.issue("acme/web", 2)).pull_request is not None
        assert len(await client.pull_request_files("acme/web", 2)) == 130
        assert (await client.create_review("acme/web", 2, "APPROVE")).state == "APPROVED"
        await client.set_status("acme/web", sha, "pending", context="ci")
        await client.set_status("acme/web", sha, "success", context="ci", target_url="https://ci.dev")
    assert fake.statuses("acme/web", sha) == {"ci": "success"}


@pytest.mark.anyio
@pytest.mark.parametrize(("repo", "org"), [("acme/web", None), (None, "acme")])
async def test_the_client_and_the_fake_agree_on_hooks(
    fake: FakeGitHub, repo: str | None, org: str | None
) -> None:
    async with hub(fake) as client:
        hook = await client.create_hook(DEAD, ["push"], secret="hush", repo=repo, org=org)
        assert [listed.id for listed in await client.hooks(repo=repo, org=org)] == [hook.id]
        changed = await client.update_hook(
            hook.id, events=["issues"], url=f"{DEAD}/2", secret="new", active=False, repo=repo, org=org
        )
        assert (changed.events, changed.active, changed.config.url) == (("issues",), False, f"{DEAD}/2")
        await client.configure_hook(hook.id, secret="newer", repo=repo, org=org)
        assert [at.secret for at in fake.hooks(repo or org or "")] == ["newer"]
        await client.ping_hook(hook.id, repo=repo, org=org)
        fake.settle()
        pings = await client.hook_deliveries(hook.id, repo=repo, org=org)
        assert [ping.event for ping in pings] == ["ping", "ping"]
        detail = await client.hook_delivery(hook.id, pings[0].id, repo=repo, org=org)
        assert detail.request.payload["hook_id"] == hook.id
        await client.redeliver(hook.id, pings[0].id, repo=repo, org=org)
        fake.settle()
        [newest] = await client.hook_deliveries(hook.id, limit=1, repo=repo, org=org)
        assert (newest.redelivery, newest.guid) == (True, pings[0].guid)
        await client.delete_hook(hook.id, repo=repo, org=org)
        with pytest.raises(NotFound):
            await client.hook(hook.id, repo=repo, org=org)
        assert await client.hooks(repo=repo, org=org) == []


@pytest.mark.anyio
async def test_refusals_of_the_fake_are_those_that_the_client_knows(fake: FakeGitHub) -> None:
    fake.forbid("DELETE", "/hooks/", "repository_hooks=write")
    async with hub(fake) as client:
        with pytest.raises(Unauthorized, match="repository_hooks=write"):
            await client.delete_hook(1, repo="acme/web")
        await client.create_hook(DEAD, ["push"], repo="acme/web")
        with pytest.raises(ApiError, match="Hook already exists on this repository"):
            await client.create_hook(DEAD, ["push"], repo="acme/web")
    async with GitHubClient("bad", base_url=fake.url) as stranger:
        with pytest.raises(Unauthorized, match="Bad credentials"):
            await stranger.viewer()


@pytest.mark.anyio
async def test_a_used_up_limit_names_its_end() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    times = [noon]
    with FakeGitHub("good", limit=2, clock=lambda: times[-1]) as small:
        async with GitHubClient("good", base_url=small.url, clock=lambda: noon) as client:
            for _ in range(2):
                await client.viewer()
            with pytest.raises(RateLimited) as caught:
                await client.viewer()
            assert caught.value.until == datetime(2026, 1, 1, 13, tzinfo=UTC)
            times.append(caught.value.until)
            await client.viewer()
