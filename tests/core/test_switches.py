"""Settings that are on or off, as variables of the environment."""

from __future__ import annotations

import pytest

from trigflow.core.errors import SettingsError
from trigflow.core.settings import resolve


@pytest.mark.parametrize(
    ("text", "on"),
    [("1", True), ("true", True), ("Yes", True), ("ON", True), ("0", False), ("False", False), ("no", False)],
)
def test_a_switch_is_read_from_the_environment(text: str, on: bool) -> None:
    resolved = resolve({}, {"TRIGFLOW_EXECUTES": text})
    assert resolved.settings.executes is on
    assert resolved.origins["executes"] == "environment"


def test_a_keyword_that_says_no_goes_before_the_environment() -> None:
    assert resolve({"executes": False}, {"TRIGFLOW_EXECUTES": "true"}).settings.executes is False


@pytest.mark.parametrize("text", ["2", "maybe", "tru"])
def test_what_is_neither_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match=r"TRIGFLOW_EXECUTES.*true or false"):
        resolve({}, {"TRIGFLOW_EXECUTES": text})
