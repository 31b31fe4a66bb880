"""The secrets that a request may be signed with: which are tried, and how one becomes key bytes."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from trigflow.core.errors import SetupError, VerificationError

KeyEncoding = Literal["utf-8", "base64", "hex"]
FixedKey = str | Callable[[], str]


def masked(_: object) -> str:
    """Stand in for a secret wherever a value is shown."""
    return "***"


@attrs.frozen
class Key:
    """One secret of an endpoint, as the provider shows it.

    valid_until: Unix seconds; from then on the key is not tried. None: until it is taken away.
    """

    secret: bytes = attrs.field(repr=masked)
    valid_until: float | None = None

    def is_valid(self, *, now: float) -> bool:
        """Tell whether the key may still be tried."""
        return bool(self.secret) and (self.valid_until is None or now < self.valid_until)


def decoded(text: bytes, encoding: KeyEncoding) -> bytes:
    """Return the bytes that a key's text stands for; empty if it is not in this encoding."""
    if encoding == "utf-8":
        return text
    try:
        if encoding == "hex":
            return bytes.fromhex(text.decode("ascii"))
        # Providers and their libraries leave the padding out at times.
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        return b""


def _utf8(_: bytes) -> bool:
    return True


@attrs.frozen
class KeyRule:
    """How an endpoint's keys become the bytes that a verifier uses.

    fixed: a key that the user gave in code; it replaces the endpoint's keys.
    prefix: stripped from a secret that has it, such as "whsec_".
    fits: tells whether key bytes can be used at all, such as a public key of the right kind.
    """

    fixed: FixedKey | None = attrs.field(default=None, repr=False)
    encoding: KeyEncoding = attrs.field(default="utf-8")
    prefix: str = ""
    fits: Callable[[bytes], bool] = _utf8

    def __attrs_post_init__(self) -> None:
        if self.encoding not in ("utf-8", "base64", "hex"):
            raise SetupError(f"key_encoding={self.encoding!r}; use 'utf-8', 'base64' or 'hex'")
        if isinstance(self.fixed, str) and not self.material(self.fixed.encode()):
            raise SetupError(f"key= is empty or not {self.encoding}; without a key anyone can sign")

    def material(self, secret: bytes) -> bytes:
        """Return the key bytes of a secret; empty if it has none."""
        return decoded(secret.removeprefix(self.prefix.encode()), self.encoding)

    def usable(self, keys: Sequence[Key], *, now: float) -> list[tuple[int | None, bytes]]:
        """Return index (None: the fixed key) and bytes of every key to try; VerificationError if none."""
        usable: list[tuple[int | None, bytes]] = []
        if self.fixed is not None:
            self._add(usable, None, self._fixed_secret())
        else:
            for index, key in enumerate(keys):
                if key.is_valid(now=now):
                    self._add(usable, index, key.secret)
        if not usable:
            raise VerificationError("no-key", "the endpoint has no valid key; set its secret or rotate it")
        return usable

    def _add(self, usable: list[tuple[int | None, bytes]], index: int | None, secret: bytes) -> None:
        material = self.material(secret)
        if material and self.fits(material):
            usable.append((index, material))

    def signing(self, key: Key) -> bytes:
        """Return the bytes to sign with: the fixed key's if there is one, else those of `key`."""
        secret = key.secret if self.fixed is None else self._fixed_secret()
        found = self.material(secret)
        if not found:
            raise SetupError(f"the key to sign with is empty or not {self.encoding}")
        return found

    def _fixed_secret(self) -> bytes:
        fixed = self.fixed() if callable(self.fixed) else self.fixed
        return (fixed or "").encode()
