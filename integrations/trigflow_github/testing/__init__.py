"""A GitHub to test against, over real HTTP; `python -m trigflow_github.testing` serves it alone."""

from trigflow.testing.fake_faults import Gate
from trigflow.testing.fake_server import Call
from trigflow_github.testing.apps import FakeApp, Installation
from trigflow_github.testing.clock import FakeClock
from trigflow_github.testing.deliveries import Attempt
from trigflow_github.testing.fake import FakeGitHub
from trigflow_github.testing.hooks import FakeHook

__all__ = ["Attempt", "Call", "FakeApp", "FakeClock", "FakeGitHub", "FakeHook", "Gate", "Installation"]
