"""The command line in a folder of its own, as the tests of the command line have it."""

from __future__ import annotations

from tests.cli.conftest import cli, folder

__all__ = ["cli", "folder"]
