"""GitHub's events as an integration: specifications, examples, properties, the webhook's handler."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from trigflow import (
    Delivery,
    Event,
    Headers,
    Ignored,
    Request,
    SetupError,
    Signal,
    Specification,
    decode_json,
)
from trigflow_github import GitHub, github, payloads
from trigflow_github.source import HookId, Place, handle, webhook

SPECIFICATIONS = dict(GitHub.specifications())
ACTIONS = {
    "issues": payloads.IssuesAction,
    "issue_comment": payloads.IssueCommentAction,
    "pull_request": payloads.PullRequestAction,
    "pull_request_review": payloads.PullRequestReviewAction,
    "release": payloads.ReleaseAction,
    "star": payloads.StarAction,
    "workflow_run": payloads.WorkflowRunAction,
    "check_run": payloads.CheckRunAction,
}


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_every_example_fits_its_payload_type_and_gives_properties(name: str) -> None:
    specification: Specification = SPECIFICATIONS[name]
    assert specification.name == name
    assert specification.title
    assert specification.properties is not None
    for example in specification.examples().values():
        payload = msgspec.json.decode(example.read(), type=specification.payload)
        found = specification.properties(payload)
        assert found
        assert all(isinstance(value, str) for value in found.values())


def test_properties_say_what_a_person_looks_for() -> None:
    specification = SPECIFICATIONS["issues"]
    payload = msgspec.json.decode(specification.examples()["opened"].read(), type=payloads.Issues)
    assert specification.properties is not None
    assert specification.properties(payload) == {
        "repository": "Codertocat/Hello-World",
        "by": "Codertocat",
        "issue": "#1 Spelling error in the README file",
    }


@pytest.mark.parametrize(("name", "actions"), ACTIONS.items())
def test_actions_become_a_filter_that_lets_their_examples_through(name: str, actions: Any) -> None:
    method: Any = getattr(github, name)
    examples = SPECIFICATIONS[name].examples()
    assert set(examples) <= set(get_args(actions))
    for action in examples:
        assert method(repo="acme/web", actions=[action]).filter == {"action": [action]}
    assert method(repo="acme/web").filter is None


def test_an_action_that_there_is_not_is_an_error_when_the_trigger_is_declared() -> None:
    with pytest.raises(SetupError, match="label has no action 'craeted'; it has created, deleted, edited"):
        github.label(repo="acme/web", actions=["craeted"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(SetupError, match=r'actions is a list, as in actions=\["created"\]'):
        github.label(repo="acme/web", actions="created")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert github.other("label", repo="acme/web", actions=["renamed"]).filter == {"action": ["renamed"]}


def test_the_sender_of_a_repository_dispatch_makes_up_its_action() -> None:
    dispatched = GitHub(app=True).repository_dispatch(actions=["rebuild"])
    assert dispatched.filter == {"action": ["rebuild"]}


def test_branches_of_a_push_become_a_filter_on_the_ref() -> None:
    assert github.push(repo="acme/web", branches=["main"]).filter == {"ref": ["refs/heads/main"]}


def test_a_ping_comes_to_every_webhook_and_needs_no_registration() -> None:
    assert SPECIFICATIONS["ping"].registers == ()


def test_params_of_a_trigger_go_before_the_defaults_of_the_integration() -> None:
    mine = GitHub(org="acme")
    assert mine.issues().params == Place(org="acme")
    assert mine.issues(repo="acme/web").params == Place(repo="acme/web")


def test_one_place_has_one_key_in_any_case() -> None:
    assert webhook.key_of(Place(repo="Acme/Web")) == webhook.key_of(Place(repo="acme/web"))
    assert webhook.key_of(Place(repo="a/bc")) != webhook.key_of(Place(repo="ab/c"))
    with pytest.raises(SetupError, match="owner/name"):
        webhook.key_of(Place(repo="../web"))


def delivery(**headers: str) -> Delivery[Place, HookId]:
    request = Request("POST", "https://h/", Headers.of(headers), b"{}")
    return Delivery("dlv", request, datetime.now(UTC), decode_json(request), Place(repo="a/b"), None)


def test_the_handler_returns_the_event_with_the_id_that_redeliveries_share() -> None:
    said = delivery(**{"X-GitHub-Event": "issues", "X-GitHub-Delivery": "guid"})
    assert list(handle(said)) == [Event("issues", "guid")]  # the whole body
    assert list(handle(delivery(**{"X-GitHub-Event": "issues"}))) == [Ignored("not-an-event")]


def told(event: str, body: bytes, place: Place) -> list[object]:
    headers = Headers.of({"X-GitHub-Event": event, "X-GitHub-Delivery": "guid"})
    request = Request("POST", "https://h/", headers, body)
    return list(handle(Delivery("dlv", request, datetime.now(UTC), decode_json(request), place, None)))


@pytest.mark.parametrize("action", ["created", "deleted", "suspend", "unsuspend"])
def test_an_app_that_is_installed_or_removed_somewhere_has_its_accounts_listed_anew(action: str) -> None:
    body = msgspec.json.encode({"action": action, "installation": {"id": 2}})
    assert told("installation", body, Place(app=True)) == [
        Event("installation", "guid"),
        Signal("accounts", action),
    ]
    assert told("installation", body, Place(org="acme")) == [Event("installation", "guid")]
    assert told("installation_repositories", body, Place(app=True)) == [
        Event("installation_repositories", "guid")
    ]


@pytest.mark.parametrize(
    "body", [b'{"action":"new_permissions_accepted"}', b'{"action":["deleted"]}', b"{}", b"[]", b"7"]
)
def test_what_else_an_app_is_told_of_an_installation_is_an_event_alone(body: bytes) -> None:
    assert told("installation", body, Place(app=True)) == [Event("installation", "guid")]


def test_importing_the_integration_imports_no_http_client() -> None:
    code = (
        "import sys, trigflow_github; print([m for m in ('httpx', 'uvicorn', 'cattrs') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
