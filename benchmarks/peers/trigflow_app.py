"""trigflow as an ASGI app of its own."""

from benchmarks.peers.trigflow_job import hooks as app

__all__ = ["app"]
