"""How webhooks of a repository, an organization and a GitHub App come to be, change and go."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from trigflow import (
    ApiError,
    Events,
    Headers,
    Registration,
    RegistrationError,
    Request,
    SetupError,
    Unauthorized,
    Webhook,
)
from trigflow_github import GitHub, GitHubClient
from trigflow_github.source import HookId, Place, webhook

MARK = "/e/abcdefgh/"
URL = f"https://hooks.acme.dev{MARK}{'a' * 32}"
OTHER_STORES = f"https://hooks.acme.dev/e/zzzzzzzz/{'b' * 32}"
JWT = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln"
PERSONAL = "ghp_secret"
APP = Place(app=True)
REPO = Place(repo="acme/web")
assert webhook.api is not None
api = webhook.api


class GitHubApp:
    """An App at GitHub: its webhook's configuration can be read and changed, its events only read."""

    def __init__(
        self,
        url: str = "",
        events: Sequence[str] = ("issues", "push"),
        permissions: dict[str, str] | None = None,
    ) -> None:
        self.config: dict[str, Any] = {"content_type": "form", "insecure_ssl": "0"} | (
            {"url": url} if url else {}
        )
        self.events, self.permissions = list(events), permissions
        self.writes: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {JWT}"
        match request.method, request.url.path:
            case "GET", "/app":
                told = {"id": 7, "name": "Acme bot", "events": self.events, "permissions": self.permissions}
                return httpx.Response(200, json=told)
            case "GET", "/app/hook/config":
                return httpx.Response(200, json=self.config)
            case "PATCH", "/app/hook/config":
                self.writes.append(json.loads(request.content))
                self.config |= self.writes[-1]
                return httpx.Response(200, json={**self.config, "secret": "********"})
            case method, path:
                raise AssertionError(f"{method} {path}")


def client(handler: Any, token: str = JWT) -> GitHubClient:
    return GitHubClient(token, transport=httpx.MockTransport(handler))


def wanting(*events: str, place: Place = APP, url: str = URL) -> Registration[Place, HookId]:
    return Registration(url, place, Events(events), "hush", None, MARK)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "at_first", ["", "https://example.com/webhook", "https://x.invalid", "http://localhost:80"]
)
async def test_the_webhook_of_an_app_is_taken_where_it_leads_nowhere(at_first: str) -> None:
    app = GitHubApp(at_first)
    made = await api.create(wanting("issues"), client(app))
    assert app.writes == [{"url": URL, "content_type": "json", "insecure_ssl": "0", "secret": "hush"}]
    assert (made.url, made.events, made.active) == (URL, ("issues", "push"), True)
    assert await api.list(APP, client(app)) == [made]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "theirs", [OTHER_STORES, "https://acme.dev/github", "https://example.com.acme.dev/x"]
)
async def test_the_webhook_of_an_app_is_never_taken_from_somebody_else(theirs: str) -> None:
    app = GitHubApp(theirs)
    with pytest.raises(
        RegistrationError, match=r"leads to (hooks\.|example\.com\.)?acme\.dev already"
    ) as caught:
        await api.create(wanting("issues"), client(app))
    assert app.writes == []
    assert theirs not in str(caught.value)  # the path of an endpoint is a secret


@pytest.mark.anyio
async def test_an_endpoint_of_our_own_that_was_forgotten_gives_way() -> None:
    app = GitHubApp(f"https://old.acme.dev{MARK}{'c' * 32}")
    await api.create(wanting("issues"), client(app))
    assert app.config["url"] == URL


@pytest.mark.anyio
async def test_an_app_without_a_url_has_no_webhook() -> None:
    assert await api.list(APP, client(GitHubApp())) == []


@pytest.mark.anyio
async def test_events_that_are_not_ticked_are_named_and_the_others_arrive() -> None:
    app = GitHubApp(events=["push"])
    with pytest.raises(RegistrationError, match=r"Acme bot is not sent issues, star, .*Subscribe") as caught:
        await api.create(wanting("issues", "push", "star"), client(app))
    assert type(caught.value) is RegistrationError
    assert app.config["url"] == URL


@pytest.mark.anyio
async def test_what_the_app_may_not_see_is_named_with_the_permission_that_it_lacks() -> None:
    app = GitHubApp(events=["push"], permissions={"contents": "read", "metadata": "read"})
    with pytest.raises(
        RegistrationError, match=r"not sent issues \(needs at least read access to Issues .*\), star, and no"
    ):
        await api.create(wanting("issues", "push", "star"), client(app))


@pytest.mark.anyio
async def test_events_that_every_app_gets_need_no_tick() -> None:
    made = await api.create(wanting("installation", "push"), client(GitHubApp(events=["push"])))
    assert set(made.events) == {"installation", "push"}


@pytest.mark.anyio
async def test_the_secret_of_an_app_is_told_with_every_change() -> None:
    app = GitHubApp(OTHER_STORES)
    await api.update(wanting("push"), Webhook(OTHER_STORES, ("push",), HookId(7)), client(app))
    assert app.writes[0]["secret"] == "hush"


@pytest.mark.anyio
async def test_removing_the_webhook_of_an_app_waits_for_a_person_and_ends() -> None:
    app = GitHubApp(URL)
    [found] = await api.list(APP, client(app))
    with pytest.raises(RegistrationError, match="enter another Webhook URL"):
        await api.delete(wanting(), found, client(app))
    app.config["url"] = "https://acme.dev/elsewhere"
    await api.delete(wanting(), found, client(app))
    assert app.writes == []


@pytest.mark.anyio
@pytest.mark.parametrize("token", [PERSONAL, "ghs_secret"])
async def test_only_the_app_itself_looks_after_its_webhook(token: str) -> None:
    def asked(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    with pytest.raises(Unauthorized, match="GITHUB_APP_PRIVATE_KEY"):
        await api.list(APP, client(asked, token))


def test_all_installations_of_an_app_share_one_webhook() -> None:
    through_app = GitHub(app=True)
    key = {
        webhook.key_of(one.issues(repo=repo).params)
        for one in (through_app, through_app.through("b"))
        for repo in (None, "a/b")
    }
    assert key == {"app"}
    assert webhook.is_shared(APP)
    assert not webhook.is_shared(REPO)


@given(st.integers(1, 2**53))
def test_a_delivery_names_its_installation_as_a_connection_does(number: int) -> None:
    body = json.dumps({"action": "opened", "installation": {"node_id": "x", "id": number}}).encode()
    request = Request("POST", URL, Headers.of({"content-type": "application/json"}), body)
    assert webhook.account is not None
    assert webhook.account.values(request) == [str(number).encode()]


def shown(number: int, events: Sequence[str] = ("issues",), url: str = "https://x.dev") -> dict[str, Any]:
    at = "2026-01-02T03:04:05Z"
    config = {"url": url, "content_type": "json", "insecure_ssl": "0"}
    about = {"type": "Repository", "id": number, "name": "web", "active": True, "config": config}
    return {**about, "events": list(events), "created_at": at, "updated_at": at}


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
async def test_however_many_webhooks_a_place_has_all_are_listed(count: int) -> None:
    def pages(request: httpx.Request) -> httpx.Response:
        size, page = int(request.url.params["per_page"]), int(request.url.params.get("page", 1))
        rest = range(count)[(page - 1) * size :]
        following = request.url.copy_set_param("page", page + 1)
        link = {"link": f'<{following}>; rel="next"'} if len(rest) > size else {}
        return httpx.Response(200, json=[shown(number) for number in rest[:size]], headers=link)

    found = await api.list(REPO, client(pages, PERSONAL))
    assert [one.data for one in found] == [HookId(number) for number in range(count)]


@pytest.mark.anyio
async def test_what_is_gone_was_deleted_and_what_may_not_be_deleted_was_not() -> None:
    gone = True

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE" or gone:
            return httpx.Response(404, json={"message": "Not Found"})
        return httpx.Response(200, json=shown(3))

    hub, found = client(answer, PERSONAL), Webhook(URL, (), HookId(3))
    await api.delete(wanting(place=REPO), found, hub)
    gone = False
    with pytest.raises(Unauthorized, match="admin:repo_hook"):
        await api.delete(wanting(place=REPO), found, hub)


REFUSALS = {
    "Hook already exists on this repository": "apply again",
    "Hook already exists on this organization": "apply again",
    'The "push" event cannot have more than 20 hooks': "remove one that nobody needs",
    "url is not supported because it isn't reachable over the public Internet (localhost)": "TRIGFLOW_URL",
}


@pytest.mark.anyio
@pytest.mark.parametrize(("said", "remedy"), REFUSALS.items())
async def test_a_webhook_that_github_refuses_is_refused_with_what_helps(said: str, remedy: str) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        error = {"resource": "Hook", "code": "custom", "message": said}
        return httpx.Response(422, json={"message": "Validation Failed", "errors": [error]})

    with pytest.raises(ApiError) as caught:
        await api.create(wanting("push", place=REPO), client(refuse, PERSONAL))
    assert said in str(caught.value)
    assert remedy in str(caught.value)


class Pinged:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        return httpx.Response(204)


@pytest.mark.anyio
async def test_a_registered_webhook_can_be_pinged_but_not_that_of_an_app() -> None:
    from trigflow_github.source import ping

    pinged = Pinged()
    for place in (REPO, Place(org="acme")):
        await ping(Registration(URL, place, Events(()), "", HookId(3), MARK), client(pinged, PERSONAL))
    assert pinged.asked == [("POST", "/repos/acme/web/hooks/3/pings"), ("POST", "/orgs/acme/hooks/3/pings")]
    with pytest.raises(RegistrationError, match="no ping"):
        await ping(Registration(URL, APP, Events(()), "", HookId(7), MARK), client(pinged))
    with pytest.raises(RegistrationError, match="register it first"):
        await ping(wanting(place=REPO), client(pinged, PERSONAL))


def test_a_repository_of_an_app_is_a_filter() -> None:
    wanted = GitHub(app=True).issues(repo="acme/web", actions=["opened"])
    assert wanted.params == Place(app=True)
    assert wanted.filter == {
        "repository": {"full_name": {"$ignoreCaseEquals": "acme/web"}},
        "action": ["opened"],
    }
    assert GitHub(app=True).issues().filter is None
    assert GitHub(app=True, org="acme").push().filter == {
        "organization": {"login": {"$ignoreCaseEquals": "acme"}}
    }


names = st.text(st.sampled_from("aB9-._/ ü\n"), max_size=8)


@given(names)
def test_no_name_that_github_has_not_gets_into_a_filter_or_a_key(name: str) -> None:
    owner, slash, rest = name.partition("/")
    good = bool(
        slash
        and owner
        and rest
        and owner[0] in "aB9"
        and set(owner) <= set("aB9-")
        and set(rest) <= set("aB9-._")
    )
    try:
        webhook.key_of(Place(repo=name))
    except SetupError:
        assert not good
    else:
        assert good
    try:
        wanted = GitHub(app=True).ping(repo=name)
    except SetupError:
        assert not good
    else:
        assert (wanted.filter is not None) == bool(name)
