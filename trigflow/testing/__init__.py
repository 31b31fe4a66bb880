"""For tests of jobs and integrations: ours and the user's."""

from trigflow.testing.clock import VirtualClock
from trigflow.testing.deliveries import Delivered, deliver
from trigflow.testing.jobs import Ran, run_job

__all__ = ["Delivered", "Ran", "VirtualClock", "deliver", "run_job"]
