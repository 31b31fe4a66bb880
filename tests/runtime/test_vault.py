"""Secrets at rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigflow.core.errors import SettingsError, StoreUnusable
from trigflow.runtime.vault import Vault

OLD, NEW = Vault.new_key(), Vault.new_key()


@given(st.binary())
def test_what_is_sealed_is_opened_by_the_ring_alone_and_not_in_clear(secret: bytes) -> None:
    sealed = Vault([OLD]).seal(secret)
    assert Vault([NEW, OLD]).open(sealed) == secret
    assert len(secret) < 4 or secret not in sealed
    with pytest.raises(StoreUnusable, match="TRIGFLOW_SECRET_KEY"):
        Vault([NEW]).open(sealed)


def test_new_secrets_are_sealed_with_the_first_key() -> None:
    assert Vault([NEW]).open(Vault([NEW, OLD]).seal(b"x")) == b"x"


@pytest.mark.parametrize("keys", [[], ["hunter2"], [OLD, "hunter2"]])
def test_keys_that_are_none_are_refused_and_not_shown(keys: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Vault(keys)
    assert "hunter2" not in str(caught.value)
