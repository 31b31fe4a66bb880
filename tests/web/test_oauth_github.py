"""A consent at GitHub, whose token endpoint answers errors as HTTP 200, and whose App's tokens expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.runtime.connecting import KEY
from trigflow import App, Unauthorized, trigger
from trigflow.testing import VirtualClock
from trigflow_github import GitHub
from trigflow_github.testing import FakeGitHub

pytestmark = pytest.mark.anyio
URL = "https://hooks.example.com"
OURS = {"client_id": "Iv23ours", "client_secret": "client-secret-of-ours"}


async def agree(app: App, link: str) -> httpx.Response:
    """Follow a link to GitHub and back, in one browser."""
    pages = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL)
    begun = await pages.get(link)
    async with httpx.AsyncClient() as outside:
        back = await outside.get(begun.headers["location"])
    return await pages.get(back.headers["location"])


@pytest.mark.parametrize("expiring", [False, True])
async def test_a_person_connects_and_the_token_stays_fresh(tmp_path: Path, expiring: bool) -> None:
    with FakeGitHub(token="unused") as fake:
        fake.add_repository("acme/web")
        fake.add_oauth_app(**OURS, callbacks=[f"{URL}/oauth/callback"], expiring=expiring)
        hub = GitHub(base_url=fake.url)
        clock = VirtualClock(datetime.now(UTC))  # GitHub's own goes on
        app = App(
            store=str(tmp_path / "t.db"), url=URL, register="off", secret_key=KEY, clock=clock,
            app_credentials={hub: OURS},
        )  # fmt: skip
        async with app.inspect():
            assert (await agree(app, app.authorize_url(hub, "user"))).status_code == 200
            (one,) = await app.connections(hub)
            assert (one.kind, one.state, one.missing) == ("oauth2", "good", ())
            assert (one.expires_at is not None) == expiring
            first = await app.opened.clients.get("github/user")
            viewer = await first.viewer()
            clock.advance(timedelta(hours=9))
            later = await app.opened.clients.get("github/user")
            assert (later is first) != expiring
            assert (await later.viewer()).user.login == viewer.user.login
            if expiring:
                with pytest.raises(Unauthorized):
                    await first.viewer()  # a refresh ends the old token there


@pytest.mark.parametrize("lost", [False, True])
async def test_a_webhook_that_waited_for_a_connection_is_due_once_a_person_has_connected(
    tmp_path: Path, lost: bool
) -> None:
    with FakeGitHub(token="unused") as fake:
        fake.add_repository("acme/web")
        fake.add_oauth_app(**OURS, callbacks=[f"{URL}/oauth/callback"])
        hub = GitHub(base_url=fake.url)
        clock = VirtualClock(datetime.now(UTC))

        async def job(payload: object) -> None: ...

        app = App(
            [trigger(hub.through("user").issues(repo="acme/web"))(job)],
            store=str(tmp_path / "t.db"), url=URL, register="off", secret_key=KEY, clock=clock,
            app_credentials={hub: OURS},
        )  # fmt: skip
        async with app.inspect():
            if lost:
                await app.connect(hub, "user", {"token": "unused"})
                fake.revoke("unused")
            waiting = await app.apply()
            assert [bool(one.error) for one in waiting] == [True]
            assert await app.opened.store.due(now=int(clock.now() * 1000), limit=10) == []
            assert (await agree(app, app.authorize_url(hub, "user"))).status_code == 200
            assert len(await app.opened.store.due(now=int(clock.now() * 1000), limit=10)) == 1
            await app.opened.registering.register_due()
            assert len(fake.hooks("acme/web")) == 1


@pytest.mark.parametrize("refused", [False, True])
async def test_a_connection_that_is_removed_takes_its_webhooks_with_it(tmp_path: Path, refused: bool) -> None:
    with FakeGitHub(token="of-acme") as fake:
        fake.add_repository("acme/web")
        acme = GitHub(base_url=fake.url).through("acme")

        async def job(payload: object) -> None: ...

        wanted = trigger(acme.issues(repo="acme/web"))(job)
        app = App([wanted], store=str(tmp_path / "t.db"), url=URL, register="off", secret_key=KEY)
        async with app.inspect():
            ref = await app.connect(acme, "acme", {"token": "of-acme"})
            assert [one.error for one in await app.apply()] == [""]
            assert len(fake.hooks("acme/web")) == 1
            if refused:
                fake.revoke("of-acme")
            problems = await app.disconnect(ref)
            assert len(problems) == int(refused)
            assert "of-acme" not in "".join(problems)
            assert len(fake.hooks("acme/web")) == int(refused)
            assert await app.opened.store.connected(ref) == 0
            assert await app.connections() == []
            (step,) = await app.plan()
            assert step.action == "manual"  # the job still wants it
