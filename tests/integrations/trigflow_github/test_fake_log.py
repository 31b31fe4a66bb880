"""The fake's delivery log beside a plain model, and what may be redelivered."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.integrations.trigflow_github.receiver import Receiver
from trigflow_github.testing import FakeGitHub

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKEN = {"authorization": "Bearer good"}
HTTP = httpx.Client(verify=False)  # one for all: making one reads certificates for a while


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="good", clock=lambda: NOON) as running:
        yield running


def listed(fake: FakeGitHub, hook: int, per_page: int = 100, **query: Any) -> list[dict[str, Any]]:
    """Follow the links from the newest to the oldest entry."""
    found: list[dict[str, Any]] = []
    url = f"{fake.url}/repos/acme/web/hooks/{hook}/deliveries"
    answer = HTTP.get(url, params={"per_page": per_page, **query}, headers=TOKEN)
    while True:
        assert len(answer.json()) <= per_page
        found += answer.json()
        if "next" not in answer.links:
            return found
        answer = HTTP.get(answer.links["next"]["url"], headers=TOKEN)


def test_what_comes_between_two_pages_shifts_nothing(fake: FakeGitHub, receiver: Receiver) -> None:
    hook = fake.add_hook("acme/web", receiver.url)
    sent = [fake.emit("acme/web", "push", {})[0].id for _ in range(5)]
    url = f"{fake.url}/repos/acme/web/hooks/{hook.id}/deliveries"
    first = HTTP.get(url, params={"per_page": 2}, headers=TOKEN)
    fake.emit("acme/web", "push", {})
    second = HTTP.get(first.links["next"]["url"], headers=TOKEN)
    assert [entry["id"] for entry in first.json() + second.json()] == sent[:0:-1]


def test_a_cursor_that_was_never_given_out_is_refused(fake: FakeGitHub) -> None:
    hook = fake.add_hook("acme/web", "http://127.0.0.1:9")
    url = f"{fake.url}/repos/acme/web/hooks/{hook.id}/deliveries"
    assert HTTP.get(url, params={"cursor": "here"}, headers=TOKEN).status_code == 400


def test_an_entry_holds_what_was_sent_and_what_was_answered(fake: FakeGitHub, receiver: Receiver) -> None:
    hook = fake.add_hook("acme/web", receiver.url, secret="hush")
    payload = fake.payload("acme/web", "push")
    [attempt] = fake.emit("acme/web", "push", payload)
    path = f"/repos/acme/web/hooks/{hook.id}/deliveries/{attempt.id}"
    entry = HTTP.get(fake.url + path, headers=TOKEN).json()
    assert entry["request"]["payload"] == payload
    sent = {name.lower(): value for name, value in entry["request"]["headers"].items()}
    [got] = receiver.got
    assert {name: got.headers[name] for name in sent} == sent
    assert entry["response"]["payload"] == "seen"
    assert entry["repository_id"] == payload["repository"]["id"]
    assert (entry["guid"], entry["throttled_at"]) == (attempt.delivery, None)


def test_an_attempt_is_redelivered_for_three_days_and_shown_for_thirty(
    fake: FakeGitHub, receiver: Receiver
) -> None:
    hook = fake.add_hook("acme/web", receiver.url)
    [attempt] = fake.emit("acme/web", "push", {})
    path = f"{fake.url}/repos/acme/web/hooks/{hook.id}/deliveries/{attempt.id}"

    def answered() -> tuple[int, int]:
        shown, sent = HTTP.get(path, headers=TOKEN), HTTP.post(f"{path}/attempts", headers=TOKEN)
        fake.settle()
        return shown.status_code, sent.status_code

    found = [answered()]
    for passed in (timedelta(days=3, seconds=-1), timedelta(seconds=1), timedelta(days=27, seconds=-1)):
        fake.advance(passed)
        found.append(answered())
    fake.advance(seconds=1)
    assert [*found, answered()] == [(200, 202), (200, 202), (200, 422), (200, 422), (404, 404)]
    assert len(receiver.got) == 3


@attrs.define
class Entry:
    guid: str
    at: timedelta
    ok: bool
    redelivery: bool


class LogAgrees(RuleBasedStateMachine):
    """One hook's log beside a list; `arrived` is what the receiver saw."""

    @initialize()
    def start(self) -> None:
        self.receiver = Receiver().__enter__()
        self.fake = FakeGitHub(token="good", clock=lambda: NOON).__enter__()
        self.hook = self.fake.add_hook("acme/web", self.receiver.url).id
        self.past = timedelta()
        self.model: dict[int, Entry] = {}
        self.arrived: list[str] = []
        self.number = 0

    def teardown(self) -> None:
        self.fake.__exit__()
        self.receiver.__exit__()

    def emit(self) -> tuple[str, list[int]]:
        self.number += 1
        guid = f"guid-{self.number}"
        return guid, [attempt.id for attempt in self.fake.emit("acme/web", "push", {}, delivery=guid)]

    @rule(status=st.sampled_from([200, 500]))
    def deliver(self, status: int) -> None:
        self.receiver.status = status
        guid, [number] = self.emit()
        self.model[number] = Entry(guid, self.past, status == 200, redelivery=False)
        self.arrived.append(guid)

    @rule()
    def lose(self) -> None:
        self.fake.lose()
        guid, [number] = self.emit()
        self.model[number] = Entry(guid, self.past, ok=False, redelivery=False)

    @rule()
    def lose_without_a_trace(self) -> None:
        self.fake.lose(logged=False)
        assert self.emit()[1] == []

    @rule()
    def lose_though_the_log_says_ok(self) -> None:
        self.fake.lose(status=200)
        guid, [number] = self.emit()
        self.model[number] = Entry(guid, self.past, ok=True, redelivery=False)

    @rule()
    def duplicate(self) -> None:
        self.receiver.status = 200
        self.fake.duplicate()
        guid, numbers = self.emit()
        assert len(numbers) == 2
        self.model |= {number: Entry(guid, self.past, ok=True, redelivery=False) for number in numbers}
        self.arrived += [guid, guid]

    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        if not self.model:
            return
        number = data.draw(st.sampled_from(sorted(self.model)))
        entry, before = self.model[number], set(self.model)
        age = self.past - entry.at
        self.receiver.status = 200
        path = f"/repos/acme/web/hooks/{self.hook}/deliveries/{number}/attempts"
        answer = HTTP.post(self.fake.url + path, headers=TOKEN)
        self.fake.settle()
        if age >= timedelta(days=30):
            assert answer.status_code == 404
        elif age >= timedelta(days=3):
            assert answer.status_code == 422
        else:
            assert answer.status_code == 202
            self.arrived.append(entry.guid)
            [new] = [one.id for one in self.fake.log() if one.id not in before]
            self.model[new] = Entry(entry.guid, self.past, ok=True, redelivery=True)

    @rule(by=st.sampled_from([timedelta(hours=1), timedelta(days=1), timedelta(days=3), timedelta(days=29)]))
    def time_passes(self, by: timedelta) -> None:
        self.fake.advance(by)
        self.past += by

    @invariant()
    def the_log_is_the_model(self) -> None:
        kept = {
            number: entry for number, entry in self.model.items() if self.past - entry.at < timedelta(days=30)
        }
        shown = listed(self.fake, self.hook, per_page=3)
        assert [entry["id"] for entry in shown] == sorted(kept, reverse=True)
        for entry in shown:
            known = kept[entry["id"]]
            assert (entry["guid"], entry["redelivery"]) == (known.guid, known.redelivery)
            assert (entry["status"] == "OK") == known.ok
        for status, ok in (("success", True), ("failure", False)):
            chosen = [entry["id"] for entry in listed(self.fake, self.hook, per_page=2, status=status)]
            assert chosen == sorted((n for n, entry in kept.items() if entry.ok == ok), reverse=True)

    @invariant()
    def what_arrived_is_the_model(self) -> None:
        assert [got.headers["x-github-delivery"] for got in self.receiver.got] == self.arrived


LogAgrees.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLogAgrees = LogAgrees.TestCase
