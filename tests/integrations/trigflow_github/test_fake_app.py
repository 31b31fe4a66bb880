"""The fake's GitHub App: one webhook, installations, tokens that expire."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integrations.trigflow_github.keys import app_token, private_pem, public_pem
from tests.integrations.trigflow_github.receiver import Receiver
from trigflow_github.testing import FakeApp, FakeGitHub

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="good", clock=lambda: NOON) as running:
        running.add_repository("acme/api")
        running.add_repository("other/site")
        yield running


@pytest.fixture
def app(fake: FakeGitHub, key: rsa.RSAPrivateKey, receiver: Receiver) -> FakeApp:
    return fake.add_app(
        public_pem(key), app_id=77, client_id="Iv1", events=["issues"], url=receiver.url, secret="hush"
    )


def ask(fake: FakeGitHub, token: str, method: str, path: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.request(method, fake.url + path, headers=headers, json=body or None)


def minted(fake: FakeGitHub, key: rsa.RSAPrivateKey, number: int, **body: Any) -> str:
    jwt = app_token(key, 77, now=fake.now())
    answer = ask(fake, jwt, "POST", f"/app/installations/{number}/access_tokens", **body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("issuer", "claims", "status"),
    [
        (77, {}, 200),
        ("77", {}, 200),
        ("Iv1", {}, 200),
        (78, {}, 401),
        (77, {"exp": NOON.timestamp() + 600}, 200),
        (77, {"exp": NOON.timestamp() + 601}, 401),
        (77, {"exp": NOON.timestamp()}, 401),
        (77, {"exp": None}, 401),
        (77, {"iat": NOON.timestamp()}, 200),
        (77, {"iat": NOON.timestamp() + 1}, 401),
        (77, {"iat": "now"}, 401),
    ],
)
def test_the_claims_of_a_jwt_are_checked(
    fake: FakeGitHub, key: rsa.RSAPrivateKey, issuer: int | str, claims: dict[str, Any], status: int
) -> None:
    assert ask(fake, app_token(key, issuer, now=NOON, **claims), "GET", "/app").status_code == status


@pytest.mark.usefixtures("app")
def test_a_jwt_of_another_key_is_refused(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    good = app_token(key, 77, now=NOON)
    cut = good.rpartition(".")[0]
    for token in (app_token(stranger, 77, now=NOON), f"{cut}.", f"{cut}.AAAA", "a.b.c", "ü.b.c", "good"):
        answer = httpx.get(fake.url + "/app", headers={b"authorization": f"Bearer {token}".encode()})
        assert answer.status_code == 401, token
    assert ask(fake, good, "GET", "/user").status_code == 401


def test_the_app_names_its_events_and_permissions(
    fake: FakeGitHub, app: FakeApp, key: rsa.RSAPrivateKey
) -> None:
    fake.install("acme")
    told = ask(fake, app_token(key, 77, now=NOON), "GET", "/app").json()
    assert (told["id"], told["client_id"], told["events"]) == (77, "Iv1", ["issues"])
    assert (told["permissions"], told["installations_count"]) == (dict(app.permissions), 1)


@pytest.mark.usefixtures("app")
def test_a_token_of_an_installation_is_good_for_an_hour(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    token = minted(fake, key, fake.install("acme").id)
    assert ask(fake, token, "GET", "/repos/acme/web/hooks").status_code == 200
    fake.advance(minutes=59, seconds=59)
    assert ask(fake, token, "GET", "/repos/acme/web/hooks").status_code == 200
    fake.advance(seconds=1)
    assert ask(fake, token, "GET", "/repos/acme/web/hooks").status_code == 401


@pytest.mark.usefixtures("app")
def test_a_token_sees_what_its_installation_covers(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    whole, part = minted(fake, key, (one := fake.install("acme")).id), fake.install("other", ["other/site"])
    assert names(ask(fake, whole, "GET", "/installation/repositories")) == ["acme/web", "acme/api"]
    assert ask(fake, whole, "GET", "/repos/other/site/hooks").status_code == 404
    assert ask(fake, whole, "GET", "/orgs/other/hooks").status_code == 404
    narrow = minted(fake, key, one.id, repositories=["WEB"])
    assert names(ask(fake, narrow, "GET", "/installation/repositories")) == ["acme/web"]
    assert ask(fake, narrow, "GET", "/repos/acme/api/hooks").status_code == 404
    fake.add_repository("other/more")
    assert names(ask(fake, minted(fake, key, part.id), "GET", "/installation/repositories")) == ["other/site"]
    assert ask(fake, whole, "GET", "/user").status_code == 403


def names(answer: httpx.Response) -> list[str]:
    assert answer.json()["total_count"] == len(answer.json()["repositories"])
    return [repository["full_name"] for repository in answer.json()["repositories"]]


@pytest.mark.usefixtures("app")
def test_a_missing_permission_is_named(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    one = fake.install("acme", permissions={"repository_hooks": "read", "metadata": "read"})
    token = minted(fake, key, one.id)
    assert ask(fake, token, "GET", "/repos/acme/web/hooks").status_code == 200
    refused = ask(fake, token, "POST", "/repos/acme/web/hooks", config={"url": "http://127.0.0.1:9"})
    assert (refused.status_code, refused.json()["message"]) == (403, "Resource not accessible by integration")
    assert refused.headers["x-accepted-github-permissions"] == "repository_hooks=write"
    jwt = app_token(key, 77, now=NOON)
    more = ask(
        fake, jwt, "POST", f"/app/installations/{one.id}/access_tokens", permissions={"issues": "read"}
    )
    assert more.status_code == 422


@pytest.mark.usefixtures("app")
def test_an_uninstalled_app_is_let_in_no_longer(fake: FakeGitHub, key: rsa.RSAPrivateKey) -> None:
    first, second = fake.install("acme"), fake.install("other")
    token, other = minted(fake, key, first.id), minted(fake, key, second.id)
    fake.uninstall(first.id)
    fake.suspend(second.id)
    assert ask(fake, token, "GET", "/repos/acme/web/hooks").status_code == 401
    assert ask(fake, other, "GET", "/repos/other/site/hooks").status_code == 401
    jwt = app_token(key, 77, now=NOON)
    assert [
        ask(fake, jwt, "POST", f"/app/installations/{one.id}/access_tokens").status_code
        for one in (first, second)
    ] == [404, 403]
    fake.suspend(second.id, suspended=False)
    assert ask(fake, minted(fake, key, second.id), "GET", "/repos/other/site/hooks").status_code == 200


def test_all_installations_reach_one_webhook(fake: FakeGitHub, app: FakeApp, receiver: Receiver) -> None:
    first, second = fake.install("acme", ["acme/web"]), fake.install("other")
    fake.settle()
    assert sorted(json.loads(got.body)["installation"]["id"] for got in receiver.got) == [first.id, second.id]
    receiver.got.clear()
    for place, event in (
        ("acme/web", "issues"),
        ("acme/api", "issues"),  # not covered
        ("other/site", "issues"),
        ("other/site", "star"),  # not subscribed
    ):
        fake.emit(place, event, {"action": "opened", "at": place})
    told = [(json.loads(got.body)["at"], json.loads(got.body)["installation"]["id"]) for got in receiver.got]
    assert told == [("acme/web", first.id), ("other/site", second.id)]
    for got in receiver.got:
        assert got.headers["x-github-hook-id"] == str(app.hook.id)
        assert got.headers["x-github-hook-installation-target-type"] == "integration"
        assert got.headers["x-github-hook-installation-target-id"] == "77"
        assert got.signed_with("hush")


@pytest.mark.usefixtures("app")
def test_the_webhook_of_an_app_is_configured_and_its_deliveries_replayed(
    fake: FakeGitHub, key: rsa.RSAPrivateKey, receiver: Receiver
) -> None:
    one = fake.install("acme")
    fake.settle()
    jwt = app_token(key, 77, now=NOON)
    moved = ask(fake, jwt, "PATCH", "/app/hook/config", secret="new", url=f"{receiver.url}&moved")
    assert moved.json()["secret"] == "********"
    assert moved.json()["url"].endswith("&moved")
    assert fake.app_hook().secret == "new"
    [sent] = fake.emit("acme/web", "issues", {"action": "opened"})
    listed = ask(fake, jwt, "GET", "/app/hook/deliveries").json()
    assert [(entry["event"], entry["installation_id"]) for entry in listed] == [
        ("issues", one.id),
        ("installation", one.id),
    ]
    assert ask(fake, jwt, "POST", f"/app/hook/deliveries/{sent.id}/attempts").status_code == 202
    fake.settle()
    assert receiver.got[-1].signed_with("new")
    assert receiver.got[-1].headers["x-github-delivery"] == sent.delivery


@pytest.mark.anyio
@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_gidgethub_gets_along_with_it(key: rsa.RSAPrivateKey, anyio_backend: str) -> None:
    apps = pytest.importorskip("gidgethub.apps")
    from gidgethub.httpx import GitHubAPI

    with FakeGitHub() as fake:  # gidgethub reads the machine's clock
        app = fake.add_app(public_pem(key))
        one = fake.install("acme")
        async with httpx.AsyncClient() as http:
            hub = GitHubAPI(http, "tests", base_url=fake.url)
            got = await apps.get_installation_access_token(
                hub, installation_id=str(one.id), app_id=str(app.id), private_key=private_pem(key)
            )
            hub = GitHubAPI(http, "tests", base_url=fake.url, oauth_token=got["token"])
            for number in range(35):
                config = {"url": f"http://127.0.0.1:9/{number}"}
                await hub.post("/repos/acme/web/hooks", data={"config": config, "events": [f"e{number}"]})
            hooks = [hook["id"] async for hook in hub.getiter("/repos/acme/web/hooks")]
            assert hooks == [hook.id for hook in fake.hooks("acme/web")]
            assert len(hooks) == 35
    assert anyio_backend


@pytest.mark.usefixtures("app")
def test_what_an_installation_covers_is_changed_and_told(fake: FakeGitHub, receiver: Receiver) -> None:
    one = fake.install("acme", ["acme/web"])
    fake.settle()
    receiver.got.clear()
    fake.select(one.id, ["acme/api"])
    fake.settle()
    told = {said["action"]: said for said in (json.loads(got.body) for got in receiver.got)}
    assert {got.headers["x-github-event"] for got in receiver.got} == {"installation_repositories"}
    assert [repo["full_name"] for repo in told["added"]["repositories_added"]] == ["acme/api"]
    assert [repo["full_name"] for repo in told["removed"]["repositories_removed"]] == ["acme/web"]
    assert told["added"]["repositories_removed"] == told["removed"]["repositories_added"] == []
    fake.emit("acme/web", "issues", {})
    assert len(receiver.got) == 2


def test_time_does_not_go_back(fake: FakeGitHub) -> None:
    with pytest.raises(ValueError, match="step back"):
        fake.advance(timedelta(seconds=-1))
