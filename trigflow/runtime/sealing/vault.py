"""Secrets at rest: sealed with the first key of a ring, opened with any.

cryptography is imported when the first vault is made: it takes 40 ms, and building
an app needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from trigflow.core.errors import SettingsError, SetupError, StoreUnusable

REMEDY = "make one with `trigflow settings --new-key`"


class Vault:
    """Seals and opens secrets. Its keys are in memory only."""

    def __init__(self, keys: Sequence[str], read_again: Callable[[], Sequence[str]] | None = None) -> None:
        """Take a ring of Fernet keys (32 bytes, URL-safe base64), the current one first.

        read_again: reads the ring anew where no key fits: another process may have rotated it.
        Raises SettingsError for a key that is none; its text shows no key.
        """
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - see above

        self._no_key_fits = InvalidToken
        self._read_again = read_again
        self._use(keys)

    def _use(self, keys: Sequence[str]) -> None:
        if not keys:
            raise SettingsError("secret_key", f"is empty; {REMEDY} and set TRIGFLOW_SECRET_KEY")
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - see above

        try:
            self._ring = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise SettingsError(
                "secret_key", f"is not 32 bytes in URL-safe base64; {REMEDY} and set TRIGFLOW_SECRET_KEY"
            ) from error
        self._keys = list(keys)

    @staticmethod
    def new_key() -> str:
        """Make a key."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - see above

        return Fernet.generate_key().decode()

    def ring(self) -> Sequence[str]:
        """Return the keys as they are now, the current one first."""
        self._has_new_keys()
        return tuple(self._keys)

    def seal(self, secret: bytes) -> bytes:
        """Encrypt a secret, with the ring as it is now: the key that this process began with may be gone."""
        self._has_new_keys()
        return self._ring.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt a secret; StoreUnusable where no key of the ring fits."""
        return self._tried(lambda: self._ring.decrypt(sealed))

    def seal_anew(self, sealed: bytes) -> bytes:
        """Return a sealed secret as the first key of the ring seals it; StoreUnusable where no key fits."""
        return self._tried(lambda: self._ring.rotate(sealed))

    def _tried(self, work: Callable[[], bytes]) -> bytes:
        try:
            return work()
        except self._no_key_fits as error:
            if self._has_new_keys():
                return self._tried(work)
            raise StoreUnusable(
                "a stored secret can't be opened with this secret key; set TRIGFLOW_SECRET_KEY to the key "
                "(or, separated by commas, the keys) that the store was used with"
            ) from error

    def _has_new_keys(self) -> bool:
        """Read the ring again; tell whether it is another one."""
        if self._read_again is None:
            return False
        keys: Sequence[str] = ()
        with suppress(OSError, SetupError):  # a ring that can't be read now is as it was
            keys = list(self._read_again())
            if keys and keys != self._keys:
                self._use(keys)
                return True
        return False
