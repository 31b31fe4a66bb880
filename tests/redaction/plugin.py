"""Listens while all tests run, and looks for their secrets in what each of them left behind.

    python -m pytest -p tests.redaction.plugin          (`nox -s secrets`)

Secrets are what was sealed or given as a credential or a key while a test ran. Looked
through are the log records of the test at level DEBUG, and the files in its `tmp_path`:
databases with what is packed in them, logs of processes. What may hold secrets (the key
beside a store, an app's own code) is left out.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.redaction.hunt import Found, Hunt, Listener
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.credentials import Credentials

LONG_ENOUGH = 12  # bytes; what is shorter is found by chance
MANY = 300  # secrets of one test; what draws thousands of examples makes thousands
MAY_HOLD = ("*.key", "*.py", "*.pyc", ".env")


class Plugin:
    """One run of the tests."""

    def __init__(self) -> None:
        self.secrets: dict[bytes, str] = {}
        self.found: dict[str, list[Found]] = {}
        self.looked = 0

    def note(self, name: str, secret: str | bytes) -> None:
        """Remember a secret of the test that runs."""
        raw = secret.encode() if isinstance(secret, str) else secret
        if len(raw) >= LONG_ENOUGH and len(self.secrets) < MANY:
            self.secrets.setdefault(raw, f"{name} {len(self.secrets)}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Listen to everything that one test does."""
        self.secrets.clear()
        listener, root = Listener(), logging.getLogger()
        level = root.level
        root.addHandler(listener)
        root.setLevel(1)
        try:
            return (yield)
        finally:
            root.removeHandler(listener)
            root.setLevel(level)
            self._look(item.nodeid, listener, getattr(item, "_secrets_in", None))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Remember where a test wrote."""
        funcargs: Mapping[str, object] = getattr(item, "funcargs", {})
        item._secrets_in = funcargs.get("tmp_path")  # type: ignore[attr-defined]

    def _look(self, test: str, listener: Listener, folder: Path | None) -> None:
        hunt = Hunt({name: secret for secret, name in self.secrets.items()})
        hunt.search("log", "\n".join(listener.lines))
        if folder is not None and folder.exists():
            hunt.search_folder(folder, ignore=MAY_HOLD)
        self.looked += len(hunt.secrets)
        if hunt.found:
            self.found[test] = hunt.found

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell what was found."""
        terminalreporter.section(f"secrets: looked for {self.looked}, found in {len(self.found)} tests")
        for test, found in self.found.items():
            for one in found:
                terminalreporter.write_line(f"{test}: {one}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail where something was found."""
        if self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _noted(function: Callable[..., Any], note: Callable[..., object]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        note(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def pytest_configure(config: pytest.Config) -> None:
    """Listen at the two places that every secret passes."""
    plugin = Plugin()
    config.pluginmanager.register(plugin, "trigflow-secrets")

    def keys(_: object, ring: Any, *_more: object) -> None:
        for key in ring:
            plugin.note("secret key", key)

    def credentials(_: object, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            plugin.note(f"credential {name}", value)

    Vault.seal = _noted(Vault.seal, lambda _, secret: plugin.note("sealed", secret))  # type: ignore[method-assign]
    Vault.__init__ = _noted(Vault.__init__, keys)  # type: ignore[method-assign]
    Credentials.__init__ = _noted(Credentials.__init__, credentials)  # type: ignore[method-assign]
