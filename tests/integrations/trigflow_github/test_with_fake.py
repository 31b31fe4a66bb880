"""The client, the App's tokens, registration, choices and recovery against the fake GitHub, over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from trigflow import (
    ApiError,
    App,
    Credentials,
    Events,
    Missed,
    Registration,
    RegistrationError,
    Unauthorized,
    trigger,
)
from trigflow_github import GitHub, GitHubApp, GitHubClient
from trigflow_github.recovery import recover
from trigflow_github.source import HookId, Place, ping, webhook
from trigflow_github.testing import FakeGitHub

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
REPO = Place(repo="acme/web")
assert webhook.api is not None
api = webhook.api


class Answering(BaseHTTPRequestHandler):
    """Answers as its server is told to."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(getattr(self.server, "answers", 200))
        self.end_headers()

    def log_message(self, format: str, *_args: Any) -> None:  # noqa: A002 - as in the base class
        return None


class Receiver:
    """An endpoint of ours that may be down."""

    def __init__(self) -> None:
        self.server = HTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_port}/e/abcdefgh/{'a' * 32}"
        self.answer(200)

    def answer(self, status: int) -> None:
        self.server.answers = status  # type: ignore[attr-defined]  # an attribute of our own


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    with FakeGitHub() as made:
        yield made


def wanting(
    url: str, *events: str, place: Place = REPO, data: HookId | None = None
) -> Registration[Place, HookId]:
    return Registration(url, place, Events(events), "hush", data, "/e/abcdefgh/")


async def minted(fake: FakeGitHub, app_id: int, **kept: str) -> GitHubClient:
    """Return the client of the App or of one of its installations, as a connection would make it."""
    app = Credentials({"app_id": str(app_id), "private_key": PEM})
    async with httpx.AsyncClient() as http:
        token = await GitHubApp(fake.url).token(app, Credentials(kept), http, now=datetime.now(UTC))
    return GitHub(base_url=fake.url).client(Credentials({**kept, **token.values}))


@pytest.mark.anyio
async def test_an_app_finds_its_installations_and_acts_for_each(fake: FakeGitHub) -> None:
    fake.add_repository("beta/shop")
    app = fake.add_app(PUBLIC)
    one, other = fake.install("acme"), fake.install("beta")
    suspended = fake.install("acme")
    fake.suspend(suspended.id)
    integration = GitHub(base_url=fake.url)
    async with await minted(fake, app.id) as itself:
        checked = await integration.check(itself)
        assert (checked.account, checked.label) == (str(app.id), app.slug)
        accounts = await integration.accounts(itself)
    assert {(account.name, account.id) for account in accounts} == {
        ("acme", str(one.id)),
        ("beta", str(other.id)),
    }
    for account, repo in zip(accounts, ("acme/web", "beta/shop"), strict=True):
        async with await minted(fake, app.id, **account.values) as hub:
            assert (await integration.check(hub)).account == account.id
            choices = await webhook.option_hooks["repo"](hub, None)
            assert [choice.value for choice in choices.items] == [repo]


@pytest.mark.anyio
async def test_an_installation_that_is_gone_or_suspended_needs_a_person(fake: FakeGitHub) -> None:
    app = fake.add_app(PUBLIC)
    one = fake.install("acme")
    fake.suspend(one.id)
    with pytest.raises(Unauthorized, match="suspended"):
        await minted(fake, app.id, installation_id=str(one.id))
    fake.uninstall(one.id)
    with pytest.raises(Unauthorized, match="install it again"):
        await minted(fake, app.id, installation_id=str(one.id))


@pytest.mark.anyio
async def test_a_key_that_is_not_the_apps_is_refused(fake: FakeGitHub) -> None:
    app = fake.add_app(PUBLIC)
    async with await minted(fake, app.id + 1) as hub:
        with pytest.raises(Unauthorized):
            await GitHub(base_url=fake.url).check(hub)


@pytest.mark.anyio
async def test_the_webhook_of_an_app_from_nothing_to_what_was_missed(
    fake: FakeGitHub, receiver: Receiver
) -> None:
    app = fake.add_app(PUBLIC, events=["issues"])
    one = fake.install("acme")
    place = Place(app=True)
    async with await minted(fake, app.id) as hub:
        assert await api.list(place, hub) == []
        made = await api.create(wanting(receiver.url, "issues", place=place), hub)
        assert fake.app_hook().secret == "hush"
        assert await api.list(place, hub) == [made]
        with pytest.raises(RegistrationError, match="is not sent push"):
            await api.update(wanting(receiver.url, "issues", "push", place=place), made, hub)
        receiver.answer(503)
        since = datetime.now(UTC) - timedelta(seconds=5)
        sent = fake.payload("acme/web", "issues", "opened")
        [attempt] = await anyio.to_thread.run_sync(fake.emit, "acme/web", "issues", sent)
        found = [
            missed async for missed in recover(wanting(receiver.url, place=place, data=made.data), since, hub)
        ]
    [missed] = found
    assert isinstance(missed, Missed)
    assert missed.headers.get("x-github-delivery") == attempt.delivery
    assert msgspec.json.decode(missed.body) == {**sent, "installation": one.short()}


@pytest.mark.anyio
async def test_what_a_repository_missed_is_recovered_until_it_was_redelivered(
    fake: FakeGitHub, receiver: Receiver
) -> None:
    since = datetime.now(UTC) - timedelta(seconds=5)
    async with GitHubClient("fake-token", base_url=fake.url) as hub:
        made = await api.create(wanting(receiver.url, "issues"), hub)
        fake.settle()
        receiver.answer(500)
        sent = fake.payload("acme/web", "issues", "opened")
        attempts = [
            (await anyio.to_thread.run_sync(fake.emit, "acme/web", "issues", sent))[0] for _ in range(3)
        ]
        reg = wanting(receiver.url, data=made.data)
        found = [one async for one in recover(reg, since, hub)]
        assert {attempt.delivery for attempt in attempts} == {
            one.headers.get("x-github-delivery") for one in found if isinstance(one, Missed)
        }
        receiver.answer(200)
        await anyio.to_thread.run_sync(fake.redeliver, attempts[0])
        assert len([one async for one in recover(reg, since, hub)]) == 2


@pytest.mark.anyio
async def test_the_client_sends_an_apps_delivery_again_and_lists_what_an_organization_has(
    fake: FakeGitHub, receiver: Receiver
) -> None:
    app = fake.add_app(PUBLIC, events=["issues"], url=receiver.url, secret="hush")
    one = fake.install("acme")
    await anyio.to_thread.run_sync(fake.settle)
    receiver.answer(500)
    sent = fake.payload("acme/web", "issues", "opened")
    [attempt] = await anyio.to_thread.run_sync(fake.emit, "acme/web", "issues", sent)
    receiver.answer(200)
    async with await minted(fake, app.id) as hub:
        await hub.redeliver_app(attempt.id)
    await anyio.to_thread.run_sync(fake.settle)
    assert [(one.delivery, one.ok) for one in fake.log()][-2:] == [
        (attempt.delivery, False),
        (attempt.delivery, True),
    ]
    async with await minted(fake, app.id, installation_id=str(one.id)) as hub:
        found, following = await hub.organization_repositories("acme")
    assert ([listed.full_name for listed in found], following) == (["acme/web"], None)


@pytest.mark.anyio
async def test_a_ping_arrives(fake: FakeGitHub, receiver: Receiver) -> None:
    async with GitHubClient("fake-token", base_url=fake.url) as hub:
        made = await api.create(wanting(receiver.url, "issues"), hub)
        await ping(wanting(receiver.url, data=made.data), hub)
    await anyio.to_thread.run_sync(fake.settle)
    assert [attempt.event for attempt in fake.attempts("acme/web")] == ["ping", "ping"]


@pytest.mark.anyio
async def test_the_twenty_first_webhook_of_an_event_is_refused_with_what_helps(fake: FakeGitHub) -> None:
    for number in range(20):
        fake.add_hook("acme/web", f"https://x.dev/{number}")
    async with GitHubClient("fake-token", base_url=fake.url) as hub:
        with pytest.raises(ApiError, match=r"20 hooks; .*remove one that nobody needs"):
            await api.create(wanting("https://hooks.acme.dev/e/abcdefgh/x", "push"), hub)
        assert len(await api.list(REPO, hub)) == 20


@pytest.mark.anyio
async def test_a_token_that_may_write_but_not_delete_is_found_out(fake: FakeGitHub) -> None:
    fake.add_token("ghp_writes", scopes=["write:repo_hook"])
    async with GitHubClient("ghp_writes", base_url=fake.url) as hub:
        made = await api.create(wanting("https://hooks.acme.dev/e/abcdefgh/x", "push"), hub)
        with pytest.raises(Unauthorized, match="admin:repo_hook"):
            await api.delete(wanting(made.url), made, hub)
    async with GitHubClient("fake-token", base_url=fake.url) as hub:
        await api.delete(wanting(made.url), made, hub)
        await api.delete(wanting(made.url), made, hub)
        assert await api.list(REPO, hub) == []


@pytest.mark.anyio
async def test_a_limit_is_told_with_its_end(fake: FakeGitHub) -> None:
    from trigflow import RateLimited

    fake.limit = 0
    async with GitHubClient("fake-token", base_url=fake.url) as hub:
        with pytest.raises(RateLimited) as caught:
            await hub.viewer()
    assert caught.value.until > datetime.now(UTC)


def listening(fake: FakeGitHub, *ticked: str) -> App:
    """Return an app whose one job wants issues through a GitHub App; ticked: the events in its settings."""
    registered = fake.add_app(PUBLIC, events=ticked)
    mine = GitHub(base_url=fake.url, app=True)

    @trigger(mine.issues())
    async def job(payload: dict[str, Any]) -> None:
        return None

    return App(
        [job],
        url="https://hooks.example.com",
        store="memory:",
        register="off",
        app_credentials={mine: {"app_id": str(registered.id), "private_key": PEM}},
    )


@pytest.mark.anyio
async def test_an_app_registers_its_webhook_once_and_finds_it_again(fake: FakeGitHub) -> None:
    async with listening(fake, "issues") as app:
        assert [(one.step.action, one.error) for one in await app.apply()] == [("create", "")]
        assert fake.app_hook().url.startswith("https://hooks.example.com/e/")
        assert [step.action for step in await app.plan()] == ["none"]
    assert len([call for call in fake.writes if call.path == "/app/hook/config"]) == 1


@pytest.mark.anyio
async def test_ticked_events_that_no_job_wants_are_no_reason_to_change_anything(fake: FakeGitHub) -> None:
    async with listening(fake, "issues", "push") as app:
        await app.apply()
        assert [step.action for step in await app.plan()] == ["none"]
