"""Subscribing at run time, over the whole path: a fake GitHub, both stores, both backends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import msgspec
import pytest

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    LimitReached,
    RegistrationError,
    Secret,
    SetupError,
    When,
    dynamic,
    event,
    hmac_sha256,
    json,
    trigger,
)
from trigflow.core.jobs import Listens
from trigflow.core.plan import Identity
from trigflow.runtime import records as r
from trigflow.runtime.intake.audience import MANY
from trigflow.testing import deliver
from trigflow_github import GitHub, GitHubClient
from trigflow_github.payloads import Issues
from trigflow_github.testing import FakeGitHub

pytestmark = pytest.mark.anyio
AT_ONCE = timedelta(0)
FOREIGN = "https://elsewhere.example.com/x"
URL = "https://hooks.example.com"


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="secret-token") as running:
        running.add_repository("acme/other")
        yield running


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else str(tmp_path / "t.db")


class Told:
    """What the jobs of one app were started with: (subscriber's key or None, metadata, event id)."""

    def __init__(self, github: GitHub) -> None:
        self.github = github
        self.repos = dynamic("user-repos", github.issues)
        self.pushes = dynamic("pushes", github.push)
        self.calls: list[tuple[str | None, Any, str]] = []

    def note(self, event: Event) -> None:
        by = event.subscriber
        key, metadata = (None, None) if by is None else (by.key, by.metadata)
        self.calls.append((key, metadata, event.id))

    def app(self, store: str, *more: Any, fixed: bool = False, **settings: Any) -> App:
        listens: tuple[Listens, ...] = (
            self.repos,
            self.pushes,
            *([self.github.issues(repo="acme/web")] if fixed else []),
        )

        @trigger(*listens, id="told")
        async def job(payload: dict[str, object], event: Event) -> None:
            self.note(event)

        settings.setdefault("register", "off")
        settings.setdefault("connections", {self.github: "secret-token"})
        return App([job, *more], url=URL, store=store, **settings)

    @property
    def keys(self) -> list[str | None]:
        return sorted((key for key, _, _ in self.calls), key=str)


@pytest.fixture
def told(fake: FakeGitHub) -> Told:
    return Told(GitHub(base_url=fake.url))


async def test_an_event_comes_to_each_subscriber_with_key_and_metadata_and_once_to_the_code(
    fake: FakeGitHub, told: Told, store: str
) -> None:
    async with told.app(store, fixed=True) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada", metadata={"plan": "pro"}, wait=True)
        await app.subscribe(told.repos(repo="acme/web"), key="bob")
        await app.subscribe(told.repos(repo="acme/other"), key="eve")
        await deliver(app, told.repos, to="ada", id="one")
    assert sorted(told.calls, key=str) == [
        ("ada", {"plan": "pro"}, "one"),
        ("bob", None, "one"),
        (None, None, "one"),
    ]


async def test_a_redelivery_starts_nothing_and_a_replay_starts_it_for_the_same_subscribers(
    told: Told, store: str
) -> None:
    async with told.app(store) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada", metadata=1)
        first = await deliver(app, told.repos, to="ada", id="one")
        again = await deliver(app, told.repos, to="ada", id="one")
        assert (first.outcome, again.outcome, again.runs) == ("accepted", "duplicate", ())
        (run,) = await app.replay(first.id)
        await ended(app, run)
    assert told.calls == [("ada", 1, "one")] * 2


async def ended(app: App, run: str) -> None:
    with anyio.fail_after(10):
        while (found := await app.opened.store.run(run)) is None or found.row.ended_at is None:
            await anyio.sleep(0.005)


async def test_subscribers_and_code_share_one_webhook_with_the_union_of_their_events(
    fake: FakeGitHub, told: Told, store: str
) -> None:
    async with GitHubClient("secret-token", base_url=fake.url) as client:
        await client.create_hook(FOREIGN, ["push"], repo="acme/web")

    def ours() -> list[list[str]]:
        return [sorted(hook.events) for hook in fake.hooks("acme/web") if hook.url != FOREIGN]

    async with told.app(store) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada", wait=True)
        assert ours() == [["issues"]]
        await app.subscribe(told.repos(repo="Acme/Web"), key="bob", wait=True)
        await app.subscribe(told.pushes(repo="acme/web"), key="bob", wait=True)
        assert ours() == [["issues", "push"]]
        assert await app.unsubscribe(told.repos, key="bob")
        await app.apply(grace=AT_ONCE)
        assert ours() == [["issues", "push"]]
        assert await app.unsubscribe(told.repos, key="ada")
        await app.apply(grace=AT_ONCE)
        assert ours() == [["push"]]
        assert await app.unsubscribe("pushes", key="bob")
        await app.apply(grace=AT_ONCE)
        assert [hook.url for hook in fake.hooks("acme/web")] == [FOREIGN]


async def test_who_subscribes_while_the_webhook_is_being_removed_gets_one_anew(
    fake: FakeGitHub, told: Told, store: str
) -> None:
    async with told.app(store) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada", wait=True)
        (before,) = fake.hooks("acme/web")
        kept: Any = app.opened.store
        really = kept.remove_subscription

        async def removed(subscription: str, *, at: int) -> None:
            """Once the provider has removed it, and before that is committed."""
            assert fake.hooks("acme/web") == []
            await app.subscribe(told.repos(repo="acme/web"), key="bob")
            await really(subscription, at=at)

        kept.remove_subscription = removed
        await app.unsubscribe(told.repos, key="ada")
        await app.apply(grace=AT_ONCE)
        (after,) = fake.hooks("acme/web")
        assert after.id != before.id
        assert [one.state for one in await app.subscribers(told.repos)] == ["active"]
        await deliver(app, told.repos, to="bob", id="one")
    assert told.keys == ["bob"]


async def test_subscribing_again_with_one_key_replaces_what_there_was(
    fake: FakeGitHub, told: Told, store: str
) -> None:
    async with told.app(store) as app:
        for metadata in (1, 2):
            await app.subscribe(told.repos(repo="acme/web"), key="ada", metadata=metadata, wait=True)
        await deliver(app, told.repos, to="ada", id="one")
        await app.subscribe(told.repos(repo="acme/other"), key="ada", metadata=3, wait=True)
        await app.apply(grace=AT_ONCE)
        assert (len(fake.hooks("acme/web")), len(fake.hooks("acme/other"))) == (0, 1)
        await deliver(app, told.repos, to="ada", id="two")
        (kept,) = await app.subscribers(told.repos)
    assert told.calls == [("ada", 2, "one"), ("ada", 3, "two")]
    assert (kept.key, kept.params["repo"], kept.metadata, kept.state) == ("ada", "acme/other", 3, "active")


async def test_unsubscribing_ends_it_at_once_and_a_second_time_does_nothing(told: Told, store: str) -> None:
    async with told.app(store) as app:
        for key in ("ada", "bob"):
            await app.subscribe(told.repos(repo="acme/web"), key=key)
        await deliver(app, told.repos, to="ada", id="one")
        assert await app.unsubscribe(told.repos, key="ada")
        assert not await app.unsubscribe(told.repos, key="ada")
        await deliver(app, told.repos, to="bob", id="two")
        assert [one.key for one in await app.subscribers("user-repos")] == ["bob"]
    assert told.keys == ["ada", "bob", "bob"]


async def test_params_that_narrow_an_event_narrow_it_for_that_subscriber_alone(
    told: Told, store: str
) -> None:
    async with told.app(store) as app:
        await app.subscribe(told.repos(repo="acme/web", actions=["opened"]), key="ada")
        await app.subscribe(told.repos(repo="acme/web", actions=["closed"]), key="bob")
        await app.subscribe(told.repos(repo="acme/web"), key="eve")
        found = await deliver(app, told.repos, to="ada", example="opened")
        row = (await app.opened.store.deliveries(limit=1))[0]
    assert told.keys == ["ada", "eve"]
    (why,) = found.missed.values()
    assert why == 'action: expected one of ["closed"], saw "opened"'
    (said,) = msgspec.json.decode(row.trace or b"[]")
    assert (said["subscriber"], said["trigger"]) == ("bob", "user-repos")


async def test_the_filter_of_the_job_holds_for_all_subscribers(told: Told, store: str) -> None:
    started: list[str] = []

    @trigger(told.repos, filter={"action": ["reopened"]}, id="closed")
    async def closed(payload: Issues, event: Event) -> None:
        started.append(event.subscriber.key if event.subscriber else "")

    async with App([closed], store=store, register="off") as app:
        for key in ("ada", "bob"):
            await app.subscribe(told.repos(repo="acme/web"), key=key)
        found = await deliver(app, told.repos, to="ada", example="opened")
        assert started == []
        assert found.missed == {"closed": 'action: expected one of ["reopened"], saw "opened"'}
        await deliver(app, told.repos, to="ada", example="reopened")
    assert sorted(started) == ["ada", "bob"]


async def test_one_subscriber_too_many_is_refused_and_its_connection_named(told: Told, store: str) -> None:
    async with told.app(store, subscribers_limit=2) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada")
        await app.subscribe(told.pushes(repo="acme/web"), key="ada")
        await app.subscribe(told.repos(repo="acme/other"), key="ada")
        with pytest.raises(
            LimitReached, match=r"connection github has 2 subscribers.*subscribers_limit"
        ) as hit:
            await app.subscribe(told.repos(repo="acme/web"), key="bob")
        assert (hit.value.connection, hit.value.limit) == ("github", 2)
        await app.unsubscribe(told.pushes, key="ada")
        await app.subscribe(told.repos(repo="acme/web"), key="bob")
        assert [one.key for one in await app.subscribers(told.repos)] == ["ada", "bob"]


async def test_what_can_not_be_subscribed_to_is_refused_with_the_remedy(told: Told, store: str) -> None:
    async with told.app(store) as app:
        subscribe, wish = app.subscribe, told.repos(repo="acme/web")
        with pytest.raises(SetupError, match="no job of this app listens to the dynamic trigger 'else'"):
            await subscribe(dynamic("else", told.github.issues)(repo="acme/web"), key="ada")
        with pytest.raises(SetupError, match="no job of this app"):
            await subscribe(dynamic("user-repos", told.github.star)(repo="acme/web"), key="ada")
        with pytest.raises(SetupError, match=r"user-repos.*github\.issues"):
            await subscribe(told.repos(), key="ada")
        for key in ("", "a" * 201, "a\x1fb", "a\n", 42):
            with pytest.raises(SetupError, match="printable"):
                await subscribe(wish, key=key)  # type: ignore[arg-type]
        for no_wish in (told.repos, told.github.issues(repo="acme/web"), "user-repos"):
            with pytest.raises(SetupError, match="call a dynamic trigger"):
                await subscribe(no_wish, key="ada")  # type: ignore[arg-type]
        with pytest.raises(SetupError, match="not one of github"):
            await subscribe(wish, key="ada", connection="stripe/ada")
        with pytest.raises(SetupError, match="not one of github"):
            await subscribe(wish, key="ada", connection=told.github)  # type: ignore[arg-type]
        with pytest.raises(SetupError, match=r"'github/ada' has no credentials: `trigflow connect"):
            await subscribe(wish, key="ada", connection="github/ada")
        with pytest.raises(SetupError, match="metadata of 'ada' is not JSON"):
            await subscribe(wish, key="ada", metadata={"a": object()})
        with pytest.raises(SetupError, match="more than 16384"):
            await subscribe(wish, key="ada", metadata="a" * 20_000)
        assert await app.subscribers(told.repos) == []
        assert await app.opened.store.endpoints() == []


async def test_who_waits_hears_why_the_provider_refused_and_the_subscriber_is_kept(
    told: Told, store: str
) -> None:
    async with told.app(store) as app:
        with pytest.raises(RegistrationError, match=r"repo:acme/none.*is kept, and not registered yet"):
            await app.subscribe(told.repos(repo="acme/none"), key="ada", wait=True)
        (kept,) = await app.subscribers(told.repos)
    assert (kept.key, kept.state) == ("ada", "failing")


async def test_the_webhook_of_a_subscriber_is_made_with_the_connection_that_was_named(
    fake: FakeGitHub, told: Told, store: str
) -> None:
    async with told.app(store, connections={told.github: "wrong-token"}) as app:
        await app.connect(told.github, "ada", {"token": "secret-token"})
        await app.subscribe(told.repos(repo="acme/web"), key="ada", connection="github/ada", wait=True)
        assert len(fake.hooks("acme/web")) == 1
        await deliver(app, told.repos, to="ada", id="one")
    assert told.calls == [("ada", None, "one")]


async def test_what_was_accepted_for_a_subscriber_is_run_by_another_process(
    told: Told, tmp_path: Path
) -> None:
    store = str(tmp_path / "t.db")
    async with told.app(store, executes=False) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada", metadata=[1])
        with pytest.raises(TimeoutError):
            await deliver(app, told.repos, to="ada", id="one", timeout=0.05)
    async with told.app(store) as app:
        (run,) = await app.opened.store.runs(limit=9)
        await ended(app, run.id)
    assert told.calls == [("ada", [1], "one")]


async def test_many_subscribers_of_one_webhook_each_get_their_event_once(told: Told, store: str) -> None:
    count = MANY * 6
    async with told.app(store, subscribers_limit=0) as app:

        async def some(start: int) -> None:
            for number in range(start, count, 20):
                await app.subscribe(told.repos(repo="acme/web"), key=f"user-{number}", metadata=number)

        async with anyio.create_task_group() as group:
            for start in range(20):
                group.start_soon(some, start)
        asked = watched(app)
        payload = {"action": "opened"}
        await deliver(app, told.repos, to="user-0", payload=payload, id="one", timeout=60)
        assert len(asked) == 1
    assert sorted(told.calls, key=lambda call: call[1]) == [
        (f"user-{number}", number, "one") for number in range(count)
    ]


def watched(app: App) -> list[Collection[Identity]]:
    """Note what the store is asked for."""
    asked: list[Collection[Identity]] = []
    store: Any = app.opened.store
    really = store.subscribers_of

    async def noted(identities: Collection[Identity]) -> Mapping[Identity, Sequence[r.Subscriber]]:
        asked.append(identities)
        found: Mapping[Identity, Sequence[r.Subscriber]] = await really(identities)
        return found

    store.subscribers_of = noted
    return asked


async def test_an_app_without_dynamic_triggers_asks_for_no_subscribers(told: Told, store: str) -> None:
    @trigger(told.github.issues(repo="acme/web"))
    async def job(payload: dict[str, object]) -> None: ...

    async with App([job], store=store, register="off") as app:
        asked = watched(app)
        await deliver(app, told.github.issues)
    assert asked == []


async def test_who_is_behind_a_webhook_is_remembered_and_anew_when_somebody_came(
    told: Told, store: str
) -> None:
    async with told.app(store) as app:
        await app.subscribe(told.repos(repo="acme/web"), key="ada")
        asked = watched(app)
        for id_ in ("one", "two", "three"):
            await deliver(app, told.repos, to="ada", id=id_)
        assert len(asked) == 1
        await app.subscribe(told.repos(repo="acme/web"), key="bob")
        await deliver(app, told.repos, to="ada", id="four")
        assert len(asked) == 2
    assert told.keys == ["ada"] * 4 + ["bob"]


# --- one webhook for all accounts of an app


@attrs.frozen
class Place:
    team: str = "app"


shared = ExternalSource(
    "teams.webhook", params=Place, client=object, data=int, key=lambda place: "app", secret=Secret.GENERATED,
    verify=hmac_sha256("X-Sig"), account=json("team"),
)  # fmt: skip


@shared.handler
def said(delivery: Delivery[Place, int]) -> list[Event]:
    return [Event("thing", str(delivery.payload["id"]))]


@shared.sample
def sampled(event: str, body: bytes, id_: str) -> list[tuple[str, str]]:
    return []


class Teams(Integration, id="teams"):
    @event("thing", dict[str, object], source=shared)
    def thing(self, *, room: int | None = None) -> Place | When[Place]:
        """Something happened."""
        return Place() if room is None else When(Place(), {"room": [room]})


async def test_behind_a_webhook_for_all_accounts_each_gets_the_events_of_its_own_account(store: str) -> None:
    calls: list[tuple[str, str]] = []
    things = dynamic("things", Teams().thing)

    @trigger(things)
    async def job(payload: dict[str, object], event: Event) -> None:
        assert event.subscriber is not None
        calls.append((event.subscriber.key, event.id))

    async with App([job], store=store, register="off") as app:
        for name, account in (("red", "T1"), ("blue", "T2")):
            row = r.Connection(f"teams/{name}", "teams", "manual", b"", account=account)
            await app.opened.store.put_connection(row)
            await app.subscribe(things(), key=name, connection=f"teams/{name}")
        await app.subscribe(things(room=7), key="seven", connection="teams/red")
        assert len({e.id for e in await app.opened.store.endpoints()}) == 1
        send = partial(deliver, app, things, to="red")
        await send(payload={"team": "T1", "id": 1})
        await send(payload={"team": "T2", "id": 2})
        await send(payload={"team": "T1", "id": 3, "room": 7})
        await send(payload={"team": "T9", "id": 4})
    assert sorted(calls) == [("blue", "2"), ("red", "1"), ("red", "3"), ("seven", "3")]


async def test_a_replay_of_an_accounts_event_starts_the_triggers_in_code_again(store: str) -> None:
    calls: list[str] = []

    @trigger(Teams().thing)
    async def job(payload: dict[str, object], event: Event) -> None:
        calls.append(event.id)

    async with App([job], store=store, register="off") as app:
        row = r.Connection("teams/red", "teams", "manual", b"", account="T1")
        await app.opened.store.put_connection(row)
        await app.opened.rows.ensure()
        delivered = await deliver(app, Teams().thing, payload={"team": "T1", "id": 1})
        assert calls == ["1"]
        (run,) = await app.replay(delivered.id)
        await ended(app, run)
    assert calls == ["1", "1"]
