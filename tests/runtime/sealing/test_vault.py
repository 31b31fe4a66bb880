"""Secrets at rest."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import SettingsError, StoreUnusable
from trigflow.runtime.sealing.vault import Vault

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


def test_a_ring_that_another_process_has_rotated_is_read_again() -> None:
    ring = [Vault.new_key()]
    vault = Vault(ring, lambda: ring)
    ring = [Vault.new_key(), *ring]
    assert vault.open(Vault(ring).seal(b"new")) == b"new"
    assert vault.open(Vault(ring[1:]).seal(b"old")) == b"old"
    with pytest.raises(StoreUnusable):
        Vault(ring[:1]).open(vault.seal_anew(Vault(ring[1:]).seal(b"old"))[:-4])
    assert Vault(ring[:1]).open(vault.seal_anew(Vault(ring[1:]).seal(b"old"))) == b"old"


def test_a_ring_that_is_gone_changes_nothing() -> None:
    vault = Vault([Vault.new_key()], list)
    with pytest.raises(StoreUnusable):
        vault.open(Vault([Vault.new_key()]).seal(b"x"))
    assert vault.open(vault.seal(b"x")) == b"x"


def test_a_ring_that_can_not_be_read_now_changes_nothing() -> None:
    def read() -> list[str]:
        raise PermissionError("the file of the ring")

    vault = Vault([OLD], read)
    assert vault.open(vault.seal(b"x")) == b"x"
    with pytest.raises(StoreUnusable):
        vault.open(Vault([NEW]).seal(b"x"))


def test_what_is_sealed_after_a_rotation_is_sealed_with_the_new_key() -> None:
    ring = [Vault.new_key()]
    vault = Vault(ring, lambda: ring)
    ring = [Vault.new_key()]
    assert Vault(ring).open(vault.seal(b"late")) == b"late"
