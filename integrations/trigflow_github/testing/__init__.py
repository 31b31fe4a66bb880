"""A GitHub to test against, over real HTTP."""

from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.fake import FakeGitHub
from trigflow_github.testing.hooks import FakeHook
from trigflow_github.testing.server import Call

__all__ = ["Attempt", "Call", "FakeGitHub", "FakeHook"]
