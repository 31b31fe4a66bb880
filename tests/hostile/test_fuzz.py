"""Any request is answered, nothing unverified is handled, no secret is told: for all that Hypothesis finds.

What holds for one input is said in `intake`, `targets` and `asking`; the campaign looks much longer.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from tests.hostile.intake import Intake
from tests.hostile.targets import TARGETS, seeds

CAMPAIGN = Path(__file__).with_name("campaign.py")
inputs = st.binary(max_size=64) | st.binary(min_size=64, max_size=1024)


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    opened = Intake()
    yield opened
    opened.end()


@given(inputs)
def test_every_request_is_answered_and_only_what_is_genuine_is_handled(intake: Intake, given: bytes) -> None:
    intake.feed(given)


def test_what_the_campaign_begins_with_holds(intake: Intake) -> None:
    assert "200 handled" in {intake.feed(seed) for seed in seeds()}


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"intake", "mixed"}))
@given(inputs)
@example(b"")
def test_every_verifier_decoder_handshake_part_and_filter_stands_any_bytes(name: str, given: bytes) -> None:
    TARGETS[name]().feed(given)


def test_a_short_campaign_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(CAMPAIGN), "--findings", str(tmp_path / "found")]
    command += ["--inputs", "20000", "--seconds", "15", "--only", "mixed"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["ok"], json.dumps(told, indent=1)
    assert all(one["inputs"] > 0 for one in told["targets"].values())
    assert ended.returncode == 0
