"""The example whose users choose repositories, served, with a fake GitHub."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import attrs
import httpx
import pytest

from tests.examples.served import Served, ended, listening, load, serving
from trigflow import App
from trigflow_github.testing import FakeGitHub


@attrs.frozen
class Site:
    fake: FakeGitHub
    hooks: App
    served: Served
    http: httpx.Client


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with FakeGitHub(token="secret-token") as fake, listening() as (held, url):
        fake.add_repository("ada/home")
        monkeypatch.setenv("GITHUB_API_URL", fake.url)
        monkeypatch.setenv("GITHUB_TOKEN", "secret-token")
        monkeypatch.setenv("TRIGFLOW_STORE", "memory:")
        monkeypatch.setenv("TRIGFLOW_URL", f"{url}/hooks")
        module = load("user_repositories")
        with serving(module.site, held, url) as served, httpx.Client(base_url=url) as http:
            yield Site(fake, module.hooks, served, http)


def test_a_user_follows_a_repository_hears_of_its_issues_and_unfollows_it(site: Site) -> None:
    for user, plan in (("ada", "pro"), ("bob", "free")):
        answer = site.http.put(f"/follow/{user}", json={"repo": "ada/home", "plan": plan})
        assert answer.status_code == 204
    assert [hook.events for hook in site.fake.hooks("ada/home")] == [("issues",)]
    site.fake.emit("ada/home", "issues", site.fake.payload("ada/home", "issues", "opened"))
    (job,) = site.hooks.jobs
    assert site.served.call(lambda: ended(site.hooks, job)) == ["succeeded"] * 2
    listed = site.http.get("/follow").json()
    assert [(one["user"], one["repo"], one["state"]) for one in listed] == [
        ("ada", "ada/home", "active"),
        ("bob", "ada/home", "active"),
    ]
    gone = [site.http.delete(f"/follow/{user}").status_code for user in ("ada", "bob", "eve")]
    assert gone == [204, 204, 404]

    async def removed() -> None:
        while site.fake.hooks("ada/home"):  # the app may be doing it already
            await site.hooks.apply()
            await anyio.sleep(0.01)

    site.served.call(removed)


def test_a_repository_that_can_not_be_followed_is_told_and_not_kept(site: Site) -> None:
    answer = site.http.put("/follow/ada", json={"repo": "ada/none"})
    assert answer.status_code == 409
    assert "ada/none" in answer.json()["problem"]
    assert site.http.get("/follow").json() == []
