"""The fake's webhooks: what GitHub accepts, shows and refuses of them, beside a plain model."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

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


def wanted(url: str = DEAD, *events: str, **config: str) -> dict[str, Any]:
    told = {"url": url, "content_type": "json", **config}
    return {"name": "web", "active": True, "events": list(events or ("issues",)), "config": told}


def create(api: httpx.Client, body: dict[str, Any], path: str = HOOKS) -> dict[str, Any]:
    answer = api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_a_created_hook_is_shown_without_its_secret(fake: FakeGitHub, api: httpx.Client) -> None:
    answer = api.post(HOOKS, json=wanted(DEAD, "push", "issues", secret="hush"))
    hook = answer.json()
    assert answer.headers["location"] == hook["url"] == f"{fake.url}{HOOKS}/{hook['id']}"
    assert (hook["type"], hook["name"], hook["active"]) == ("Repository", "web", True)
    assert hook["events"] == ["push", "issues"]
    assert hook["config"] == {"content_type": "json", "insecure_ssl": "0", "url": DEAD, "secret": "********"}
    assert hook["last_response"] == {"code": None, "status": "unused", "message": None}
    assert api.get(f"{HOOKS}/{hook['id']}/config").json() == hook["config"]
    assert [hook.secret for hook in fake.hooks("acme/web")] == ["hush"]
    assert "hush" not in repr(fake.hooks("acme/web"))


def test_defaults_are_those_of_the_documentation(api: httpx.Client) -> None:
    hook = create(api, {"config": {"url": DEAD}})
    assert (hook["events"], hook["active"], hook["config"]["content_type"]) == (["push"], True, "form")


def test_a_hook_of_an_organization_must_be_named(api: httpx.Client) -> None:
    assert api.post("/orgs/acme/hooks", json={"config": {"url": DEAD}}).status_code == 422
    hook = create(api, wanted(), "/orgs/acme/hooks")
    assert hook["type"] == "Organization"
    assert "last_response" not in hook


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "email"}, {"resource": "Hook", "field": "name", "code": "invalid"}),
        ({"config": {"url": DEAD, "content_type": "xml"}}, "Invalid config attribute: content-type"),
        ({"config": {"content_type": "json"}}, {"resource": "Hook", "field": "url", "code": "missing_field"}),
    ],
)
def test_what_github_refuses_is_a_422(api: httpx.Client, change: dict[str, Any], said: Any) -> None:
    answer = api.post(HOOKS, json=wanted() | change)
    assert answer.status_code == 422
    body = answer.json()
    assert body["message"] == "Validation Failed"
    assert said in (body["errors"][0], body["errors"][0].get("message"))
    assert api.get(HOOKS).json() == []


def test_the_same_url_with_the_same_event_is_refused(api: httpx.Client) -> None:
    create(api, wanted(DEAD, "push", "issues"))
    create(api, wanted(DEAD, "star"))
    for events in (("issues",), ("*",)):
        answer = api.post(HOOKS, json=wanted(DEAD, *events))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["message"] == "Hook already exists on this repository"


def test_an_event_has_at_most_twenty_hooks(api: httpx.Client) -> None:
    for number in range(20):
        create(api, wanted(f"{DEAD}/{number}", "push"))
    answer = api.post(HOOKS, json=wanted(f"{DEAD}/more", "push"))
    assert answer.json()["errors"][0]["message"] == 'The "push" event cannot have more than 20 hooks'
    create(api, wanted(f"{DEAD}/more", "issues"))


def test_a_list_is_paged_with_links(api: httpx.Client) -> None:
    ids = [create(api, wanted(f"{DEAD}/{number}", "push"))["id"] for number in range(5)]
    seen: list[int] = []
    url, pages = f"{HOOKS}?per_page=2", 0
    while url:
        answer = api.get(url)
        seen += [hook["id"] for hook in answer.json()]
        url, pages = answer.links.get("next", {}).get("url", ""), pages + 1
    assert (seen, pages) == (ids, 3)
    assert "link" not in api.get(HOOKS).headers


def test_the_secret_is_lost_unless_it_is_given_again(fake: FakeGitHub, api: httpx.Client) -> None:
    hook = create(api, wanted(DEAD, secret="hush"))
    path = f"{HOOKS}/{hook['id']}"
    api.patch(f"{path}/config", json={"content_type": "form"})
    assert [(at.secret, at.content_type) for at in fake.hooks("acme/web")] == [("hush", "form")]
    api.patch(path, json={"config": {"url": DEAD, "secret": "new"}})
    assert [at.secret for at in fake.hooks("acme/web")] == ["new"]
    api.patch(path, json={"config": {"url": DEAD}})
    assert [at.secret for at in fake.hooks("acme/web")] == [None]


def test_of_those_who_ask_for_the_same_at_once_one_gets_it(api: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as callers:
        answers = [callers.submit(api.post, HOOKS, json=wanted()) for _ in range(16)]
    assert sorted(answer.result().status_code for answer in answers) == [201, *[422] * 15]
    assert len(api.get(HOOKS).json()) == 1


EVENTS = ("push", "issues", "star", "*")
event_lists = st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3, unique=True)
urls = st.sampled_from([f"{DEAD}/{number}" for number in range(3)])
secrets = st.none() | st.sampled_from(["one", "two"])


@attrs.define
class Modelled:
    url: str
    events: set[str]
    secret: str | None
    active: bool = True


class HooksAgree(RuleBasedStateMachine):
    """The fake's webhooks beside a plain model: a dict, and one rule for what may overlap."""

    ids = Bundle("ids")

    @initialize()
    def start(self) -> None:
        self.fake = FakeGitHub(token="good").__enter__()
        self.api = httpx.Client(base_url=self.fake.url, headers={"authorization": "token good"})
        self.model: dict[int, Modelled] = {}

    def teardown(self) -> None:
        self.api.close()
        self.fake.__exit__()

    def taken(self, url: str, events: set[str], *, but: int | None = None) -> bool:
        others = [hook for number, hook in self.model.items() if number != but and hook.url == url]
        return any("*" in hook.events | events or hook.events & events for hook in others)

    @rule(target=ids, url=urls, events=event_lists, secret=secrets)
    def create(self, url: str, events: list[str], secret: str | None) -> Any:
        config = {"url": url, "content_type": "json"} | ({"secret": secret} if secret else {})
        answer = self.api.post(HOOKS, json={"name": "web", "events": events, "config": config})
        if self.taken(url, set(events)):
            assert answer.status_code == 422
            return cast("Any", multiple())
        assert answer.status_code == 201
        self.model[answer.json()["id"]] = Modelled(url, set(events), secret)
        return answer.json()["id"]

    @rule(number=ids, url=urls, events=event_lists, secret=secrets)
    def replace(self, number: int, url: str, events: list[str], secret: str | None) -> None:
        config = {"url": url} | ({"secret": secret} if secret else {})
        answer = self.api.patch(f"{HOOKS}/{number}", json={"events": events, "config": config})
        if self.taken(url, set(events), but=number):
            assert answer.status_code == 422
        else:
            assert answer.status_code == 200
            self.model[number] = Modelled(url, set(events), secret, self.model[number].active)

    @rule(number=ids, add=event_lists, remove=event_lists, secret=secrets)
    def add_and_remove(self, number: int, add: list[str], remove: list[str], secret: str | None) -> None:
        hook = self.model[number]
        events = (hook.events | set(add)) - set(remove)
        config = {"url": hook.url} | ({"secret": secret} if secret else {})
        told = {"add_events": add, "remove_events": remove, "config": config}
        answer = self.api.patch(f"{HOOKS}/{number}", json=told)
        if self.taken(hook.url, events, but=number):
            assert answer.status_code == 422
        else:
            assert answer.status_code == 200
            self.model[number] = Modelled(hook.url, events, secret, hook.active)

    @rule(number=ids, secret=st.sampled_from(["one", "two"]))
    def change_the_secret_alone(self, number: int, secret: str) -> None:
        assert self.api.patch(f"{HOOKS}/{number}/config", json={"secret": secret}).status_code == 200
        self.model[number].secret = secret

    @rule(number=consumes(ids))
    def delete(self, number: int) -> None:
        assert self.api.delete(f"{HOOKS}/{number}").status_code == 204
        assert self.api.delete(f"{HOOKS}/{number}").status_code == 404
        del self.model[number]

    @rule(number=consumes(ids))
    def delete_by_hand(self, number: int) -> None:
        self.fake.delete_hook(number)
        del self.model[number]

    @rule(number=ids, active=st.booleans())
    def switch_by_hand(self, number: int, active: bool) -> None:
        self.fake.edit_hook(number, active=active)
        self.model[number].active = active

    @invariant()
    def an_event_goes_to_who_wants_it(self) -> None:
        for event in ("push", "issues", "watch"):
            sent = {attempt.hook_id for attempt in self.fake.emit("acme/web", event, {})}
            wanting = {n for n, hook in self.model.items() if hook.active and hook.events & {event, "*"}}
            assert sent == wanting

    @invariant()
    def the_list_is_the_model(self) -> None:
        listed = self.api.get(HOOKS, params={"per_page": 100}).json()
        shown = {hook["id"]: (hook["config"]["url"], set(hook["events"])) for hook in listed}
        assert shown == {number: (hook.url, hook.events) for number, hook in self.model.items()}
        masked = {hook["id"] for hook in listed if hook["config"].get("secret") == "********"}
        assert masked == {number for number, hook in self.model.items() if hook.secret}
        active = {hook["id"]: hook["active"] for hook in listed}
        assert active == {number: hook.active for number, hook in self.model.items()}
        kept = {hook.id: hook.secret for hook in self.fake.hooks("acme/web")}
        assert kept == {number: hook.secret for number, hook in self.model.items()}


HooksAgree.TestCase.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHooksAgree = HooksAgree.TestCase
