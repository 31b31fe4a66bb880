"""After everything that an app does, no secret stands anywhere: in no store, log, answer or page."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import random
import shutil
import sqlite3
import string
import threading
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from tests.cli.commandline import Cli
from tests.redaction.hunt import Hunt, Listener
from trigflow import App
from trigflow.cli.targets import load
from trigflow.core.runs import FINAL
from trigflow.runtime import records as r
from trigflow.runtime.sealing.vault import Vault
from trigflow_github.testing import FakeGitHub

APP = Path(__file__).with_name("planted_app.py")
PUBLIC = "https://hooks.example.com"
DEADLINE = 10.0  # seconds


def secret(chance: random.Random, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(chance.choices(alphabet, k=40))


class Provider(ThreadingHTTPServer):
    """Refuses the first webhook and every note, and quotes whatever it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Provided)
        self.asked = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Provided(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Provider)
        self.server.asked += 1
        refused = self.path.startswith("/notes") or self.server.asked == 1
        body = b"refused: %s asked with %s %s" % (said, self.path.encode(), bytes(self.headers))
        self.send_response(422 if refused else 201)
        self.send_header("set-cookie", f"session={self.headers['x-client-secret']}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's word
        """Say nothing."""


@attrs.define
class World:
    """An app's folder, its secrets, and everything that it said."""

    folder: Path
    hunt: Hunt
    log: Listener
    planted: Mapping[str, str]
    answers: list[bytes] = attrs.field(factory=list[bytes])


@pytest.fixture(params=[0, 1])
def world(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[World]:
    chance = random.Random(request.param)
    # What a payload holds may be any text; a token is what fits into a URL or a header.
    any_text = string.ascii_letters + "äß€\"'\\/ &=?%+<>{}\n"
    planted = {
        "bank token": secret(chance),
        "client secret": secret(chance),
        "github token": f"ghp_{secret(chance)}",
        "authorization": secret(chance),
        "cookie": secret(chance),
        "query token": secret(chance),
        "hook secret": secret(chance),
        "another hook secret": secret(chance),
        "unknown path": secret(chance),
        "iban": secret(chance, any_text),
        "key": Vault.new_key(),
        "older key": Vault.new_key(),
        "no key": f"not-a-key-{secret(chance)}",
    }
    hunt, log, root = Hunt(), Listener(), logging.getLogger()
    for name, value in planted.items():
        hunt.plant(name, value)
    level = root.level
    root.addHandler(log)
    root.setLevel(1)
    shutil.copy(APP, folder / "app.py")
    with FakeGitHub(planted["github token"]) as hub, Provider() as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        environment = {
            "TRIGFLOW_SECRET_KEY": f"{planted['key']},{planted['older key']}",
            "TRIGFLOW_STORE": str(folder / "store.db"),
            "TRIGFLOW_URL": PUBLIC,
            "GITHUB_TOKEN": planted["github token"],
            "GITHUB_API_URL": hub.url,
            "BANK_TOKEN": planted["bank token"],
            "BANK_CLIENT_SECRET": planted["client secret"],
            "BANK_API_URL": provider.url,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield World(folder, hunt, log, planted)
        provider.shutdown()
    root.removeHandler(log)
    root.setLevel(level)


async def _asked(world: World, app: App, path: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Ask as a server would; return the status."""
    sent: list[MutableMapping[str, Any]] = []
    query = f"access_token={world.planted['query token']}".encode()
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": query, "headers": raw, "client": ("203.0.113.9", 1), "scheme": "https",
        "http_version": "1.1", "server": ("hooks.example.com", 443),
    }  # fmt: skip

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    world.answers.append(repr(sent).encode())
    return int(sent[0]["status"])


async def _endpoint(app: App, source: str) -> r.Endpoint:
    return next(one for one in await app.opened.store.endpoints() if one.source == source)


async def _exercise(world: World) -> None:
    """Do everything that touches a secret, in the app's own process."""
    app = load("app.py")
    planted = world.planted
    async with app:
        for endpoint in await app.opened.store.endpoints():
            world.hunt.plant(f"path of {endpoint.source}", endpoint.token)
        for _ in range(2):  # the first time the bank refuses
            await app.apply()
        await _deliver(world, app)
        mails = await _endpoint(app, "mail.webhook")
        for name in ("hook secret", "another hook secret"):
            headers = {"X-Hook-Secret": planted[name]}
            await _asked(world, app, f"{app.opened.mark}{mails.token}", b"{}", headers)
        # The protocol of a handshake is to send the secret back.
        world.answers[:] = [one for one in world.answers if planted["hook secret"].encode() not in one]
        await _ended(app)
        for row in await app.opened.store.deliveries(limit=99, outcome="accepted"):
            await app.replay(row.id)
        await _ended(app)
        for endpoint in await app.opened.store.endpoints():
            for number, key in enumerate(app.opened.routes.keys_of(endpoint)):
                world.hunt.plant(f"secret of {endpoint.source} {number}", key.secret)


async def _deliver(world: World, app: App) -> None:
    """Send what is right, wrong, broken and unknown, with credentials all over it."""
    bank = await _endpoint(app, "bank.webhook")
    (key,) = app.opened.routes.keys_of(bank)
    iban = world.planted["iban"]
    good = [
        json.dumps({"type": kind, "id": f"{kind}-1", "iban": iban}).encode()
        for kind in ("transfer", "broken", "unheard-of", "transfer")
    ]
    bodies = [*good, b'{"type":"note","id":"n-1"}', b'{"iban":' + json.dumps(iban).encode(), b"\xff" * 9]
    for number, body in enumerate(bodies):
        signature = hmac.new(key.secret, body, hashlib.sha256).hexdigest()
        world.hunt.plant(f"signature {number}", signature)
        headers = {
            "X-Sig": signature,
            "Authorization": f"Bearer {world.planted['authorization']}",
            "Cookie": f"session={world.planted['cookie']}",
        }
        path = f"{app.opened.mark}{bank.token}"
        await _asked(world, app, path, body, headers)
        await _asked(world, app, path, body + b" ", headers)  # what was signed was another body
        await _asked(world, app, path, body, {**headers, "X-Sig": world.planted["authorization"]})
    await _asked(world, app, f"{app.opened.mark}{world.planted['unknown path']}", b"{}", {})
    await _asked(world, app, f"/elsewhere/{world.planted['unknown path']}", b"{}", {})


async def _ended(app: App) -> None:
    with anyio.fail_after(DEADLINE):
        while any(run.state not in FINAL for run in await app.opened.store.runs(limit=999)):
            await anyio.sleep(0.01)


def _command_lines(store: Path) -> list[tuple[str, ...]]:
    """Return every command that shows something, with what there is to show."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        # One of each kind: each command opens the app anew.
        deliveries = [
            row[0]
            for row in connection.execute("SELECT min(id) FROM deliveries GROUP BY outcome, cause, sealed")
        ]
        runs = [row[0] for row in connection.execute("SELECT min(id) FROM runs GROUP BY job")]
    return [
        ("db", "check", "--full"), ("db", "stats"), ("db", "backup", "copy.db"),
        ("jobs",), ("settings",), ("check",), ("plan",), ("plan", "--offline"), ("apply",), ("version",),
        ("deliveries", "list", "--limit", "99"), ("runs", "list", "--limit", "99"),
        *(("deliveries", "show", id_, "--body") for id_ in deliveries),
        *(("runs", "show", id_) for id_ in runs),
        ("deliveries", "show", "dlv_unknown"), ("runs", "show", "run_unknown"),
        ("replay", deliveries[-1]), ("deliver", "bank.transfer", "--to", "http://127.0.0.1:9"),
    ]  # fmt: skip


def _found(world: World) -> list[str]:
    paths = [name for name in world.hunt.secrets if name.startswith("path of")]
    world.hunt.search("log", *world.log.lines)
    world.hunt.search("answer", *world.answers)
    # An endpoint is found by its path, so that is kept as it is.
    world.hunt.search_folder(world.folder, but=paths, ignore=["*.py", "*.pyc"])
    return [str(found) for found in world.hunt.found]


def test_no_secret_is_kept_logged_or_answered(world: World) -> None:
    anyio.run(_exercise, world)
    assert "\n".join(_found(world)) == ""
    assert len(world.hunt.secrets) > 25  # that is: they were all planted


def test_no_command_shows_a_secret(world: World, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    anyio.run(_exercise, world)
    for arguments in _command_lines(world.folder / "store.db"):
        for more in ((), ("--json",)):
            result = cli(*arguments, *more)
            world.hunt.search(" ".join(arguments), result.out, result.err)
    shown = cli("endpoints", "--json")
    paths = [name for name in world.hunt.secrets if name.startswith("path of")]
    world.hunt.search("endpoints", shown.out, shown.err, but=paths)
    for keys in (world.planted["no key"], Vault.new_key()):
        monkeypatch.setenv("TRIGFLOW_SECRET_KEY", keys)
        for arguments in _command_lines(world.folder / "store.db"):
            result = cli(*arguments)
            world.hunt.search(f"with a wrong key: {' '.join(arguments)}", result.out, result.err)
    assert "\n".join(_found(world)) == ""


SHOWN: list[Callable[[App], object]] = [
    lambda app: app.resolved(),
    lambda app: app.resolved().settings,
    lambda app: app.opened.vault,
    lambda app: app.opened.settings,
    lambda app: app.opened.clients.credentials("bank"),
    lambda app: list(app.opened.sources.values()),
    lambda app: list(app.jobs.values()),
]


@pytest.mark.parametrize("chosen", range(len(SHOWN)))
def test_no_value_that_a_debugger_or_a_log_may_print_shows_a_secret(world: World, chosen: int) -> None:
    async def show() -> str:
        app = load("app.py")
        async with app.inspect():
            await app.opened.rows.keep_rows()
            endpoints = await app.opened.store.endpoints()
            keys = [key for one in endpoints for key in app.opened.routes.keys_of(one)]
            for number, key in enumerate(keys):
                world.hunt.plant(f"secret {number}", key.secret)
            return f"{SHOWN[chosen](app)!r} {endpoints!r} {keys!r}"

    world.hunt.search("repr", anyio.run(show))
    assert [str(found) for found in world.hunt.found] == []
