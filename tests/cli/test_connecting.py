"""Connections and keys through the command line, beside a provider on this machine."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import anyio
import pytest

from tests.cli.commandline import Cli
from tests.sources.oauth_provider import CLIENT, Provider, provider
from trigflow.runtime.sealing.vault import Vault
from trigflow.stores.sqlite import SqliteStore

APP = """
from trigflow import App
from tests.runtime.connecting import described

parcels = described("{url}")
app = App(app_credentials={{parcels: {client}}}, register="off")
"""


@pytest.fixture
def served(folder: Path) -> Iterator[Provider]:
    with provider() as running:
        running.tokens.add("a-good-token")
        client = {"client_id": CLIENT["client_id"], "client_secret": CLIENT["client_secret"]}
        (folder / "app.py").write_text(APP.format(url=running.url, client=client))
        yield running


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A browser whose person always agrees; holds what it was shown in the end."""
    shown: list[str] = []
    threads: list[threading.Thread] = []

    def browse(url: str) -> bool:
        def follow() -> None:
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            try:
                with opener.open(url, timeout=20) as answer:
                    shown.append(answer.read().decode())
            except urllib.error.HTTPError as refused:
                with refused:
                    shown.append(refused.read().decode())

        threads.append(threading.Thread(target=follow))
        threads[-1].start()
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    yield shown
    for thread in threads:
        thread.join(20)


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_key_from_standard_input_is_checked_kept_shown_without_itself_and_removed(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "a-good-token\n")
    made = cli("connect", "parcels", "--name", "user", "--token-stdin")
    assert (made.code, made.out.split()) == (0, ["connected", "parcels/user", "Ann"])
    listed = cli("connections", "list", "--json")
    (one,) = listed.json
    assert (one["ref"], one["kind"], one["state"]) == ("parcels/user", "api-key", "good")
    assert one["label"] == "Ann"
    assert cli("connections", "check", "parcels/user").code == 0
    removed = cli("connections", "remove", "parcels/user")
    assert (removed.code, cli("connections", "list", "--json").json) == (0, [])
    for result in (made, listed, removed):
        assert "a-good-token" not in result.out + result.err


def test_a_key_that_the_provider_refuses_is_not_kept(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "a-bad-token\n")
    refused = cli("connect", "parcels", "--token-stdin")
    assert (refused.code, refused.out) == (1, "")
    assert cli("connections", "list", "--json").json == []


def test_the_browser_comes_back_to_this_machine(cli: Cli, served: Provider, agreeing: list[str]) -> None:
    made = cli("connect", "parcels", "--name", "user", "--kind", "oauth2", "--port", "0")
    assert made.code == 0, made.err
    assert "http://127.0.0.1:" in made.out
    assert "/oauth/callback" in made.out
    (one,) = cli("connections", "list", "--json").json
    assert (one["ref"], one["kind"], one["account"]) == ("parcels/user", "oauth2", "7")
    assert one["expires_at"] is not None


def test_a_client_of_ones_own_is_kept_with_the_connection(
    cli: Cli, served: Provider, agreeing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.client = {"client_id": "their-own", "client_secret": "their-own-secret"}
    monkeypatch.setattr("getpass.getpass", lambda _: "their-own-secret")
    monkeypatch.setattr(sys, "stdin", Terminal())
    made = cli("connect", "parcels", "--client-id", "their-own", "--port", "0")
    assert made.code == 0, made.err
    assert "their-own-secret" not in made.out + made.err
    assert served.forms[-1]["client_id"] == "their-own"


def test_a_person_that_says_no_is_not_connected(cli: Cli, served: Provider, agreeing: list[str]) -> None:
    served.denies = True
    refused = cli("connect", "parcels", "--kind", "oauth2", "--port", "0")
    assert (refused.code, "no consent" in refused.err) == (1, True)
    assert cli("connections", "list", "--json").json == []


def test_what_else_asks_at_the_loopback_does_not_end_the_consent(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def ask(url: str) -> int:
        try:
            with opener.open(url, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def browse(url: str) -> bool:
        base = url.partition("/start")[0]
        strays = [f"{base}/callback?state=x&code=y", f"{base}/start?ticket=x", f"{base}/elsewhere"]
        thread = threading.Thread(target=lambda: shown.extend(map(ask, [*strays, url, *strays])))
        thread.start()
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    made = cli("connect", "parcels", "--name", "user", "--kind", "oauth2", "--port", "0")
    assert (made.code, shown[:4]) == (0, [400, 400, 404, 200]), made.err


def test_a_kind_that_there_is_not_is_told_with_those_that_there_are(cli: Cli, served: Provider) -> None:
    refused = cli("connect", "parcels", "--kind", "smoke")
    assert refused.code == 2
    assert "it has: api-key, manual, oauth2, client-credentials" in refused.err


class Terminal(io.StringIO):
    """Standard input where somebody sits."""

    def isatty(self) -> bool:
        return True


def test_what_is_asked_is_not_shown_as_it_is_typed(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: "1")

    def ask(text: str) -> str:
        asked.append(text)
        return "a-good-token"

    monkeypatch.setattr("getpass.getpass", ask)
    assert cli("connect", "parcels").code == 0
    assert asked == ["API key: "]


def test_by_hand_nothing_is_asked_of_the_provider(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: "whsec_1")
    served.tokens.clear()
    assert cli("connect", "parcels", "--manual").code == 0
    (one,) = cli("connections", "list", "--json").json
    assert (one["ref"], one["kind"]) == ("parcels", "manual")


def test_without_a_terminal_nobody_is_waited_for(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "")
    for arguments in (("connect", "parcels"), ("connect", "parcels", "--kind", "api-key")):
        told = cli(*arguments)
        assert (told.code, "no terminal" in told.err) == (2, True)
    assert "has no integration 'nobody'" in cli("connect", "nobody").err


# --- keys


def connect(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, "a-good-token\n")
    assert cli("connect", "parcels", "--token-stdin").code == 0


def test_a_rotated_key_file_has_a_new_key_and_opens_what_there_was(
    cli: Cli, folder: Path, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(cli, monkeypatch)
    path = folder / "trigflow.db.key"
    old = path.read_text()
    rotated = cli("keys", "rotate")
    assert rotated.code == 0, rotated.err
    (new,) = path.read_text().split()
    assert new != old
    assert path.stat().st_mode & 0o077 == 0
    assert cli("connections", "check", "parcels").code == 0
    assert old not in rotated.out + rotated.err
    assert new not in rotated.out + rotated.err
    path.write_text(old)
    wrong = cli("connections", "check", "parcels")
    assert (wrong.code, "TRIGFLOW_SECRET_KEY" in wrong.err) == (2, True)


def test_a_key_of_the_environment_is_rotated_in_two_steps(
    cli: Cli, folder: Path, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Vault.new_key()
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", old)
    connect(cli, monkeypatch)
    first = cli("keys", "rotate")
    ring = first.out.strip().splitlines()[-1].removeprefix("TRIGFLOW_SECRET_KEY=")
    assert ring.split(",")[1] == old
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", ring)
    assert cli("keys", "rotate").code == 0
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", ring.split(",")[0])
    assert cli("connections", "check", "parcels").code == 0
    assert not (folder / "trigflow.db.key").exists()


def test_nothing_is_rotated_with_a_key_that_does_not_fit(
    cli: Cli, folder: Path, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(cli, monkeypatch)
    path = folder / "trigflow.db.key"
    path.write_text(other := Vault.new_key())
    refused = cli("keys", "rotate")
    assert (refused.code, "can't be opened" in refused.err) == (2, True)
    assert path.read_text() == other


def test_commands_that_need_the_key_say_when_it_is_none(
    cli: Cli, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGFLOW_SECRET_KEY", "not-a-key")
    piped(monkeypatch, "a-good-token\n")
    for arguments in (
        ("connect", "parcels", "--token-stdin"), ("connections", "list"), ("connections", "check", "parcels"),
        ("connections", "remove", "parcels"),
    ):  # fmt: skip
        told = cli(*arguments)
        assert (told.code, "secret_key: is not 32 bytes" in told.err) == (2, True), arguments
        assert "not-a-key" not in told.err
    assert json.dumps(dict(os.environ)).count("not-a-key") == 1


def test_the_old_key_stays_while_a_process_may_still_use_it(
    cli: Cli, folder: Path, served: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(cli, monkeypatch)
    path = folder / "trigflow.db.key"
    old = path.read_text()

    async def work() -> None:
        async with SqliteStore(str(folder / "trigflow.db"), store_id=lambda: "unused22") as store:
            await store.beat("ins_works", now=int(time.time() * 1000))

    anyio.run(work)
    rotated = cli("keys", "rotate")
    assert (rotated.code, "trigflow keys retire" in rotated.out) == (0, True)
    new, kept = path.read_text().split()
    assert (kept, new != old) == (old, True)
    assert cli("keys", "retire").code == 0
    assert path.read_text() == new
    assert cli("connections", "check", "parcels").code == 0
