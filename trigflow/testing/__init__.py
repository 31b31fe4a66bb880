"""For tests of jobs and integrations: ours and the user's."""

from trigflow.testing.clock import VirtualClock
from trigflow.testing.conformance import Conformance
from trigflow.testing.deliveries import Delivered, deliver
from trigflow.testing.fake_control import Told
from trigflow.testing.fake_faults import Faults, Gate
from trigflow.testing.fake_process import FakeProcess, serve_alone
from trigflow.testing.fake_server import Call, Dropped, Received, Refused, Reply, Server
from trigflow.testing.jobs import Ran, run_job

__all__ = [
    "Call",
    "Conformance",
    "Delivered",
    "Dropped",
    "FakeProcess",
    "Faults",
    "Gate",
    "Ran",
    "Received",
    "Refused",
    "Reply",
    "Server",
    "Told",
    "VirtualClock",
    "deliver",
    "run_job",
    "serve_alone",
]
