"""Registration against a fake GitHub: a real HTTP server with the rules of the real one."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    RefusedForNow,
    Registered,
    Registration,
    Trigger,
    event,
    hmac_sha256,
    trigger,
)
from trigflow.runtime.registration.steps import Applied
from trigflow_github import GitHub, GitHubClient, github
from trigflow_github.testing import FakeGitHub

pytestmark = pytest.mark.anyio
URL = "https://hooks.example.com/here"
AT_ONCE = timedelta(0)


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub(token="secret-token") as running:
        yield running


def job_for(*triggers: Trigger[object]) -> Callable[..., object]:
    async def job(payload: dict[str, object]) -> None: ...

    return trigger(*triggers)(job)


def app_wanting(fake: FakeGitHub, store: Path | str, *triggers: Trigger[object]) -> App:
    hub = GitHub(base_url=fake.url)

    return App(
        [job_for(*triggers)],
        url=URL,
        store=str(store),
        register="off",
        connections={hub: "secret-token"},
    )


def acme(fake: FakeGitHub) -> GitHub:
    return GitHub(base_url=fake.url)


async def applied(app: App) -> Sequence[Applied]:
    async with app.inspect():
        return await app.apply(grace=AT_ONCE)


def actions(found: Sequence[Applied]) -> list[str]:
    assert not [one.error for one in found if one.error]
    return [one.step.action for one in found]


async def test_apply_creates_the_webhook_with_our_secret_and_the_second_apply_writes_nothing(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    app = app_wanting(fake, tmp_path / "t.db", acme(fake).issues(repo="acme/web", actions=["opened"]))
    assert actions(await applied(app)) == ["create"]
    (hook,) = fake.hooks("acme/web")
    assert hook.events == ("issues",)
    assert hook.url.startswith(f"{URL}/e/")
    assert hook.secret
    fake.settle()
    writes = len(fake.writes)
    assert actions(await applied(app)) == []
    assert len(fake.writes) == writes


async def test_one_webhook_has_the_union_of_the_events_of_all_jobs(fake: FakeGitHub, tmp_path: Path) -> None:
    hub = acme(fake)
    app = app_wanting(fake, tmp_path / "t.db", hub.issues(repo="acme/web"), hub.push(repo="Acme/Web"))
    await applied(app)
    (hook,) = fake.hooks("acme/web")
    assert sorted(hook.events) == ["issues", "push"]


async def test_events_are_added_and_taken_away_in_place(fake: FakeGitHub, tmp_path: Path) -> None:
    hub, store = acme(fake), tmp_path / "t.db"
    await applied(app_wanting(fake, store, hub.issues(repo="acme/web"), hub.star(repo="acme/web")))
    (before,) = fake.hooks("acme/web")
    found = await applied(app_wanting(fake, store, hub.issues(repo="acme/web"), hub.push(repo="acme/web")))
    (after,) = fake.hooks("acme/web")
    assert actions(found) == ["update"]
    assert (found[0].step.missing, found[0].step.orphaned) == (("push",), ("star",))
    assert sorted(after.events) == ["issues", "push"]
    assert (after.id, after.secret) == (before.id, before.secret)


async def test_a_webhook_that_no_job_wants_is_removed_and_foreign_ones_stay(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    async with GitHubClient("secret-token", base_url=fake.url) as client:
        await client.create_hook("https://elsewhere.example.com/x", ["push"], repo="acme/web")
    hub, store = acme(fake), tmp_path / "t.db"
    await applied(app_wanting(fake, store, hub.issues(repo="acme/web"), hub.push(org="acme")))
    assert len(fake.hooks("acme/web")) == 2
    found = await applied(app_wanting(fake, store, hub.push(org="acme")))
    assert actions(found) == ["remove"]
    assert [hook.url for hook in fake.hooks("acme/web")] == ["https://elsewhere.example.com/x"]


async def test_what_was_changed_or_deleted_by_hand_is_brought_back(fake: FakeGitHub, tmp_path: Path) -> None:
    app = app_wanting(fake, tmp_path / "t.db", acme(fake).issues(repo="acme/web"))
    await applied(app)
    async with GitHubClient("secret-token", base_url=fake.url) as client:
        (hook,) = fake.hooks("acme/web")
        await client.update_hook(hook.id, repo="acme/web", events=["push"], active=False)
        assert actions(await applied(app)) == ["update"]
        (hook,) = fake.hooks("acme/web")
        assert (hook.events, hook.active, bool(hook.secret)) == (("issues",), True, True)
        await client.delete_hook(hook.id, repo="acme/web")
    assert actions(await applied(app)) == ["recreate"]
    assert len(fake.hooks("acme/web")) == 1


async def test_a_create_whose_answer_was_lost_is_adopted_not_doubled(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    app = app_wanting(fake, tmp_path / "t.db", acme(fake).issues(repo="acme/web"))
    fake.fail("POST", r"/hooks$", 502, effective=True)
    (lost,) = await applied(app)
    assert "502" in lost.error
    assert len(fake.hooks("acme/web")) == 1
    assert actions(await applied(app)) == ["adopt"]
    (hook,) = fake.hooks("acme/web")
    assert hook.secret


async def test_a_refusal_is_kept_with_its_cause_and_the_others_go_on(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    fake.add_repository("acme/api")
    hub = acme(fake)
    app = app_wanting(fake, tmp_path / "t.db", hub.issues(repo="acme/api"), hub.issues(repo="acme/web"))
    fake.fail("POST", r"acme/api/hooks$", 422, times=1)
    refused, worked = await applied(app)
    assert "422" in refused.error
    assert worked.error == ""
    async with app.inspect():
        store = app.opened.store
        states = {s.key: s for e in await store.endpoints() for s in e.subscriptions}
        failing = states["repo:acme/api"]
        assert (failing.state, failing.failures) == ("failing", 1)
        assert "422" in failing.cause
        assert states["repo:acme/web"].state == "active"
        (attempt,) = await store.registrations(failing.id)
        assert (attempt.action, attempt.outcome) == ("create", "refused")
        now = int(app.opened.clock.now() * 1000)
        due = [s.key for e in await store.due(now=now, limit=10) for s in e.subscriptions]
        assert "repo:acme/api" not in due, "it waits after a refusal"


async def test_two_stores_leave_each_other_alone_and_say_so(fake: FakeGitHub, tmp_path: Path) -> None:
    hub = acme(fake)
    await applied(app_wanting(fake, tmp_path / "a.db", hub.issues(repo="acme/web")))
    other = app_wanting(fake, tmp_path / "b.db", hub.issues(repo="acme/web"))
    async with other.inspect():
        await other.opened.rows.ensure()
        (step,) = await other.plan()
        assert (step.action, step.others) == ("create", 1)
    await applied(other)
    assert len(fake.hooks("acme/web")) == 2


async def test_a_webhook_with_our_mark_that_the_store_forgot_is_swept(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    app = app_wanting(fake, tmp_path / "t.db", acme(fake).issues(repo="acme/web"))
    await applied(app)
    async with app.inspect():
        mark = app.opened.mark
    async with GitHubClient("secret-token", base_url=fake.url) as client:
        await client.create_hook(f"{URL}{mark}{'a' * 32}", ["push"], repo="acme/web")
    assert actions(await applied(app)) == ["sweep"]
    assert len(fake.hooks("acme/web")) == 1


async def test_a_new_public_url_moves_the_webhook(fake: FakeGitHub, tmp_path: Path) -> None:
    app = app_wanting(fake, tmp_path / "t.db", acme(fake).issues(repo="acme/web"))
    await applied(app)
    app.override(url="https://moved.example.com")
    assert actions(await applied(app)) == ["update"]
    (hook,) = fake.hooks("acme/web")
    assert hook.url.startswith("https://moved.example.com/e/")
    assert hook.secret


async def test_a_command_that_does_not_know_the_public_url_finds_no_fault_with_it(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    store, hub = tmp_path / "t.db", acme(fake)
    await applied(app_wanting(fake, store, hub.push(repo="acme/web")))
    app = App(
        [job_for(hub.push(repo="acme/web"))], store=str(store), register="off",
        connections={hub: "secret-token"},
    )  # fmt: skip
    async with app.inspect():
        assert [step.action for step in await app.plan()] == ["none"]


async def test_without_a_public_url_nothing_is_registered_and_the_remedy_is_named(
    fake: FakeGitHub, tmp_path: Path
) -> None:
    app = App(
        [job_for(acme(fake).issues(repo="acme/web"))],
        store=str(tmp_path / "t.db"),
        register="off",
        connections={acme(fake): "secret-token"},
    )
    (found,) = await applied(app)
    assert "TRIGFLOW_URL" in found.error
    assert fake.hooks("acme/web") == []


async def test_without_credentials_url_and_secret_are_there_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    app = App(
        [job_for(github.issues(repo="acme/web"))],
        url=URL,
        store=str(tmp_path / "t.db"),
        register="off",
    )
    async with app.inspect():
        (found,) = await app.apply()
        assert found.step.action == "manual"
        assert "GITHUB_TOKEN" in found.step.reason
        (endpoint,) = await app.opened.store.endpoints()
        assert app.opened.reconciler.url_of(endpoint).startswith(URL)
        assert app.opened.routes.keys_of(endpoint)[0].secret


async def test_wants_of_another_live_process_are_not_taken_away(fake: FakeGitHub, tmp_path: Path) -> None:
    hub, store = acme(fake), tmp_path / "t.db"
    both = app_wanting(fake, store, hub.issues(repo="acme/web"), hub.push(repo="acme/web"))
    await applied(both)
    new = app_wanting(fake, store, hub.issues(repo="acme/web"))
    async with new.inspect():
        (step,) = await new.plan()
        assert step.action == "none"
        (step,) = await new.plan(grace=AT_ONCE)
        assert step.orphaned == ("push",)


# --- hooks instead of the four plain calls


class Calls:
    """A provider that only remembers what it was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[str, ...]]] = []
        self.refuse: Exception | None = None
        self.answer: Registered[int] | None = Registered(7, secret="from the provider")


def integration(calls: Calls) -> Trigger[dict[str, object]]:
    source: ExternalSource[str, Calls, int] = ExternalSource(
        "plain.webhook", params=str, client=Calls, data=int, verify=hmac_sha256("X-Sig")
    )

    @source.register
    async def register(reg: Registration[str, int], client: Calls) -> Registered[int] | None:
        if client.refuse is not None:
            raise client.refuse
        client.made.append(("register", reg.events.desired))
        return client.answer

    @source.unregister
    async def unregister(reg: Registration[str, int], client: Calls) -> None:
        client.made.append(("unregister", reg.events.registered))

    @source.handler
    def handle(delivery: Delivery[str, int]) -> list[Event]:
        return []

    class Plain(Integration, id="plain"):
        def client(self, credentials: object) -> Calls:
            return calls

        def credentials(self, environ: object) -> object:  # type: ignore[override]
            return {"token": "x"}

        @event("thing", dict[str, object], source=source)
        def thing(self) -> str:
            """A thing."""
            return "params"

    return Plain().thing()


async def test_hooks_register_once_keep_the_providers_secret_and_unregister(tmp_path: Path) -> None:
    calls = Calls()
    found = integration(calls)
    store = str(tmp_path / "t.db")
    app = App([job_for(found)], url=URL, store=store, register="off")
    assert actions(await applied(app)) == ["create"]
    assert actions(await applied(app)) == []
    async with app.inspect():
        (endpoint,) = await app.opened.store.endpoints()
        assert app.opened.routes.keys_of(endpoint)[0].secret == b"from the provider"
    assert calls.made == [("register", ("thing",))]


async def test_a_hook_that_returns_nothing_the_first_time_is_told_to_return_something(
    tmp_path: Path,
) -> None:
    calls = Calls()
    calls.answer = None
    app = App(
        [job_for(integration(calls))],
        url=URL,
        store=str(tmp_path / "t.db"),
        register="off",
    )
    (found,) = await applied(app)
    assert "return Registered" in found.error


async def test_a_provider_that_says_when_is_not_asked_before(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    calls = Calls()
    until = datetime.now(UTC) + timedelta(hours=5)
    calls.refuse = RefusedForNow("plain", until)
    app = App(
        [job_for(integration(calls))],
        url=URL,
        store=str(tmp_path / "t.db"),
        register="off",
    )
    await applied(app)
    async with app.inspect():
        (endpoint,) = await app.opened.store.endpoints()
        assert endpoint.subscriptions[0].next_at == int(until.timestamp() * 1000)
