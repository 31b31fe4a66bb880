"""The client against scripted answers: what it sends, and what it makes of refusals."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import httpx
import pytest
from hypothesis import given, strategies as st

from trigflow import ApiError, Forbidden, NotFound, RateLimited, Unauthorized, __version__
from trigflow_github.client import GitHubClient
from trigflow_github.client.connection import Connection
from trigflow_github.client.refusals import refusal
from trigflow_github.samples import samples

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = "ghp_averysecrettoken"
ISSUE: Any = json.loads(samples("issues")["opened"].read())["issue"]


class Scripted:
    """Answers from a list and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answers.pop(0)


def client(
    script: Callable[[httpx.Request], httpx.Response], base_url: str = "https://api.github.com"
) -> GitHubClient:
    transport = httpx.MockTransport(script)
    return GitHubClient(TOKEN, base_url=base_url, transport=transport, clock=lambda: NOW)


def refused(status: int, body: object, headers: Mapping[str, str] | None = None) -> Exception:
    return refusal("GitHub GET /x", status, headers or {}, json.dumps(body).encode(), now=NOW)


@pytest.mark.anyio
async def test_a_request_says_who_asks_and_for_which_version() -> None:
    script = Scripted(httpx.Response(200, json=ISSUE))
    async with client(script) as hub:
        issue = await hub.issue("acme/web", 1)
    asked = script.requests[0]
    assert (asked.method, str(asked.url)) == ("GET", "https://api.github.com/repos/acme/web/issues/1")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["accept"] == "application/vnd.github+json"
    assert asked.headers["x-github-api-version"] == "2022-11-28"
    assert asked.headers["user-agent"] == f"trigflow/{__version__}"
    assert issue.title == "Spelling error in the README file"


@pytest.mark.anyio
async def test_an_enterprise_server_is_asked_below_its_own_path() -> None:
    script = Scripted(httpx.Response(200, json=ISSUE))
    async with client(script, "https://git.acme.dev/api/v3/") as hub:
        await hub.issue("acme/web", 1)
    assert str(script.requests[0].url) == "https://git.acme.dev/api/v3/repos/acme/web/issues/1"


@pytest.mark.anyio
async def test_what_is_not_given_is_not_sent() -> None:
    script = Scripted(httpx.Response(200, json=ISSUE))
    async with client(script) as hub:
        await hub.close_issue("acme/web", 1, reason="not_planned")
    assert json.loads(script.requests[0].content) == {"state": "closed", "state_reason": "not_planned"}


@pytest.mark.anyio
async def test_a_label_is_quoted_in_the_path() -> None:
    script = Scripted(httpx.Response(200, json=[]))
    async with client(script) as hub:
        await hub.remove_label("acme/web", 1, "a/b ü?")
    assert script.requests[0].url.raw_path == b"/repos/acme/web/issues/1/labels/a%2Fb%20%C3%BC%3F"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "repo", ["acme", "acme/", "/web", "acme/web/x", "../web", "acme/..", "acme/w b", "a?/b", ""]
)
async def test_what_is_no_repository_is_refused_before_it_is_asked_for(repo: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        await client(Scripted()).issue(repo, 1)


@pytest.mark.anyio
async def test_a_path_never_steps_up() -> None:
    with pytest.raises(ValueError, match="can't be part of a path"):
        await client(Scripted()).remove_label("acme/web", 1, "..")


@pytest.mark.anyio
async def test_webhooks_need_one_owner() -> None:
    hub = client(Scripted())
    for owners in ({}, {"repo": "acme/web", "org": "acme"}):
        with pytest.raises(ValueError, match="one of repo="):
            await hub.hooks(**owners)


@pytest.mark.anyio
async def test_pages_are_followed_to_the_last() -> None:
    following = "https://api.github.com/repositories/7/pulls/2/files?page=2"
    first = httpx.Response(
        200, json=[changed("a"), changed("b")], headers={"link": f'<{following}>; rel="next"'}
    )
    script = Scripted(first, httpx.Response(200, json=[changed("c")]))
    async with client(script) as hub:
        files = await hub.pull_request_files("acme/web", 2)
    assert [file.filename for file in files] == ["a", "b", "c"]
    assert script.requests[0].url.params["per_page"] == "100"
    assert str(script.requests[1].url) == following


def changed(name: str) -> dict[str, object]:
    return {"filename": name, "status": "added", "additions": 1, "deletions": 0, "changes": 1, "sha": None}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.dev/x",
        "http://api.github.com/x",
        "https://api.github.com.evil.dev/x",
        "https://api.github.com:8443/x",
    ],
)
async def test_the_token_never_follows_a_link_to_another_host(elsewhere: str) -> None:
    script = Scripted(httpx.Response(200, json=[], headers={"link": f'<{elsewhere}>; rel="next"'}))
    async with client(script) as hub:
        with pytest.raises(ApiError, match="the token stays there"):
            await hub.hooks(repo="acme/web")
    assert len(script.requests) == 1


@pytest.mark.anyio
async def test_pages_in_a_circle_end() -> None:
    link = {"link": '<https://api.github.com/x>; rel="next"'}
    script = Scripted(*[httpx.Response(200, json=[], headers=link) for _ in range(3)])
    async with client(script) as hub:
        with pytest.raises(ApiError, match="circle"):
            await hub.hooks(org="acme")


@pytest.mark.anyio
async def test_a_redirect_is_an_error_that_tells_of_a_new_name() -> None:
    script = Scripted(
        httpx.Response(301, json={"message": "Moved Permanently"}, headers={"location": "https://evil.dev"})
    )
    async with client(script) as hub:
        with pytest.raises(ApiError, match="renamed"):
            await hub.issue("acme/web", 1)
    assert len(script.requests) == 1


@pytest.mark.anyio
async def test_an_unreachable_github_is_an_api_error_without_status() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with client(refuse) as hub:
        with pytest.raises(ApiError, match=r"no answer from .*: ConnectError") as caught:
            await hub.issue("acme/web", 1)
    assert caught.value.status == 0


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": 1}', b"\xff\xfe", b"[]"])
async def test_an_answer_that_does_not_fit_is_an_api_error(body: bytes) -> None:
    async with client(Scripted(httpx.Response(200, content=body))) as hub:
        with pytest.raises(ApiError, match="can't be read"):
            await hub.issue("acme/web", 1)


@pytest.mark.anyio
async def test_a_secret_goes_with_its_url_or_alone() -> None:
    hub = client(Scripted())
    with pytest.raises(ValueError, match="configure_hook"):
        await hub.update_hook(1, repo="acme/web", secret="hush")
    with pytest.raises(ValueError, match="give events"):
        await hub.update_hook(1, org="acme", add_events=["push"])


@pytest.mark.anyio
async def test_one_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(TypeError, match="give a list"):
        await client(Scripted()).add_labels("acme/web", 1, "bug")


@pytest.mark.anyio
async def test_scopes_are_read_where_the_token_has_some() -> None:
    me = {"login": "octocat", "id": 1}
    script = Scripted(
        httpx.Response(200, json=me, headers={"x-oauth-scopes": "repo, admin:org_hook"}),
        httpx.Response(200, json=me, headers={"x-oauth-scopes": ""}),
        httpx.Response(200, json=me),
    )
    async with client(script) as hub:
        scopes = [(await hub.viewer()).scopes for _ in range(3)]
    assert scopes == [("repo", "admin:org_hook"), (), None]


def test_bad_credentials_are_unauthorized() -> None:
    error = refused(401, {"message": "Bad credentials", "status": "401"})
    assert type(error) is Unauthorized
    assert "Bad credentials" in str(error)


def test_a_missing_permission_is_named() -> None:
    error = refused(
        403,
        {"message": "Resource not accessible by personal access token"},
        {"x-accepted-github-permissions": "repository_hooks=write", "x-ratelimit-remaining": "4990"},
    )
    assert type(error) is Forbidden
    assert "repository_hooks=write" in str(error)


def test_not_found_says_that_a_missing_scope_looks_the_same() -> None:
    headers = {"x-accepted-oauth-scopes": "admin:repo_hook, repo", "x-oauth-scopes": "gist"}
    error = refused(404, {"message": "Not Found"}, headers)
    assert isinstance(error, NotFound)
    assert "scope" in str(error)
    assert "has gist" in str(error)


def test_validation_errors_are_quoted() -> None:
    listed = [
        {"resource": "Hook", "code": "custom", "message": "Invalid config attribute: content-type"},
        {"resource": "Hook", "field": "name", "code": "invalid"},
        "only text",
    ]
    error = refused(422, {"message": "Validation Failed", "errors": listed})
    assert isinstance(error, ApiError)
    assert error.message == (
        "Validation Failed: Invalid config attribute: content-type; Hook.name invalid; only text"
    )


SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


@given(st.sampled_from([403, 429]), st.integers(0, 86_400))
def test_retry_after_is_believed(status: int, seconds: int) -> None:
    error = refused(
        status, {"message": SECONDARY}, {"retry-after": str(seconds), "x-ratelimit-remaining": "0"}
    )
    assert isinstance(error, RateLimited)
    assert error.until == NOW + timedelta(seconds=seconds)


@given(st.sampled_from([403, 429]), st.integers(0, 86_400))
def test_a_used_up_limit_ends_at_its_reset(status: int, seconds: int) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + seconds)}
    error = refused(status, {"message": "API rate limit exceeded for user ID 1."}, headers)
    assert isinstance(error, RateLimited)
    assert error.until == NOW + timedelta(seconds=seconds)


def test_a_secondary_limit_without_a_time_is_a_minute() -> None:
    error = refused(403, {"message": SECONDARY}, {"x-ratelimit-remaining": "4000", "x-ratelimit-reset": "9"})
    assert isinstance(error, RateLimited)
    assert error.until == NOW + timedelta(minutes=1)


@given(st.sampled_from([403, 429]), st.integers(1, 15_000), st.none() | st.integers(-1000, 1000))
def test_without_a_time_github_is_left_alone_for_a_minute(status: int, left: int, reset: int | None) -> None:
    said = {} if reset is None else {"x-ratelimit-reset": str(int(NOW.timestamp()) + reset)}
    error = refused(status, {"message": SECONDARY}, {"x-ratelimit-remaining": str(left), **said})
    assert isinstance(error, RateLimited)
    assert error.until == NOW + timedelta(seconds=60)


@pytest.mark.parametrize("left", [{}, {"x-ratelimit-remaining": "4000"}])
def test_the_abuse_detection_of_older_servers_is_a_limit_too(left: dict[str, str]) -> None:
    said = "You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."
    error = refused(403, {"message": said}, left)
    assert isinstance(error, RateLimited)
    assert error.until == NOW + timedelta(minutes=1)


@pytest.mark.anyio
async def test_a_client_that_was_given_stays_open_and_keeps_its_own_headers() -> None:
    script = Scripted(httpx.Response(200, json=ISSUE))
    async with httpx.AsyncClient(transport=httpx.MockTransport(script), follow_redirects=True) as http:
        async with GitHubClient(TOKEN, http=http) as hub:
            await hub.issue("acme/web", 1)
        assert not http.is_closed
        assert TOKEN not in str(http.headers)
    assert script.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.anyio
async def test_a_client_that_was_given_follows_no_redirect_either() -> None:
    script = Scripted(httpx.Response(302, headers={"location": "https://evil.dev"}))
    async with httpx.AsyncClient(transport=httpx.MockTransport(script), follow_redirects=True) as http:
        with pytest.raises(ApiError, match="302"):
            await GitHubClient(TOKEN, http=http).issue("acme/web", 1)
    assert len(script.requests) == 1


# Near-valid on purpose: these are what a careless int() or timedelta() trips over.
numbers = st.sampled_from(["", "²", "1" * 5000, "-5", " 7", "7\n", "999999999999", "0"]) | st.text()
statuses = st.integers(300, 999)


@given(statuses, numbers, numbers, numbers)
def test_no_header_breaks_the_error_or_makes_the_wait_absurd(
    status: int, after: str, reset: str, left: str
) -> None:
    headers = {"retry-after": after, "x-ratelimit-reset": reset, "x-ratelimit-remaining": left}
    error = refused(status, {"message": SECONDARY}, headers)
    if isinstance(error, RateLimited):
        assert NOW <= error.until <= NOW + timedelta(days=1)


@given(statuses, st.binary() | st.sampled_from([b"[" * 10_000, b'{"message": 1}', b'{"errors": [null, {}]}']))
def test_no_body_breaks_the_error(status: int, body: bytes) -> None:
    assert str(refusal("GitHub GET /x", status, {}, body, now=NOW)).startswith("GitHub GET /x")


@pytest.mark.anyio
async def test_the_token_shows_nowhere() -> None:
    script = Scripted(httpx.Response(401, json={"message": "Bad credentials"}))
    async with client(script) as hub:
        with pytest.raises(Unauthorized) as caught:
            await hub.issue("acme/web", 1)
        shown = [repr(hub), str(hub), repr(caught.value), str(caught.value), repr(script.requests[0].headers)]
    assert not [text for text in shown if TOKEN in text]


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ü", " "])
def test_what_can_be_no_token_is_refused_unquoted(token: str) -> None:
    with pytest.raises(ValueError, match="GITHUB_TOKEN") as caught:
        GitHubClient(token)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.acme.dev",
        "ftp://x",
        "",
        "https://",
        "https://u:p@x.dev",
        "https://x.dev?a=b",
        "api.github.com",
    ],
)
def test_the_token_goes_encrypted_or_stays_on_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="https://HOST/api/v3"):
        GitHubClient(TOKEN, base_url=url)


def test_every_method_can_be_a_task() -> None:
    """A task's result is structured into what the method's annotation says, read at run time."""
    kinds = [kind for kind in GitHubClient.__mro__ if issubclass(kind, Connection) and kind is not Connection]
    found = {
        name: method for kind in kinds for name, method in vars(kind).items() if not name.startswith("_")
    }
    methods = list(found.values())
    assert len(methods) > 30
    assert all("return" in get_type_hints(method) for method in methods)


def test_the_http_client_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, trigflow\n"
        "sys.modules.pop('httpx', None)\n"
        "import trigflow_github.client\n"
        "trigflow_github.client.GitHubClient('token')\n"
        "assert 'httpx' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
