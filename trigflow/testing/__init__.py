"""For tests of jobs and integrations: ours and the user's."""

from trigflow.testing.clock import VirtualClock
from trigflow.testing.conformance import Conformance
from trigflow.testing.deliveries import Delivered, deliver
from trigflow.testing.jobs import Ran, run_job

__all__ = ["Conformance", "Delivered", "Ran", "VirtualClock", "deliver", "run_job"]
