"""One webhook for all installations of an app: each is told apart, and a new one is found by itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.test_opened import free_port, served
from trigflow import App, Event, trigger
from trigflow.runtime.registration import discovery
from trigflow.stores.sqlite.connection import connect
from trigflow_github import GitHub, GitHubClient
from trigflow_github.testing import FakeGitHub

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
pytestmark = pytest.mark.anyio


class Seen:
    """What the job saw: whose repository, and whether its client could act there."""

    def __init__(self) -> None:
        self.repositories: list[str] = []
        self.mistakes: list[str] = []


def app_of(fake: FakeGitHub, app_id: int, store: Path, url: str, seen: Seen) -> App:
    hub = GitHub(base_url=fake.url, app=True)

    @trigger(hub.star(), id="starred")
    async def starred(payload: dict[str, Any], event: Event, client: GitHubClient) -> None:
        repo = payload["repository"]["full_name"]
        listed, _ = await client.installation_repositories()
        if repo not in [one.full_name for one in listed.repositories]:
            seen.mistakes.append(f"the client of {repo} is that of another installation")
        seen.repositories.append(repo)

    return App(
        [starred],
        url=url,
        store=str(store),
        check_every=timedelta(seconds=10),
        app_credentials={hub: {"app_id": str(app_id), "private_key": PEM}},
    )


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not await anyio.to_thread.run_sync(done):
            await anyio.sleep(0.05)


def starring(fake: FakeGitHub, repo: str, seen: Seen) -> Callable[[], bool]:
    """Return what has something happen in a repository, and tells whether the job has seen any of it."""

    def done() -> bool:
        fake.emit(repo, "star", fake.payload(repo, "star", "created"))
        return repo in seen.repositories

    return done


async def test_every_installations_events_start_jobs_with_its_own_client_and_new_ones_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "LEAST", timedelta(seconds=0.2))
    seen, port = Seen(), free_port()
    with FakeGitHub() as fake:
        fake.add_repository("beta/shop")
        app = fake.add_app(PUBLIC, events=("star",), permissions={"metadata": "read"})
        fake.install("acme")
        url = f"http://127.0.0.1:{port}"
        with served(app_of(fake, app.id, tmp_path / "t.db", url, seen), port):
            await until(lambda: fake.app_hook().url.startswith(f"{url}/e/"))
            await until(starring(fake, "acme/web", seen))
            assert "beta/shop" not in seen.repositories
            fake.install("beta")
            await until(starring(fake, "beta/shop", seen))
            assert seen.mistakes == []


async def test_what_was_sent_before_an_installation_was_known_starts_its_job_once_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "LEAST", timedelta(seconds=0.2))
    seen, port = Seen(), free_port()
    with FakeGitHub() as fake:
        fake.add_repository("beta/shop")
        app = fake.add_app(PUBLIC, events=("star",), permissions={"metadata": "read"})
        fake.install("acme")
        url = f"http://127.0.0.1:{port}"
        with served(app_of(fake, app.id, tmp_path / "t.db", url, seen), port):
            await until(lambda: fake.app_hook().url.startswith(f"{url}/e/"))
            await until(starring(fake, "acme/web", seen))
            fake.install("beta")
            fake.emit("beta/shop", "star", fake.payload("beta/shop", "star", "created"))
            await until(lambda: "beta/shop" in seen.repositories)
            assert seen.repositories.count("beta/shop") == 1
            assert seen.mistakes == []


async def test_that_the_app_is_suspended_back_or_removed_somewhere_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SOON", timedelta(0))  # LEAST stays: what GitHub tells does not wait
    seen, port = Seen(), free_port()
    with FakeGitHub() as fake:
        app = fake.add_app(PUBLIC, events=("star",), permissions={"metadata": "read"})
        number = fake.install("acme").id
        url = f"http://127.0.0.1:{port}"
        made = app_of(fake, app.id, tmp_path / "t.db", url, seen)

        def is_(state: str) -> Callable[[], bool]:
            def look() -> bool:
                file = connect(tmp_path / "t.db")
                sql = "SELECT state FROM connections WHERE ref = 'github/acme'"
                try:
                    return file.execute(sql).fetchall() == [(state,)]
                finally:
                    file.close()

            return look

        with served(made, port):
            await until(lambda: fake.app_hook().url.startswith(f"{url}/e/"))
            await until(starring(fake, "acme/web", seen))
            fake.suspend(number)
            await until(is_("reauthorize"))
            fake.suspend(number, suspended=False)
            await until(is_("good"))
            fake.uninstall(number)
            await until(is_("reauthorize"))
