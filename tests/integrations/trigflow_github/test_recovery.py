"""What GitHub's log of deliveries has that never arrived, against a log of our own making."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import attrs
import httpx
import pytest
from hypothesis import given, settings, strategies as st

from trigflow import ApiError, Events, Lost, Missed, Registration
from trigflow_github import GitHubClient
from trigflow_github.recovery import recover
from trigflow_github.source import HookId, Place

START = datetime(2026, 1, 2, tzinfo=UTC)
URL = "https://hooks.acme.dev/e/abcdefgh/x"
PLACES = {
    Place(repo="acme/web"): "/repos/acme/web/hooks/9/deliveries",
    Place(org="acme"): "/orgs/acme/hooks/9/deliveries",
    Place(app=True): "/app/hook/deliveries",
}


@attrs.frozen
class Attempt:
    """One line of the log; minute: of the window; payload: None where GitHub has let go of it."""

    guid: str
    minute: int
    status_code: int
    status: str
    payload: Any = attrs.field(factory=lambda: {"action": "opened"})
    is_kept: bool = True

    def shown(self, number: int) -> dict[str, Any]:
        at = f"{START + timedelta(minutes=self.minute):%Y-%m-%dT%H:%M:%SZ}"
        about = {"id": number, "guid": self.guid, "delivered_at": at, "redelivery": False, "duration": 0.1}
        told = {"status": self.status, "status_code": self.status_code, "event": "issues"}
        return {**about, **told, "action": "opened", "installation_id": 1, "repository_id": 2}


class Log:
    """GitHub's log of one webhook, a few attempts a page, newest first."""

    def __init__(
        self, attempts: Sequence[Attempt], path: str, *, page: int = 3, filters: bool = True
    ) -> None:
        self.attempts = sorted(enumerate(attempts, 1), key=lambda one: one[1].minute, reverse=True)
        self.path, self.page, self.filters = path, page, filters
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        assert request.method == "GET"
        if request.url.path == self.path:
            return self._list(request)
        prefix, _, number = request.url.path.rpartition("/")
        assert prefix == self.path
        attempt = dict(self.attempts)[int(number)]
        if not attempt.is_kept:
            return httpx.Response(404, json={"message": "Not Found"})
        headers = {
            "X-GitHub-Event": "issues",
            "X-GitHub-Delivery": attempt.guid,
            "X-GitHub-Hook-ID": "9",
            "X-Hub-Signature-256": "sha256=6dcb09b5b57875f334f61aebed695e2e4193db5e",
            "X-Hub-Signature": "sha1=a84d88e7554fc1fa21bcbc4efae3c782a70d2b9d",
            "Authorization": "Basic c2VjcmV0",
            "content-type": "application/x-www-form-urlencoded",
        }
        request_part = {"headers": headers, "payload": attempt.payload}
        whole: Any = {"url": URL, "request": request_part, "response": {"headers": {}, "payload": "no"}}
        return httpx.Response(200, json=attempt.shown(int(number)) | whole)

    def _list(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.params.get("status") if self.filters else None
        found = [
            (number, attempt)
            for number, attempt in self.attempts
            if wanted is None or (wanted == "success") == (attempt.status == "OK")
        ]
        start = int(request.url.params.get("cursor", 0))
        following = request.url.copy_set_param("cursor", start + self.page)
        more = start + self.page < len(found)
        headers = {"link": f'<{following}>; rel="next"'} if more else {}
        page = [attempt.shown(number) for number, attempt in found[start : start + self.page]]
        return httpx.Response(200, json=page, headers=headers)


NINE = HookId(9)


def registered(place: Place, data: HookId | None = NINE) -> Registration[Place, HookId]:
    return Registration(URL, place, Events(("issues",)), "hush", data, "/e/abcdefgh/")


async def recovered(log: Log, place: Place, since: datetime = START) -> list[Missed | Lost]:
    token = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln" if place.app else "ghp_x"
    async with GitHubClient(token, transport=httpx.MockTransport(log)) as hub:
        return [found async for found in recover(registered(place), since, hub)]


NO, LATE = "failed to connect", "timed out"
# GitHub counts an answer that came too late as a failure, whatever it was.
outcomes = st.sampled_from(
    [(200, "OK"), (202, "OK"), (200, LATE), (500, NO), (502, NO), (504, LATE), (404, NO), (0, NO)]
)


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    guid = draw(st.sampled_from(["one", "two", "three", "four"]))
    minute, (code, status) = draw(st.integers(-8, 20)), draw(outcomes)
    return Attempt(guid, minute, code, status, is_kept=draw(st.booleans()))


def never_arrived(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Say by GUID when the first attempt was made, from the log as a whole."""
    window = [one for one in attempts if one.minute >= 0]
    arrived = {one.guid for one in window if one.status == "OK"}
    return {
        one.guid: min(other.minute for other in window if other.guid == one.guid)
        for one in window
        if one.guid not in arrived
    }


def guid_of(found: Missed | Lost) -> str:
    if isinstance(found, Missed):
        return found.headers.get("x-github-delivery") or ""
    return next(guid for guid in ("one", "two", "three", "four") if f" {guid} " in found.because)


@settings(deadline=None)
@given(st.lists(attempts(), max_size=14), st.sampled_from(list(PLACES)), st.integers(1, 5), st.booleans())
def test_each_event_that_never_arrived_is_found_once(
    said: list[Attempt], place: Place, page: int, filters: bool
) -> None:
    log = Log(said, PLACES[place], page=page, filters=filters)
    found = anyio.run(recovered, log, place)
    expected = never_arrived(said)
    at = {guid: START + timedelta(minutes=minute) for guid, minute in expected.items()}
    assert {guid_of(one): one.at for one in found} == at
    assert len(found) == len(expected)
    assert [one.at for one in found] == sorted(at.values())
    kept = {one.guid for one in said if one.is_kept and one.minute >= 0}
    assert {guid_of(one) for one in found if isinstance(one, Missed)} <= kept


FAILED = Attempt("one", 1, 500, "Invalid HTTP Response: 500", {"action": "opened", "title": "ü", "n": 2**62})


@pytest.mark.anyio
async def test_what_was_missed_is_what_was_sent_without_what_proves_its_sender() -> None:
    [found] = await recovered(Log([FAILED], PLACES[Place(org="acme")]), Place(org="acme"))
    assert isinstance(found, Missed)
    assert json.loads(found.body) == FAILED.payload
    assert dict(found.headers) == {
        "x-github-event": "issues",
        "x-github-delivery": "one",
        "x-github-hook-id": "9",
        "content-type": "application/json",
    }


@pytest.mark.anyio
@pytest.mark.parametrize("gone", [attrs.evolve(FAILED, is_kept=False), attrs.evolve(FAILED, payload=None)])
async def test_what_github_has_let_go_of_is_lost(gone: Attempt) -> None:
    place = Place(repo="acme/web")
    [found] = await recovered(Log([gone], PLACES[place]), place)
    assert isinstance(found, Lost)
    assert found.at == START + timedelta(minutes=1)
    assert "one (issues)" in found.because


@pytest.mark.anyio
async def test_a_log_without_failures_costs_one_page() -> None:
    place = Place(repo="acme/web")
    log = Log([Attempt(str(number), number, 200, "OK") for number in range(50)], PLACES[place])
    assert await recovered(log, place) == []
    assert len(log.asked) == 1


@pytest.mark.anyio
async def test_the_log_is_read_no_further_back_than_asked() -> None:
    place = Place(repo="acme/web")
    log = Log([Attempt(str(number), -number, 500, "no") for number in range(6, 500)], PLACES[place])
    assert await recovered(log, place) == []
    assert len(log.asked) == 1


@pytest.mark.anyio
async def test_a_webhook_made_by_hand_is_found_by_its_url() -> None:
    place, log = Place(repo="acme/web"), Log([FAILED], PLACES[Place(repo="acme/web")])
    at = "2026-01-02T03:04:05Z"
    hook = {"type": "Repository", "id": 9, "name": "web", "active": True, "events": ["issues"]}
    shown = hook | {"config": {"url": URL}, "created_at": at, "updated_at": at}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/repos/acme/web/hooks":
            return httpx.Response(200, json=[shown | {"id": 8, "config": {"url": "https://x.dev"}}, shown])
        return log(request)

    async with GitHubClient("ghp_x", transport=httpx.MockTransport(answer)) as hub:
        found = [one async for one in recover(registered(place, None), START, hub)]
        elsewhere = attrs.evolve(registered(place, None), url="https://nowhere.dev")
        assert [one async for one in recover(elsewhere, START, hub)] == []
    assert len(found) == 1


@pytest.mark.anyio
async def test_the_log_of_an_app_is_read_once_not_by_each_installation() -> None:
    log = Log([FAILED], PLACES[Place(app=True)])
    async with GitHubClient("ghs_x", transport=httpx.MockTransport(log)) as hub:
        assert [one async for one in recover(registered(Place(app=True)), START, hub)] == []
    assert log.asked == []


@pytest.mark.anyio
async def test_a_log_that_can_not_be_read_is_an_error_not_an_empty_log() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"message": "oops"})

    async with GitHubClient("ghp_x", transport=httpx.MockTransport(refuse)) as hub:
        with pytest.raises(ApiError, match="oops"):
            _ = [one async for one in recover(registered(Place(repo="acme/web")), START, hub)]
