"""A fake GitHub in a process of its own, for tests that kill processes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from trigflow_github.testing.control import PREFIX
from trigflow_github.testing.fake import TOKEN


class FakeGitHubProcess:
    """Starts the fake, tells it things, and ends it; it ends with this process too.

    with FakeGitHubProcess() as fake:
        fake.call("add_repository", name="acme/api")
        fake.call("emit", place="acme/web", event="issues", payload={...})
    """

    def __init__(self, token: str = TOKEN, *, limit: int = 1_000_000) -> None:
        """Prepare; limit: requests of a caller an hour."""
        self.url: str = ""
        self._command = [sys.executable, "-m", "trigflow_github.testing", "--with-parent"]
        self._command += ["--token", token, "--limit", str(limit)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - our own
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the fake did not start; its error is above")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Tell the fake something, see ServedFake; ValueError where it does not understand."""
        return call(self.url, name, **arguments)


def call(url: str, name: str, /, **arguments: Any) -> Any:
    """Tell a fake that is served at `url` something, and return its result."""
    body = json.dumps(arguments).encode()
    request = Request(f"{url}{PREFIX}{name}", body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
            return json.load(answer)["result"]
    except HTTPError as error:
        with error:
            raise ValueError(f"{name}: {json.load(error)['error']}") from None
