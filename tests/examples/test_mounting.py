"""Every framework's example, in a real server, from GitHub's signed request to the job's API call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import httpx
import pytest

from tests.examples.served import Served, ended, listening, load, serving
from trigflow import App, SetupError
from trigflow_github.testing import FakeGitHub

FRAMEWORKS = ["starlette", "fastapi", "litestar", "django", "flask"]
pytestmark = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as fake:
        yield fake


@contextmanager
def mounted(
    framework: str, github: FakeGitHub, patch: pytest.MonkeyPatch, path: str = "/hooks"
) -> Iterator[tuple[ModuleType, Served]]:
    """Serve an example; `path` is what the url setting says."""
    with listening() as (held, url):
        patch.setenv("TRIGFLOW_URL", url + path)
        patch.setenv("TRIGFLOW_STORE", "memory:")
        patch.setenv("TRIGFLOW_REGISTER", "off")
        patch.setenv("GITHUB_TOKEN", "fake-token")
        patch.setenv("GITHUB_API_URL", github.url)
        module = load(f"mount_{framework}")
        with serving(module.app, held, url) as served:
            yield module, served


def test_a_signed_delivery_reaches_the_job(
    framework: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(framework, github, monkeypatch) as (module, served):
        hooks: App = module.hooks
        served.call(hooks.opened.registering.probe)
        served.call(hooks.apply)
        github.settle()
        (attempt,) = github.emit("acme/web", "issues", github.payload("acme/web", "issues", "opened"))

        assert attempt.url.startswith(f"{served.url}/hooks/e/")
        assert attempt.status == 200
        assert served.call(lambda: ended(hooks, next(iter(hooks.jobs)))) == ["succeeded"]
        assert github.comments("acme/web", 1) == ["Thank you!"]


def test_a_forged_delivery_is_refused(
    framework: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(framework, github, monkeypatch) as (module, served):
        served.call(module.hooks.apply)
        github.settle()
        (hook,) = github.hooks("acme/web")

        payload = github.payload("acme/web", "issues", "opened")
        assert github.forge(hook, "issues", payload).status == 401


def test_the_hosts_own_route_works(
    framework: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(framework, github, monkeypatch) as (_, served):
        assert httpx.get(f"{served.url}/").text == "home"
        assert httpx.get(f"{served.url}/hooks/healthz").json()["status"] == "ok"


@pytest.mark.parametrize("path", ["", "/elsewhere"])
def test_a_wrong_prefix_is_found_and_the_remedy_named(
    framework: str, path: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(framework, github, monkeypatch, path) as (module, served):
        with pytest.raises(SetupError, match=rf"TRIGFLOW_URL\).* mount prefix, such as {served.url}/hooks"):
            served.call(module.hooks.opened.registering.probe)

        # Once anything has come in under the mount, the real prefix is known.
        httpx.get(f"{served.url}/hooks/healthz")
        with pytest.raises(SetupError, match=f"mounted under '/hooks'; .* to '{served.url}/hooks'"):
            served.call(module.hooks.opened.registering.probe)


def test_a_prefix_that_is_too_long_is_found_at_once(
    framework: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        mounted(framework, github, monkeypatch, "/hooks/more") as (module, served),
        pytest.raises(SetupError, match=f"mounted under '/hooks'; .* to '{served.url}/hooks'"),
    ):
        served.call(module.hooks.opened.registering.probe)


def test_a_slash_at_the_end_of_the_url_does_not_matter(
    framework: str, github: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mounted(framework, github, monkeypatch, "/hooks/") as (module, served):
        served.call(module.hooks.opened.registering.probe)
        served.call(module.hooks.apply)
        github.settle()

        assert [hook.url.startswith(f"{served.url}/hooks/e/") for hook in github.hooks("acme/web")] == [True]
