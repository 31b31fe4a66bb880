"""Triggers to which people subscribe at run time, as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import pytest

from trigflow import App, Event, Integration, SetupError, Trigger, Wish, dynamic, trigger
from trigflow.core.jobs import Listens
from trigflow_github import GitHub, github
from trigflow_github.payloads import Issues, Push

repos = dynamic("user-repos", github.issues)


def app_with(*listens: Listens, payload: object = Issues, **options: Any) -> App:
    async def job(payload: Any, event: Event) -> None: ...

    job.__annotations__["payload"] = payload
    return App([trigger(*listens, **options)(job)])


def test_a_wish_has_the_params_and_the_payload_type_of_the_event() -> None:
    wish = repos(repo="u/r", actions=["opened"])
    assert_type(wish, Wish[Issues])
    assert_type(wish.trigger, Trigger[Issues])
    assert wish.dynamic == "user-repos"
    assert (wish.trigger.params.repo, wish.trigger.filter) == ("u/r", {"action": ["opened"]})


def test_params_are_checked_by_the_type_checker_and_when_called() -> None:
    # The checker says that each of these ignores is needed; else the params were not checked.
    with pytest.raises(TypeError, match="repository"):
        repos(repository="u/r")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        repos("u/r")  # type: ignore[call-arg]
    wrong_value: Callable[[], object] = lambda: repos(repo=5)  # type: ignore[arg-type]  # noqa: E731
    assert callable(wrong_value)


def test_a_job_listens_to_a_dynamic_trigger_and_wants_no_webhook_by_itself() -> None:
    app = app_with(repos)
    (made,) = app.jobs.values()
    (listens,) = made.listens
    assert (listens.trigger.name, listens.dynamic) == ("github.issues", repos)


def test_a_job_may_listen_to_dynamic_and_other_triggers() -> None:
    pushes = dynamic("pushes", github.push)

    app = app_with(repos, pushes, github.issues(repo="acme/web"), payload=dict)
    (made,) = app.jobs.values()
    assert [one.dynamic and one.dynamic.id for one in made.listens] == ["user-repos", "pushes", None]


def test_a_payload_type_that_does_not_fit_the_event_is_found_when_the_app_is_built() -> None:
    with pytest.raises(SetupError, match=r"github\.issues: no example fits the payload annotation Push"):
        app_with(repos, payload=Push)


def test_the_filter_of_the_job_is_checked_against_the_examples_of_the_event() -> None:
    app_with(repos, filter={"action": ["opened"]})
    with pytest.raises(SetupError, match=r"\$gtt"):
        app_with(repos, filter={"issue": {"number": {"$gtt": 5}}})


@pytest.mark.parametrize("id_", ["", "a b", "-a", "a" * 101, "ü", "a\x1fb", "a\n"])
def test_an_id_that_could_not_be_kept_is_refused(id_: str) -> None:
    with pytest.raises(SetupError, match="dynamic"):
        dynamic(id_, github.issues)


def test_an_event_that_was_called_already_is_refused_with_the_remedy() -> None:
    with pytest.raises(SetupError, match="without calling it"):
        dynamic("x", github.issues(repo="u/r"))  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="not an event"):
        dynamic("x", "github.issues")  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="not an event"):
        dynamic("x", GitHub.issues)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="not an event"):
        dynamic("x", repos)  # type: ignore[arg-type]


def test_two_dynamic_triggers_of_one_id_are_refused_unless_they_mean_the_same() -> None:
    other = dynamic("user-repos", github.push)
    again = dynamic("user-repos", github.issues)

    with pytest.raises(SetupError, match="two dynamic triggers have the id 'user-repos'"):
        app_with(repos, other, payload=dict)
    app_with(repos, again)
    elsewhere = dynamic("user-repos", GitHub(base_url="https://ghe.example.com/api/v3").issues)
    with pytest.raises(SetupError, match="two dynamic"):
        app_with(repos, elsewhere)


def test_a_dynamic_trigger_keeps_the_integration_that_it_was_made_of() -> None:
    assert isinstance(repos.trigger.integration, Integration)
    assert dynamic("mine", GitHub(repo="acme/web").issues)().trigger.params.repo == "acme/web"
