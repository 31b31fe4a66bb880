"""Secrets at rest: sealed with the first key of a ring, opened with any.

cryptography is imported when the first vault is made: it takes 40 ms, and building
an app needs none.
"""

from __future__ import annotations

from collections.abc import Sequence

from trigflow.core.errors import SettingsError, StoreUnusable

REMEDY = "make one with `trigflow settings --new-key`"


class Vault:
    """Seals and opens secrets. Its keys are in memory only."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take a ring of Fernet keys (32 bytes, URL-safe base64), the current one first.

        Raises SettingsError for a key that is none; its text shows no key.
        """
        if not keys:
            raise SettingsError("secret_key", f"is empty; {REMEDY} and set TRIGFLOW_SECRET_KEY")
        from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # noqa: PLC0415 - see above

        self._no_key_fits = InvalidToken
        try:
            self._ring = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SettingsError(
                "secret_key", f"is not 32 bytes in URL-safe base64; {REMEDY} and set TRIGFLOW_SECRET_KEY"
            ) from error

    @staticmethod
    def new_key() -> str:
        """Make a key."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - see above

        return Fernet.generate_key().decode()

    def seal(self, secret: bytes) -> bytes:
        """Encrypt a secret."""
        return self._ring.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt a secret; StoreUnusable where no key of the ring fits."""
        try:
            return self._ring.decrypt(sealed)
        except self._no_key_fits as error:
            raise StoreUnusable(
                "a stored secret can't be opened with this secret key; set TRIGFLOW_SECRET_KEY to the key "
                "(or, separated by commas, the keys) that the store was used with"
            ) from error
