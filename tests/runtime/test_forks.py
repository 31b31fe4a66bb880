"""An app that is open when its process forks is refused in the child, and goes on in the parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("forking.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("store", ["t.db", "memory:"])
def test_a_child_is_told_to_open_the_app_itself_and_the_parent_goes_on(tmp_path: Path, store: str) -> None:
    # Forking beside threads is what is tested; newer Pythons warn of it.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), store],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    child, parent = done.stdout.splitlines()
    told = json.loads(child)
    assert parent == "parent ok"
    assert told["statuses"] == [503, 503, 503]
    if store != "memory:":
        assert told["refused"].count("open the app after the fork") == 2
