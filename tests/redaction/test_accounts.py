"""No secret of an account, of our apps at providers or of the key ring stands or is shown anywhere."""

from __future__ import annotations

import base64
import json
import logging
import random
import sys
from collections.abc import Generator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import attrs
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cli.commandline import Cli
from tests.redaction.hunt import Hunt, Listener
from tests.redaction.test_secrets import secret
from tests.sources.oauth_provider import Provider, provider
from trigflow import App
from trigflow.cli.targets import load
from trigflow.runtime.boundary import attempt_async
from trigflow.runtime.sealing.vault import Vault
from trigflow_github.testing import FakeGitHub
from trigflow_stripe.testing import FakeStripe

APP = Path(__file__).with_name("accounts_app.py")
PUBLIC = "https://hooks.example.com"
REFUSES = "http://127.0.0.1:9"


@attrs.define
class World:
    folder: Path
    hunt: Hunt
    log: Listener
    served: Provider
    answers: list[str] = attrs.field(factory=list[str])


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[World]:
    chance = random.Random(7)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    planted = {
        "client secret": secret(chance),
        "stripe key": f"sk_test_{secret(chance)}",
        "person's token": f"ghp_{secret(chance)}",
        "alert path": f"T0{secret(chance)}",
        "alert secret": base64.b64encode(secret(chance).encode()).decode(),
        "bad token": secret(chance),
        "old ring": Vault.new_key(),
        **{f"private key {number}": line for number, line in enumerate(pem.splitlines()[1:-1])},
    }
    hunt, log, root = Hunt(), Listener(), logging.getLogger()
    for name, value in planted.items():
        hunt.plant(name, value)
    level = root.level
    root.addHandler(log)
    root.setLevel(1)
    (folder / "app.py").write_text(APP.read_text())
    (folder / "trigflow.db.key").write_text(planted["old ring"])
    with FakeGitHub() as hub, FakeStripe(planted["stripe key"]) as stripe, provider() as served:
        served.client = {"client_id": "our-app", "client_secret": planted["client secret"]}
        github_app = hub.add_app(
            public, events=("star", "issues"), permissions={"metadata": "read", "issues": "read"}
        )
        hub.install("acme")
        environment = {
            "TRIGFLOW_URL": PUBLIC,
            "TRIGFLOW_ALERT_URL": f"{REFUSES}/services/{planted['alert path']}",
            "TRIGFLOW_ALERT_SECRET": f"whsec_{planted['alert secret']}",
            "GITHUB_API_URL": hub.url,
            "GITHUB_APP_ID": str(github_app.id),
            "GITHUB_APP_PRIVATE_KEY": pem.replace("\n", "\\n"),
            "STRIPE_API_URL": stripe.url,
            "STRIPE_API_KEY": planted["stripe key"],
            "PERSON_TOKEN": planted["person's token"],
            "PARCELS_URL": served.url,
            "PARCELS_SECRET": planted["client secret"],
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield World(folder, hunt, log, served)
    root.removeHandler(log)
    root.setLevel(level)


def note(world: World, app: App) -> None:
    """Look for everything that has come since, too."""
    served = world.served
    for number, token in enumerate([*served.tokens, *served.refreshes, *served.used, *served.codes]):
        world.hunt.plant(f"token {number} {token[:3]}", token)
    for number, form in enumerate(served.forms):
        for name in ("code", "code_verifier", "refresh_token"):
            if name in form:
                world.hunt.plant(f"{name} {number}", form[name])
    for number, value in enumerate(app.opened.connections.tokens.had):
        if len(value) > 20:
            world.hunt.plant(f"had {number}", value)


async def exercise(world: World) -> None:
    app, served = load("app.py"), world.served
    async with app.inspect():
        connections, opened = app.opened.connections, app.opened
        known = opened.connections.known
        parcels = known.required("parcels")
        served.life = 1  # second: each use makes a token
        pages = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC)
        async with pages, httpx.AsyncClient() as outside:
            for _ in range(2):
                link = app.authorize_url(parcels, "user")
                world.hunt.plant("ticket", parse_qs(urlsplit(link).query)["ticket"][0])
                begun = await pages.get(link)
                back = (await outside.get(begun.headers["location"])).headers["location"]
                world.hunt.plant("state", parse_qs(urlsplit(back).query)["state"][0])
                if await app.connections(parcels):  # the second time it is refused, and told why
                    refusal = {"error": "invalid_grant", "error_description": f"{back} is over"}
                    served.odd = 400, json.dumps(refusal).encode(), {}
                ended = await pages.get(back)
                world.answers.append(f"{ended.text} {ended.headers!r}")
                note(world, app)
        served.odd = None
        await attempt_async(
            lambda: app.connect(parcels, "bad", {"token": world.hunt.secrets["bad token"].decode()})
        )
        await anyio.sleep(1.1)
        await connections.get("parcels/user")
        note(world, app)
        served.refreshes.clear()  # from now on it is refused, and the refusal quotes the token
        await anyio.sleep(1.1)
        await attempt_async(lambda: connections.get("parcels/user"))
        await attempt_async(lambda: connections.check("github/person"))
        await connections.accounts(known.required("github"))
        await opened.clients.get("github/acme")
        await app.apply()
        await attempt_async(
            lambda: app.subscribe(sys.modules["app"].repos(repo="acme/web"), key="u", connection="acme")
        )
        note(world, app)
        for endpoint in await opened.store.endpoints():
            for number, key in enumerate(opened.routes.keys_of(endpoint)):
                world.hunt.plant(f"secret of {endpoint.source} {number}", key.secret)
        world.answers.append(
            repr((await opened.store.connections(), await app.connections(), known, connections))
        )
        world.answers.append(repr((opened.clients, connections.tokens, opened.consents, parcels.auth)))


def test_no_secret_of_an_account_is_kept_logged_or_shown(world: World, cli: Cli) -> None:
    anyio.run(exercise, world)
    for arguments in (
        ("connections", "list"), ("connections", "check", "parcels/user"),
        ("connections", "check", "github/acme"), ("connections", "check", "github/person"),
        ("doctor",), ("doctor", "--offline"), ("orphans",), ("recover",), ("plan",), ("apply",),
        ("subscriptions", "list"), ("subscriptions", "show", "stripe.webhook"), ("settings",), ("jobs",),
        ("subscriptions", "rotate", "account"), ("endpoints",), ("check",), ("keys", "rotate"),
        ("connections", "list"), ("connections", "remove", "parcels/user", "--yes"), ("keys", "retire"),
    ):  # fmt: skip
        for more in ((), ("--json",)):
            told = cli(*arguments, *more)
            assert "Traceback" not in told.err, arguments
            world.hunt.search(" ".join(arguments), told.out, told.err)
        for number, key in enumerate((world.folder / "trigflow.db.key").read_text().split()):
            world.hunt.plant(f"ring {number} {key[:4]}", key)
    subscriptions = cli("subscriptions", "list", "--json").json
    for one in subscriptions:
        for more in ((), ("--json",)):
            told = cli("subscriptions", "show", one["id"], *more)
            world.hunt.search(f"show {one['key']}", told.out, told.err)
    world.hunt.search("log", *world.log.lines)
    world.hunt.search("answer", *world.answers)
    world.hunt.search_folder(world.folder, ignore=["*.py", "*.pyc", "*.key"])
    assert "\n".join(map(str, world.hunt.found)) == ""
    assert len(world.hunt.secrets) > 45
    assert len(subscriptions) >= 2
