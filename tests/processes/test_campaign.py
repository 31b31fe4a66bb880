"""The scenes of the campaign, short: no run lost, none twice, however many processes there are and end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.campaign import SCENES, play


@pytest.mark.parametrize("scene", SCENES)
def test_whatever_was_acknowledged_runs_once(scene: str, tmp_path: Path) -> None:
    told = play(scene, 400, tmp_path)
    assert told["wrong"] == [], told
    assert told["acknowledged"] == 400
    if scene in ("workers", "apart"):
        assert told["processes"] == 2  # both took part
