"""A fake GitHub in a process of its own, for tests that kill processes."""

from __future__ import annotations

from trigflow.testing.fake_process import FakeProcess
from trigflow_github.testing.fake import TOKEN


class FakeGitHubProcess(FakeProcess):
    """Starts the fake, tells it things, and ends it; it ends with this process too.

    with FakeGitHubProcess() as fake:
        fake.call("add_repository", name="acme/api")
        fake.call("emit", place="acme/web", event="issues", payload={...})
    """

    def __init__(self, token: str = TOKEN, *, limit: int = 1_000_000) -> None:
        """Prepare; limit: requests of a caller an hour."""
        super().__init__("trigflow_github.testing", "--token", token, "--limit", str(limit))
