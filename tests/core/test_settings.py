"""A wrong setting is told by the name under which it was given, and without what is secret in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import SettingsError
from trigflow.core.settings import Settings, resolve
from trigflow.runtime.boundary import Raised, attempt

NAMES = [field.name for field in attrs.fields(Settings)]
# Near-valid on purpose: pure noise never gets past the first check.
texts = st.text(max_size=30) | st.sampled_from(
    [
        "0", "-1", "1" * 5000, "²", "1_0", " 7 ", "true", "plan", "30d", "0s", "forever", "99999d",
        "https://h.example.com", "http://[::1", "https://h:99999/x", "https://", "https://u:p@h", "//h",
        "whsec_",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("register", "always"),
        ("url", "hooks.example.com"),
        ("url", "http://[::1"),
        ("url", "https://hooks.example.com:99999"),
        ("check_every", "1s"),
        ("check_every", "soon"),
        ("concurrency", "0"),
        ("concurrency", "many"),
        ("rate_limit", "-1"),
        ("bodies_limit", "10"),
        ("executes", "maybe"),
        ("keep_dedupe", "1d"),
        ("keep_runs", "ten days"),
        ("alert_url", "ftp://h"),
        ("alert_url", "https://"),
        ("alert_url", "http://[::1"),
        ("alert_secret", "hunter2"),
    ],
)
def test_a_wrong_value_in_the_environment_is_told_by_its_variable(name: str, text: str) -> None:
    variable = f"TRIGFLOW_{name.upper()}"
    with pytest.raises(SettingsError) as raised:
        resolve({}, {variable: text})
    assert raised.value.name == variable
    assert str(raised.value).startswith(f"{variable}: ")


@given(st.sampled_from(NAMES), texts)
def test_whatever_the_environment_holds_is_a_setting_or_an_error_that_names_one(name: str, text: str) -> None:
    variable = f"TRIGFLOW_{name.upper()}"
    told = attempt(lambda: resolve({}, {variable: text}))
    if isinstance(told, Raised):
        assert isinstance(told.error, SettingsError)
        assert name in str(told.error) or variable in str(told.error)
    else:
        assert told.value.origins[name] == ("environment" if text else "default")


@pytest.mark.parametrize(
    "url",
    ["https://ann:hunter2@h.example.com", "https://ann:hunter2@h.example.com/?a=1", "ftp://ann:hunter2@h"],
)
def test_a_password_in_a_url_is_not_told(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        resolve({"url": url}, {})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("concurrency", "8", "whole number"),
        ("concurrency", True, "whole number"),
        ("executes", "false", "True or False"),
        ("check_every", 900, "timedelta"),
        ("webhook_ttl", 60, "timedelta"),
        ("webhook_ttl", timedelta(seconds=-1), "negative"),
        ("keep_runs", "30d", "timedelta"),
    ],
)
def test_a_keyword_of_another_type_is_refused_by_name(name: str, value: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        resolve({name: value}, {})
    assert raised.value.name == name
