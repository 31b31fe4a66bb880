"""The fake does wrong what it is told to do wrong, and nothing else."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from tests.integrations.trigflow_github.receiver import Receiver
from trigflow import RateLimited
from trigflow_github.client import GitHubClient
from trigflow_github.testing import FakeGitHub

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOOKS = "/repos/acme/web/hooks"
DEAD = "http://127.0.0.1:9/hook"  # nobody listens on the discard port
BODY = {"config": {"url": DEAD}}
PATIENCE = 10.0  # seconds; a deadline, not a pause


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="good", clock=lambda: NOON) as running:
        yield running


@pytest.fixture
def api(fake: FakeGitHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake.url, headers={"authorization": "Bearer good"}) as connected:
        yield connected


class InThread:
    """Calls in a thread; `end` returns what came of it, an error included."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self.result: Any = None
        self._action = action
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._action()
        except httpx.TransportError as error:
            self.result = error

    def end(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.result


def sequence(receiver: Receiver) -> list[int]:
    return [json.loads(got.body)["n"] for got in receiver.got]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("limit", ["primary", "secondary"])
async def test_a_client_that_is_throttled_is_told_until_when(
    fake: FakeGitHub, limit: Any, status: Any
) -> None:
    fake.throttle(limit, "GET", "/hooks$", wait=timedelta(minutes=7), status=status)
    async with GitHubClient("good", base_url=fake.url, clock=lambda: NOON) as client:
        with pytest.raises(RateLimited) as caught:
            await client.hooks(repo="acme/web")
        assert caught.value.until == NOON + timedelta(minutes=7)
        assert await client.hooks(repo="acme/web") == []


def test_a_throttled_answer_has_the_headers_of_its_limit(fake: FakeGitHub, api: httpx.Client) -> None:
    fake.throttle("primary", wait=timedelta(minutes=7))
    fake.throttle("secondary", wait=timedelta(minutes=7))
    fake.throttle("secondary", wait=None)
    primary, secondary, silent = (api.get(HOOKS) for _ in range(3))
    assert primary.headers["x-ratelimit-remaining"] == "0"
    assert primary.headers["x-ratelimit-reset"] == str(int(NOON.timestamp()) + 420)
    assert "retry-after" not in primary.headers
    assert secondary.headers["retry-after"] == "420"
    assert secondary.headers["x-ratelimit-remaining"] != "0"
    assert "secondary rate limit" in secondary.json()["message"]
    assert "retry-after" not in silent.headers


def test_an_hour_later_the_limit_is_whole_again(fake: FakeGitHub, api: httpx.Client) -> None:
    fake.limit = 1
    assert [api.get(HOOKS).status_code for _ in range(2)] == [200, 403]
    fake.advance(hours=1)
    assert api.get(HOOKS).status_code == 200


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1)])
def test_a_request_is_held_until_the_gate_opens(
    fake: FakeGitHub, api: httpx.Client, moment: Any, made: int
) -> None:
    with fake.hold("POST", "/hooks$", moment=moment) as gate:
        call = InThread(lambda: api.post(HOOKS, json=BODY))
        assert gate.wait(PATIENCE)
        assert len(fake.hooks("acme/web")) == made
        assert api.get(HOOKS).status_code == 200  # nobody else is held
    assert call.end().status_code == 201
    assert len(fake.hooks("acme/web")) == 1


@pytest.mark.parametrize(("moment", "made"), [("before", 0), ("after", 1)])
def test_a_held_request_that_is_dropped_gets_no_answer(
    fake: FakeGitHub, api: httpx.Client, moment: Any, made: int
) -> None:
    gate = fake.hold("POST", "/hooks$", moment=moment)
    call = InThread(lambda: api.post(HOOKS, json=BODY))
    assert gate.wait(PATIENCE)
    gate.drop()
    assert isinstance(call.end(), httpx.TransportError)
    assert len(fake.hooks("acme/web")) == made


def test_what_a_caller_asked_for_is_done_though_it_went_away(fake: FakeGitHub) -> None:
    gate = fake.hold("POST", "/hooks$")
    impatient = httpx.Timeout(PATIENCE, read=0.05)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(fake.url + HOOKS, json=BODY, headers={"authorization": "Bearer good"}, timeout=impatient)
    assert gate.wait(PATIENCE)
    gate.open()
    fake.__exit__()  # waits for answers under way; a second time does no harm
    assert len(fake.hooks("acme/web")) == 1


def test_a_restart_ends_connections_and_forgets_nothing(fake: FakeGitHub, api: httpx.Client) -> None:
    fake.add_hook("acme/web", DEAD)
    gate = fake.hold("GET", "/hooks$")
    call = InThread(lambda: api.get(HOOKS))
    assert gate.wait(PATIENCE)
    fake.restart()
    assert isinstance(call.end(), httpx.TransportError)
    assert len(api.get(HOOKS).json()) == 1


def test_in_an_outage_nobody_is_answered(fake: FakeGitHub, api: httpx.Client) -> None:
    with fake.outage(), pytest.raises(httpx.TransportError):
        api.post(HOOKS, json=BODY)
    assert api.get(HOOKS).json() == []


def test_a_delayed_delivery_comes_when_its_time_has_come(fake: FakeGitHub, receiver: Receiver) -> None:
    fake.add_hook("acme/web", receiver.url)
    fake.delay(timedelta(minutes=5))
    assert fake.emit("acme/web", "push", {"n": 1}) == []
    fake.emit("acme/web", "push", {"n": 2})
    assert fake.advance(minutes=4) == []
    assert sequence(receiver) == [2]
    [late] = fake.advance(minutes=1)
    assert sequence(receiver) == [2, 1]
    assert (late.throttled_at, late.delivered_at) == (NOON, NOON + timedelta(minutes=5))


def test_a_delayed_delivery_goes_where_its_hook_points_by_then(fake: FakeGitHub, receiver: Receiver) -> None:
    moved, gone = fake.add_hook("acme/web", DEAD), fake.add_hook("acme/web", f"{receiver.url}&gone")
    fake.delay(timedelta(minutes=5), times=2)
    fake.emit("acme/web", "push", {"n": 1})
    fake.edit_hook(moved.id, url=receiver.url, secret="new")
    fake.delete_hook(gone.id)
    fake.advance(minutes=5)
    assert sequence(receiver) == [1]
    assert receiver.got[0].signed_with("new")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3))
def test_deliveries_are_reordered_and_none_is_lost(count: int, more: int) -> None:
    with Receiver() as receiver, FakeGitHub() as fake:
        fake.add_hook("acme/web", receiver.url)
        fake.reorder(count)
        for number in range(count + more):
            fake.emit("acme/web", "push", {"n": number})
        assert sequence(receiver) == [*reversed(range(count)), *range(count, count + more)]


def test_what_was_told_is_for_the_event_it_names(fake: FakeGitHub, receiver: Receiver) -> None:
    fake.add_hook("acme/web", receiver.url, ("push", "issues"))
    fake.lose("issues")
    fake.emit("acme/web", "push", {"n": 1})
    fake.emit("acme/web", "issues", {"n": 2})
    fake.emit("acme/web", "issues", {"n": 3})
    assert sequence(receiver) == [1, 3]


def test_a_ping_is_lost_only_by_its_name(fake: FakeGitHub, api: httpx.Client, receiver: Receiver) -> None:
    fake.lose()
    for number in range(2):
        api.post(HOOKS, json={"config": {"url": f"{receiver.url}&{number}"}})
        fake.settle()
        fake.lose("ping")
    assert [got.headers["x-github-event"] for got in receiver.got] == ["ping"]


def test_a_hook_is_changed_and_deleted_behind_our_back(fake: FakeGitHub, api: httpx.Client) -> None:
    first, second = fake.add_hook("acme/web", DEAD), fake.add_hook("ACME", DEAD)
    fake.edit_hook(first.id, active=False, events=["star"])
    fake.delete_hook(second.id)
    [shown] = api.get(HOOKS).json()
    assert (shown["active"], shown["events"]) == (False, ["star"])
    assert api.get("/orgs/acme/hooks").json() == []
    assert fake.writes == []
    with pytest.raises(KeyError, match=str(second.id)):
        fake.edit_hook(second.id, active=True)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_names_are_the_same_in_any_case(data: st.DataObject) -> None:
    def in_any_case(name: str) -> str:
        return "".join(data.draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in name)

    with FakeGitHub() as fake, httpx.Client(headers={"authorization": "Bearer fake-token"}) as api:
        fake.add_repository(in_any_case("acme/web"))  # is there already
        made = api.post(f"{fake.url}/repos/{in_any_case('acme/web')}/hooks", json=BODY)
        assert made.json()["url"] == f"{fake.url}{HOOKS}/{made.json()['id']}"
        assert len(fake.hooks(in_any_case("acme/web"))) == 1
        assert len(api.get(f"{fake.url}/user/repos").json()) == 1
        again = api.post(f"{fake.url}/repos/{in_any_case('acme/web')}/hooks", json=BODY)
        assert again.json()["errors"][0]["message"] == "Hook already exists on this repository"


def test_a_test_sends_a_push_to_who_wants_pushes(
    fake: FakeGitHub, api: httpx.Client, receiver: Receiver
) -> None:
    push = fake.add_hook("acme/web", receiver.url)
    star = fake.add_hook("acme/web", f"{receiver.url}&star", ("star",))
    assert [api.post(f"{HOOKS}/{hook.id}/tests").status_code for hook in (push, star)] == [204, 204]
    fake.settle()
    assert [got.headers["x-github-event"] for got in receiver.got] == ["push"]


def test_lists_of_repositories_are_paged(fake: FakeGitHub, api: httpx.Client) -> None:
    for number in range(4):
        fake.add_repository(f"acme/r{number}")
    fake.add_repository("other/site")
    for path, count in (("/user/repos", 6), ("/orgs/ACME/repos", 5), ("/user/orgs", 2)):
        seen: list[int] = []
        url = f"{path}?per_page=2"
        while url:
            answer = api.get(url)
            seen += [one["id"] for one in answer.json()]
            url = answer.links.get("next", {}).get("url", "")
        assert len(set(seen)) == len(seen) == count
