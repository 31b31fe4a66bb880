"""A tunnel is whatever program is installed; here it is a script that says what the real one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commandline import Cli
from trigflow.cli import tunnels
from trigflow.core.errors import SetupError

CLOUDFLARED = """
2025-01-01T00:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...
2025-01-01T00:00:00Z INF |  https://quick-brown-fox.trycloudflare.com      |
"""
NGROK = 't=2025-01-01T00:00:00+0000 lvl=info msg="started tunnel" addr=http://localhost:80 url=https://ab-1.ngrok-free.app'


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(path: Path, name: str, text: str, then: str) -> None:
    script = path / name
    script.write_text(
        f'#!/bin/sh\necho $$ > {path}/pid\necho "$@" > {path}/arguments\n'
        f"/bin/cat <<'END'\n{text}\nEND\n{then}\n"
    )
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "text", "url", "arguments"),
    [
        ("cloudflared", CLOUDFLARED, "https://quick-brown-fox.trycloudflare.com", "http://127.0.0.1:8123"),
        ("ngrok", NGROK, "https://ab-1.ngrok-free.app", "http 8123"),
    ],
)
def test_its_url_is_read_and_it_ends_with_us(
    path: Path, name: str, text: str, url: str, arguments: str
) -> None:
    install(path, name, text, "exec /bin/sleep 60")
    with tunnels.opened(8123) as found:
        assert found == url
        pid = int((path / "pid").read_text())
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert arguments in (path / "arguments").read_text()


def test_a_tunnel_that_ends_is_told_with_its_last_words(path: Path) -> None:
    install(path, "ngrok", "you must log in first", "exit 4")
    with (
        pytest.raises(SetupError, match="ngrok ended with 4; it said: you must log in first"),
        tunnels.opened(1),
    ):
        pass


def test_without_one_it_says_what_to_install_and_what_to_pass(cli: Cli, app_file: Path, path: Path) -> None:
    result = cli("dev", "--tunnel")
    assert result.code == 2
    for told in ("cloudflared", "ngrok", "--url"):
        assert told in result.err
