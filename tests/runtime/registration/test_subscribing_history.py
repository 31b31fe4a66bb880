"""Any history of subscribing, unsubscribing and deliveries, beside a plain model of who gets what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Literal

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from trigflow import App, Event, dynamic, trigger
from trigflow.core.payloads import encode_json
from trigflow.core.plan import Identity
from trigflow.testing.deliveries import signed
from trigflow_github import GitHub, GitHubClient
from trigflow_github.source import webhook
from trigflow_github.testing import FakeGitHub

pytestmark = pytest.mark.anyio
FOREIGN = "https://elsewhere.example.com/x"
AT_ONCE = timedelta(0)
Name = Literal["issues", "push"]
Got = tuple[str, str, str, object]  # dynamic trigger, key, event id, metadata

repos = st.integers(0, 1)
names: st.SearchStrategy[Name] = st.sampled_from(["issues", "push"])
keys = st.sampled_from(["ada", "bob"])
events = st.sampled_from(["e1", "e2"])
actions = st.sampled_from(["opened", "closed"])


@attrs.frozen
class Subscribe:
    name: Name
    key: str
    repo: int
    action: str | None
    metadata: int


@attrs.frozen
class Unsubscribe:
    name: Name
    key: str


@attrs.frozen
class Deliver:
    name: Name
    repo: int
    event: str
    action: str


@attrs.frozen
class Apply:
    pass


Step = Subscribe | Unsubscribe | Deliver | Apply
subscribing = st.builds(Subscribe, names, keys, repos, st.none() | actions, st.integers(0, 3))
delivering = st.builds(Deliver, names, repos, events, actions)
steps: st.SearchStrategy[Step] = st.one_of(
    subscribing, st.builds(Unsubscribe, names, keys), delivering, delivering
)


@attrs.define
class Model:
    """Who subscribed to what, and what came to whom."""

    subscribers: dict[tuple[Name, str], Subscribe] = attrs.field(factory=dict[tuple[Name, str], Subscribe])
    rows: set[int] = attrs.field(factory=set[int])  # repositories with an endpoint of ours
    seen: set[tuple[int, str, Name, str]] = attrs.field(factory=set[tuple[int, str, Name, str]])
    got: list[Got] = attrs.field(factory=list[Got])

    def do(self, step: Step) -> None:
        if isinstance(step, Subscribe):
            self.subscribe(step)
        elif isinstance(step, Unsubscribe):
            self.subscribers.pop((step.name, step.key), None)
        elif isinstance(step, Deliver):
            self.deliver(step)
        else:
            self.apply()

    def subscribe(self, step: Subscribe) -> None:
        self.subscribers[step.name, step.key] = step
        self.rows.add(step.repo)

    def deliver(self, step: Deliver) -> None:
        for (name, key), one in self.subscribers.items():
            named = (step.repo, step.event, name, key)
            passes = one.action is None or name == "push" or one.action == step.action
            if name == step.name and one.repo == step.repo and passes and named not in self.seen:
                self.seen.add(named)
                self.got.append((f"dynamic-{name}", key, step.event, one.metadata))

    def apply(self) -> None:
        for gone in self.rows - {one.repo for one in self.subscribers.values()}:
            self.rows.remove(gone)  # another webhook comes in its place, which knows of nothing
            self.seen = {one for one in self.seen if one[0] != gone}

    def events(self, repo: int) -> list[str]:
        return sorted({name for (name, _), one in self.subscribers.items() if one.repo == repo})


class Real:
    """The app, and what its job was started with."""

    def __init__(self, fake: FakeGitHub, prefix: str) -> None:
        self.fake, self.prefix = fake, prefix
        hub = self.hub = GitHub(base_url=fake.url)
        self.issues, self.push = dynamic("dynamic-issues", hub.issues), dynamic("dynamic-push", hub.push)
        self.got: list[Got] = []
        self.started = 0

    def app(self, store: str) -> App:
        @trigger(self.issues, self.push, id="job")
        async def job(payload: dict[str, object], event: Event) -> None:
            by = event.subscriber
            assert by is not None
            self.got.append((by.dynamic, by.key, event.id, by.metadata))

        return App(
            [job], url="https://hooks.example.com", store=store, register="off", subscribers_limit=0,
            connections={self.hub: "token"}, check_every=timedelta(days=1),
        )  # fmt: skip

    def repo(self, number: int) -> str:
        return f"acme/{self.prefix}-{number}"

    async def do(self, app: App, step: Step) -> None:
        if isinstance(step, Subscribe):
            await self.subscribe(app, step)
        elif isinstance(step, Unsubscribe):
            await app.unsubscribe(f"dynamic-{step.name}", key=step.key)
        elif isinstance(step, Deliver):
            await self.deliver(app, step)
        else:
            applied = await app.apply(grace=AT_ONCE)
            assert not [one.error for one in applied if one.error]

    async def subscribe(self, app: App, step: Subscribe) -> None:
        where = self.repo(step.repo)
        if step.name == "push":
            wish = self.push(repo=where)
            await app.subscribe(wish, key=step.key, metadata=step.metadata)
        elif step.action == "opened":
            narrow = self.issues(repo=where, actions=["opened"])
            await app.subscribe(narrow, key=step.key, metadata=step.metadata)
        elif step.action == "closed":
            narrow = self.issues(repo=where, actions=["closed"])
            await app.subscribe(narrow, key=step.key, metadata=step.metadata)
        else:
            await app.subscribe(self.issues(repo=where), key=step.key, metadata=step.metadata)

    async def deliver(self, app: App, step: Deliver) -> None:
        opened, body = app.opened, encode_json({"action": step.action})
        identity: Identity = ("github.webhook", f"repo:{self.repo(step.repo)}", "github")
        token, request = await signed(opened, webhook, step.name, body, step.event, identity=identity)
        assert (await opened.receive(token, request)).status == 200
        (row,) = await opened.store.deliveries(limit=1)
        if row.outcome != "duplicate":
            self.started += row.runs

    async def settle(self) -> None:
        with anyio.fail_after(10):
            while len(self.got) < self.started:
                await anyio.sleep(0.002)


serial = count()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="token", limit=1_000_000) as running:
        yield running


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=st.lists(steps, min_size=8, max_size=24))
async def test_each_subscriber_gets_each_event_once(
    fake: FakeGitHub, tmp_path_factory: pytest.TempPathFactory, kind: str, history: list[Step]
) -> None:
    real, model = Real(fake, f"h{next(serial)}"), Model()
    await both(real, model, history, "memory:" if kind == "memory" else store_in(tmp_path_factory))


def store_in(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("history") / "t.db")


# With a provider a history takes a second.
@settings(
    max_examples=(settings.default.max_examples if settings.default else 50) // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(subscribing | subscribing | steps | st.builds(Apply), min_size=6, max_size=16))
async def test_whatever_was_done_the_webhooks_have_the_union_of_the_events_and_no_foreign_one_is_touched(
    fake: FakeGitHub, tmp_path_factory: pytest.TempPathFactory, history: list[Step]
) -> None:
    real, model = Real(fake, f"h{next(serial)}"), Model()
    async with GitHubClient("token", base_url=fake.url) as client:
        for number in range(2):
            fake.add_repository(real.repo(number))
            await client.create_hook(FOREIGN, ["push"], repo=real.repo(number))
    await both(real, model, [*history, Apply()], store_in(tmp_path_factory))


async def both(real: Real, model: Model, history: list[Step], store: str) -> None:
    """Do it with the app and with the model, and hold them against each other."""
    async with real.app(store) as app:
        for step in history:
            if isinstance(step, Deliver) and step.repo not in model.rows:
                continue  # no endpoint to deliver it at
            await real.do(app, step)
            model.do(step)
            if isinstance(step, Apply):
                check_webhooks(real, model)
        await real.settle()
    assert Counter(map(str, real.got)) == Counter(map(str, model.got))


def check_webhooks(real: Real, model: Model) -> None:
    for number in range(2):
        hooks = real.fake.hooks(real.repo(number))
        assert [sorted(hook.events) for hook in hooks if hook.url == FOREIGN] == [["push"]]
        ours = [sorted(hook.events) for hook in hooks if hook.url != FOREIGN]
        assert ours == ([model.events(number)] if model.events(number) else [])
