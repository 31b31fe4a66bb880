"""Engines: what executes queued runs."""
