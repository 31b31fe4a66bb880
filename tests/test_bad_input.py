"""What can't be meant is refused where it is written, with what to write instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trigflow import App, SettingsError, SetupError, Unauthorized, dynamic, trigger
from trigflow_github import GitHub, github
from trigflow_github.testing import FakeGitHub
from trigflow_stripe import stripe

HOOKS = "https://hooks.example.com"
anything: Any = App  # what is given where a type checker would refuse it


@trigger(github.issues(repo="acme/web"))
async def triage(payload: dict[str, Any]) -> None: ...


repos = dynamic("repos", github.issues)


@trigger(repos)
async def tell(payload: dict[str, Any]) -> None: ...


# --- settings


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "hooks.example.com",
        "ftp://x",
        "https://",
        "https://a b",
        "https://a\tb",
        5,
        b"https://x",
    ],
)
def test_a_public_url_that_is_none_is_shown_one(url: object) -> None:
    with pytest.raises(SettingsError, match=r"^url: .*(https://hooks\.example\.com|use a text)"):
        anything(url=url)


@pytest.mark.parametrize("register", ["yes", "Auto", True, ""])
def test_register_names_its_three_values(register: object) -> None:
    with pytest.raises(SettingsError, match="use auto, plan or off"):
        anything(register=register)


@given(
    st.sampled_from(["store", "url", "secret_key", "alert_url", "alert_secret"]),
    st.integers() | st.binary() | st.lists(st.text()) | st.booleans(),
)
def test_a_text_that_is_none_is_refused_and_not_shown_since_it_may_be_a_secret(
    name: str, found: object
) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: is of type {type(found).__name__}; use a text$"):
        anything(**{name: found})


def test_a_misspelt_keyword_is_told_with_the_one_that_is_meant() -> None:
    with pytest.raises(TypeError, match="did you mean 'register'"):
        anything(regsiter="auto")


# --- jobs and triggers


@pytest.mark.parametrize("jobs", [triage, 5, "app", pytest])
def test_jobs_are_a_list(jobs: object) -> None:
    with pytest.raises(SetupError, match=r"jobs=\[triage\]"):
        anything(jobs)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({}, 'give repo="owner/name" or org="name"'),
        ({"repo": "web"}, "write 'owner/name'"),
        ({"repo": 5}, "write 'owner/name'"),
        ({"repo": "https://github.com/acme/web"}, "write 'owner/name'"),
        ({"repo": "acme/web", "org": "acme"}, "which are two webhooks; give one"),
    ],
)
def test_a_trigger_that_names_no_one_webhook_says_which_params_do(params: dict[str, Any], told: str) -> None:
    made: Any = github.issues
    with pytest.raises(SetupError, match=r"job .*: github\.issues: ") as caught:
        App([trigger(made(**params))(_named("nothing"))])
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "a b", "é", "x" * 101, 5])
def test_a_connection_that_nothing_can_be_kept_under_is_refused_when_the_app_is_built(name: object) -> None:
    through: Any = github.through
    with pytest.raises(SetupError, match="can't be the name of a connection"):
        App([trigger(through(name).issues(repo="acme/web"))(_named("elsewhere"))])


def test_errors_name_a_trigger_as_it_is_written_and_do_not_fill_a_screen() -> None:
    made: Any = github.issues(repo="acme/web")
    with pytest.raises(SetupError, match=r"pass github\.issues without calling it") as caught:
        dynamic("repos", made)
    assert len(str(caught.value)) < 200
    with pytest.raises(SetupError, match="is not a trigger") as told:
        App([trigger(anything_of(repos(repo="acme/web")))(_named("wished"))])
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("every", [5, timedelta(seconds=59), "1h"])
def test_a_time_in_which_something_must_come_is_a_timedelta_of_a_minute_or_more(every: object) -> None:
    with pytest.raises(SetupError, match=r"expect_every is .*; give a"):
        trigger(github.issues(repo="acme/web"), expect_every=anything_of(every))(_named("expecting"))


def anything_of(found: object) -> Any:
    return found


def _named(name: str) -> Callable[..., Awaitable[None]]:
    async def job(payload: dict[str, Any]) -> None: ...

    job.__qualname__ = job.__name__ = name
    return job


# --- credentials


@pytest.mark.parametrize("key", ["github", GitHub, 5])
def test_credentials_stand_under_the_integration_itself(key: object) -> None:
    for keyword in ("connections", "app_credentials"):
        with pytest.raises(SetupError, match=f"^{keyword}: .*is no integration"):
            anything(**{keyword: {key: "not-a-token"}})


@pytest.mark.parametrize("found", ["", None, {}, {"token": ""}, {"token": None}])
def test_credentials_of_a_variable_that_is_not_set_are_told_as_empty(found: Mapping[str, str] | None) -> None:
    with pytest.raises(SetupError, match="the credentials of github are empty"):
        App([triage], connections={github: anything_of(found)})


@pytest.mark.parametrize("found", [5, ["s3cret"], b"s3cret", {"token": b"s3cret"}])
def test_credentials_of_a_wrong_type_are_refused_and_not_shown(found: object) -> None:
    with pytest.raises(SetupError, match="the credentials of github") as caught:
        App([triage], connections={github: anything_of(found)})
    assert "s3cret" not in str(caught.value)


def test_a_misspelt_field_of_credentials_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SetupError, match=r"github has no field tokn; it has: token"):
        App([triage], connections={github: {"tokn": "s3cret"}})


def test_a_token_that_somebody_else_made_may_be_given_with_what_came_beside_it() -> None:
    App([triage], connections={github: {"token": "not-a-token", "installation_id": "7"}})


# --- at run time


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[App, Any]]:
    with FakeGitHub() as fake:
        here = GitHub(base_url=fake.url)
        watched = dynamic("watched", here.issues)

        @trigger(watched)
        async def hear(payload: dict[str, Any]) -> None: ...

        clients = {here: "fake-token"}
        async with App([hear], store="memory:", register="off", url=HOOKS, connections=clients) as app:
            yield app, watched


@pytest.mark.anyio
async def test_an_app_that_is_closed_says_how_it_is_opened() -> None:
    app = App([tell], store="memory:")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: app.subscribe(repos(repo="u/r"), key="ada"),
        lambda: app.unsubscribe(repos, key="ada"),
        lambda: app.subscribers(repos),
        app.plan,
        app.apply,
        lambda: app.connect(github, "ada", {"token": "x"}),
        lambda: app.disconnect("github/ada"),
        app.connections,
        lambda: app.options(github, "repo"),
        lambda: app.replay("dlv_1"),
    ]
    for call in calls:
        with pytest.raises(SetupError, match="the app is not open; use `async with app:`"):
            await call()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("github/nobody", "trigflow connect github --name nobody"),
        ("stripe/ada", 'use a ref such as "github/name"'),
        ("ada", 'use a ref such as "github/name"'),
        ("", 'use a ref such as "github/name"'),
    ],
)
async def test_a_connection_that_is_not_there_is_told_with_what_gives_one(ref: str, told: str) -> None:
    async with opened() as (app, watched):
        with pytest.raises(SetupError, match="connection ") as caught:
            await app.subscribe(watched(repo="u/r"), key="ada", connection=ref)
        assert told in str(caught.value)
        with pytest.raises(Unauthorized, match="trigflow connect github --name nobody"):
            await app.options(github, "repo", connection="nobody")


@pytest.mark.anyio
async def test_the_same_key_with_other_params_replaces_and_adds_nothing() -> None:
    async with opened() as (app, watched):
        for repo in ("u/one", "u/two"):
            await app.subscribe(watched(repo=repo), key="ada")
        (ada,) = await app.subscribers(watched)
        assert ada.params["repo"] == "u/two"
        steps = {step.identity[1]: step.action for step in await app.plan()}
        assert steps == {"repo:u/one": "remove", "repo:u/two": "create"}


@pytest.mark.anyio
async def test_a_job_without_credentials_is_planned_by_hand_and_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("STRIPE_API_KEY", "GITHUB_TOKEN", "GITHUB_APP_ID"):
        monkeypatch.delenv(variable, raising=False)
    jobs = [triage, trigger(stripe.price_created)(_named("priced"))]
    async with App(jobs, store="memory:", register="off", url=HOOKS) as app:
        steps = {step.identity[0]: step for step in await app.plan()}
    assert {step.action for step in steps.values()} == {"manual"}
    assert "set STRIPE_API_KEY" in steps["stripe.webhook"].reason
    assert "set GITHUB_TOKEN" in steps["github.webhook"].reason


@pytest.mark.anyio
async def test_an_integration_is_given_itself_and_not_by_its_id() -> None:
    by_id = anything_of("github")
    async with opened() as (app, _):
        for call in (
            lambda: app.connect(by_id, "ada", {"token": "x"}),
            lambda: app.connections(by_id),
            lambda: app.options(by_id, "repo"),
        ):
            with pytest.raises(SetupError, match="is no integration; give the object"):
                await call()
        with pytest.raises(SetupError, match="is no integration; give the object"):
            app.authorize_url(by_id, "ada")
