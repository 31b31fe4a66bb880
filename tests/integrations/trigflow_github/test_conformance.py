"""GitHub does what every integration must do."""

from typing import Any

from trigflow import Trigger
from trigflow.testing import Conformance
from trigflow_github import GitHub
from trigflow_github.testing import FakeGitHub


class TestGitHub(Conformance):
    integration = GitHub
    provider = FakeGitHub
    connection = "fake-token"

    def trigger(self, integration: GitHub) -> Trigger[Any]:
        return integration.issues(repo="acme/web")
