"""Whose credentials they are, what they lack, where an App is installed, what may be chosen."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from trigflow import Choice, Credentials, Unauthorized
from trigflow_github import GitHub, GitHubClient
from trigflow_github.accounts import missing
from trigflow_github.source import webhook

PERSONAL, JWT, INSTALLATION = "ghp_x", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "ghs_x"
ME = {"login": "octocat", "id": 583231}


def client(answers: Mapping[str, httpx.Response], token: str, **more: Any) -> GitHubClient:
    return GitHubClient(
        token, transport=httpx.MockTransport(lambda request: answers[request.url.path]), **more
    )


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scopes", "lacks"),
    [("repo, gist", ()), ("write:repo_hook", ()), ("gist", ("admin:repo_hook",)), ("", ("admin:repo_hook",))],
)
async def test_a_classic_token_is_told_which_scope_it_lacks(scopes: str, lacks: tuple[str, ...]) -> None:
    hub = client({"/user": httpx.Response(200, json=ME, headers={"x-oauth-scopes": scopes})}, PERSONAL)
    checked = await GitHub(repo="acme/web").check(hub)
    assert (checked.account, checked.label, checked.missing) == ("583231", "octocat", lacks)


@pytest.mark.anyio
async def test_a_fine_grained_token_has_no_scopes_to_lack() -> None:
    hub = client({"/user": httpx.Response(200, json=ME)}, PERSONAL)
    assert (await GitHub(org="acme").check(hub)).missing == ()


@pytest.mark.anyio
async def test_bad_credentials_are_refused() -> None:
    hub = client({"/user": httpx.Response(401, json={"message": "Bad credentials"})}, PERSONAL)
    with pytest.raises(Unauthorized, match="Bad credentials"):
        await GitHub().check(hub)


# What GitHub documents: any of these lets a token make webhooks of the kind.
MAKES = {"repo": {"repo", "public_repo", "write:repo_hook", "admin:repo_hook"}, "org": {"admin:org_hook"}}
scopes = st.lists(
    st.sampled_from(sorted({*MAKES["repo"], *MAKES["org"], "gist", "read:repo_hook", "read:org"}))
)


@given(scopes, st.booleans(), st.booleans())
def test_adding_the_missing_scopes_is_enough_and_needed(has: list[str], repo: bool, org: bool) -> None:
    lacks = missing(has, repo=repo, org=org)
    assert missing([*has, *lacks], repo=repo, org=org) == ()
    may_repo, may_org = (bool(MAKES[kind] & set(has)) for kind in ("repo", "org"))
    good = (may_repo or not repo) and (may_org or not org) if repo or org else may_repo or may_org
    assert (lacks == ()) == good


@pytest.mark.anyio
async def test_an_app_and_its_installation_are_checked_where_they_may_ask() -> None:
    hub = client({"/app": httpx.Response(200, json={"id": 7, "name": "Acme bot"})}, JWT)
    checked = await GitHub(app=True).check(hub)
    assert (checked.account, checked.label) == ("7", "Acme bot")
    page = httpx.Response(200, json={"total_count": 1, "repositories": [{"full_name": "acme/web"}]})
    hub = client({"/installation/repositories": page}, INSTALLATION, installation="42")
    checked = await GitHub(app=True).check(hub)
    assert (checked.account, checked.label) == ("42", "acme")


@pytest.mark.anyio
async def test_an_installation_without_repositories_is_named_by_its_number() -> None:
    page = httpx.Response(200, json={"total_count": 0, "repositories": []})
    checked = await GitHub().check(
        client({"/installation/repositories": page}, INSTALLATION, installation="42")
    )
    assert checked.label == "installation 42"


def test_the_client_of_a_connection_knows_its_installation() -> None:
    hub = GitHub().client(Credentials({"token": INSTALLATION, "installation_id": "42"}))
    assert (hub.acts_as, hub.installation) == ("installation", "42")
    assert GitHub().client(Credentials({"token": JWT})).acts_as == "app"
    assert GitHub().client(Credentials({"token": PERSONAL})).acts_as == "user"


@pytest.mark.anyio
async def test_each_installation_that_is_not_suspended_is_an_account() -> None:
    found = [
        {"id": 1, "account": {"login": "acme", "id": 11}},
        {"id": 2, "account": {"login": "off", "id": 12}, "suspended_at": "2026-01-02T03:04:05Z"},
        {"id": 3, "account": {"slug": "big-corp", "id": 13}},
        {"id": 4, "account": None},
    ]
    hub = client({"/app/installations": httpx.Response(200, json=found)}, JWT)
    accounts = await GitHub().accounts(hub)
    assert [(one.name, one.id, dict(one.values)) for one in accounts] == [
        ("acme", "1", {"installation_id": "1"}),
        ("big-corp", "3", {"installation_id": "3"}),
        ("4", "4", {"installation_id": "4"}),
    ]
    assert await GitHub().accounts(client({}, PERSONAL)) == ()


@pytest.mark.anyio
async def test_accounts_of_the_same_name_are_told_apart() -> None:
    found = [
        {"id": 1, "account": {"login": "Acme", "id": 11}},
        {"id": 2, "account": {"slug": "acme", "id": 12}},
        {"id": 3, "account": {"login": "other", "id": 13}},
    ]
    hub = client({"/app/installations": httpx.Response(200, json=found)}, JWT)
    accounts = await GitHub().accounts(hub)
    assert [(one.name, one.id) for one in accounts] == [("Acme-1", "1"), ("acme-2", "2"), ("other", "3")]


def pages(count: int, wrap: Callable[[list[Any]], Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Serve a list of repositories as GitHub does, page by page."""

    def answer(request: httpx.Request) -> httpx.Response:
        size, page = int(request.url.params["per_page"]), int(request.url.params["page"])
        rest = [{"full_name": f"acme/{number}"} for number in range(count)][(page - 1) * size :]
        following = request.url.copy_set_param("page", page + 1)
        link = {"link": f'<{following}>; rel="next"'} if len(rest) > size else {}
        return httpx.Response(200, json=wrap(rest[:size]), headers=link)

    return answer


async def chosen(hub: GitHubClient, param: str = "repo") -> tuple[list[str], list[str]]:
    """Walk all pages; returns the values and the names of the pages."""
    values: list[str] = []
    seen: list[str] = []
    page: str | None = None
    while len(seen) < 10:
        choices = await webhook.option_hooks[param](hub, page)
        values += [choice.value for choice in choices.items]
        if choices.next is None:
            return values, seen
        page = choices.next
        seen.append(page)
    raise AssertionError("the pages do not end")


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
@pytest.mark.parametrize("token", [PERSONAL, INSTALLATION])
async def test_all_repositories_can_be_chosen_page_by_page(count: int, token: str) -> None:
    def wrap(page: list[Any]) -> Any:
        return page if token == PERSONAL else {"total_count": count, "repositories": page}

    hub = GitHubClient(token, transport=httpx.MockTransport(pages(count, wrap)))
    values, names = await chosen(hub)
    assert values == [f"acme/{number}" for number in range(count)]
    assert not [name for name in names if not name.isdigit()]  # a page's name is never a URL


@pytest.mark.anyio
@pytest.mark.parametrize("page", ["", "0", "-1", "²", "1" * 400, "https://evil.dev/?page=2", "2&x=y", "2\n"])
async def test_what_is_no_page_is_asked_of_nobody(page: str) -> None:
    with pytest.raises(ValueError, match="not a page"):
        await webhook.option_hooks["repo"](client({}, PERSONAL), page)


@pytest.mark.anyio
async def test_a_choice_says_what_stands_in_its_way() -> None:
    listed = [{"full_name": "a/b"}, {"full_name": "a/c", "private": True, "archived": True}]
    hub = client({"/user/repos": httpx.Response(200, json=listed)}, PERSONAL)
    choices = await webhook.option_hooks["repo"](hub, None)
    assert list(choices.items) == [
        Choice("a/b", "a/b"),
        Choice("a/c", "a/c (private, archived, so it takes no webhooks)"),
    ]


@pytest.mark.anyio
async def test_organizations_are_a_persons_to_choose() -> None:
    hub = client(
        {"/user/orgs": httpx.Response(200, json=[{"login": "acme", "description": "Tools"}])}, PERSONAL
    )
    assert list((await webhook.option_hooks["org"](hub, None)).items) == [Choice("acme", "Tools")]
    assert await chosen(client({}, INSTALLATION), "org") == ([], [])
    assert await chosen(client({}, JWT), "repo") == ([], [])
