"""Ways to sign bytes with a key: MACs, a plain hash, public keys.

Comparison takes the same time wherever two signatures differ. A signature is accepted in the one
spelling its encoding has: hex in lower case, base64 canonical; base64url also without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import attrs
import msgspec

from trigflow.core.errors import SetupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

Encoding = Literal["hex", "base64", "base64url"]


def _hex(raw: bytes) -> bytes:
    return raw.hex().encode()


ENCODE: dict[Encoding, Callable[[bytes], bytes]] = {
    "hex": _hex,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
}
_SHAPE: dict[Encoding, re.Pattern[bytes]] = {
    "hex": re.compile(rb"[0-9a-f]+"),
    "base64": re.compile(rb"[0-9A-Za-z+/]+={0,2}"),
    "base64url": re.compile(rb"[0-9A-Za-z_-]+={0,2}"),
}


def _check_encoding(encoding: Encoding) -> None:
    if encoding not in ENCODE:
        raise SetupError(f"encoding={encoding!r}; use 'hex', 'base64' or 'base64url'")


def undone(text: bytes, encoding: Encoding) -> bytes | None:
    """Decode a signature; None unless the text is the one spelling of its bytes."""
    try:
        if encoding == "hex":
            raw = bytes.fromhex(text.decode("latin-1"))
        else:
            standard = text.translate(bytes.maketrans(b"-_", b"+/")) if encoding == "base64url" else text
            raw = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:
        return None
    return raw if ENCODE[encoding](raw) == text else None


class Scheme(Protocol):
    """One way to sign. `given` are the signatures that a request carries, one or a few."""

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Tell whether one of the signatures is this key's over the message. Never raises."""
        ...

    def complaint(self, signature: bytes) -> str:
        """Name the cause why a signature that no key matched was refused."""
        ...

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Return the signature as the sender writes it."""
        ...


class Mac(msgspec.Struct, frozen=True):
    """An HMAC behind a fixed prefix."""

    algorithm: str
    prefix: bytes = b""
    encoding: Encoding = "hex"

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Return prefix and encoded HMAC."""
        return self.prefix + ENCODE[self.encoding](hmac.digest(key, message, self.algorithm))

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Compare the texts: other spellings of the same bytes are refused."""
        return any_equals(given, self.sign(key, message), self.encoding)

    def complaint(self, signature: bytes) -> str:
        """Tell a wrong signature from what can't be one."""
        return _complaint(signature, self.prefix, self.encoding, hashlib.new(self.algorithm).digest_size)

    def __str__(self) -> str:
        return f"HMAC-{self.algorithm.upper()}"


def any_equals(given: Sequence[bytes], expected: bytes, encoding: Encoding = "hex") -> bool:
    """Tell whether one of the texts is the expected one, in constant time."""
    equal = False
    for text in given:
        equal |= hmac.compare_digest(text, expected)
        if encoding == "base64url":
            equal |= hmac.compare_digest(text, expected.rstrip(b"="))
    return equal


def _complaint(signature: bytes, prefix: bytes, encoding: Encoding, size: int) -> str:
    text = signature.removeprefix(prefix)
    sizes = {len(ENCODE[encoding](bytes(size)))}
    if encoding == "base64url":
        sizes.add(len(base64.urlsafe_b64encode(bytes(size)).rstrip(b"=")))
    shaped = signature.startswith(prefix) and len(text) in sizes and _SHAPE[encoding].fullmatch(text)
    return "bad-signature" if shaped else "malformed-signature"


@attrs.frozen
class NamedMac:
    """An HMAC whose algorithm stands before it, as in `sha256=…`; only listed ones are computed."""

    macs: dict[bytes, Mac] = attrs.field(hash=False)

    @classmethod
    def of(cls, algorithms: Sequence[str], encoding: Encoding) -> NamedMac:
        """Allow these algorithms, weakest first; signing uses the last."""
        allowed = ("sha1", "sha256", "sha384", "sha512")
        if not algorithms or not set(algorithms) <= set(allowed):
            raise SetupError(f"algorithms={tuple(algorithms)!r}; choose from {', '.join(allowed)}")
        return cls({name.encode(): Mac(name, f"{name}=".encode(), encoding) for name in algorithms})

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Sign with the last algorithm of the list."""
        return list(self.macs.values())[-1].sign(key, message)

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Compare each signature under the algorithm that it names."""
        named = [(text, self._mac(text)) for text in given]
        return any(mac is not None and mac.matches([text], key, message) for text, mac in named)

    def complaint(self, signature: bytes) -> str:
        """Name an unlisted algorithm before anything else."""
        mac = self._mac(signature)
        if mac is not None:
            return mac.complaint(signature)
        return "unknown-algorithm" if b"=" in signature else "malformed-signature"

    def _mac(self, signature: bytes) -> Mac | None:
        name, equals, _ = signature.partition(b"=")
        return self.macs.get(name) if equals else None

    def __str__(self) -> str:
        return "HMAC-" + "/".join(mac.algorithm.upper() for mac in self.macs.values())


class PlainHash(msgspec.Struct, frozen=True):
    """A hash over bytes that hold the key themselves: weaker than a MAC, but some providers use it."""

    algorithm: str = "sha256"

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Hash the message, which holds the key."""
        return hashlib.new(self.algorithm, message).hexdigest().encode()

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Compare the hex texts."""
        return any_equals(given, self.sign(key, message))

    def complaint(self, signature: bytes) -> str:
        """Tell a wrong hash from what can't be one."""
        return _complaint(signature, b"", "hex", hashlib.new(self.algorithm).digest_size)

    def __str__(self) -> str:
        return f"{self.algorithm.upper()} hash"


# cryptography takes 40 ms to import; only apps with public-key signatures pay for it.


def is_ed25519_key(key: bytes) -> bool:
    """Tell whether these are the bytes of an Ed25519 public key."""
    return len(key) == 32


class Ed25519(msgspec.Struct, frozen=True):
    """Ed25519 (RFC 8032). Verified with the 32 bytes of the public key, signed with the private seed."""

    encoding: Encoding = "hex"

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Sign with a private seed; of a seed with its public key, 64 bytes, the first half counts."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        if len(key) not in (32, 64):
            raise SetupError("an Ed25519 private key has 32 bytes")
        return ENCODE[self.encoding](Ed25519PrivateKey.from_private_bytes(key[:32]).sign(message))

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Check each signature with the public key."""
        raws = [undone(text, self.encoding) for text in given]
        return any(raw is not None and _ed25519_holds(raw, key, message) for raw in raws)

    def complaint(self, signature: bytes) -> str:
        """Tell a wrong signature from what can't be one."""
        raw = undone(signature, self.encoding)
        return "bad-signature" if raw is not None and len(raw) == 64 else "malformed-signature"

    def __str__(self) -> str:
        return "Ed25519"


def _ed25519_holds(signature: bytes, key: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_p256_key(key: bytes) -> bool:
    """Tell whether these bytes are a P-256 public key in DER (SubjectPublicKeyInfo)."""
    return _p256_key(key) is not None


def _p256_key(key: bytes) -> EllipticCurvePublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        loaded = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return (
        loaded if isinstance(loaded, EllipticCurvePublicKey) and isinstance(loaded.curve, SECP256R1) else None
    )


class EcdsaP256(msgspec.Struct, frozen=True):
    """ECDSA on P-256 with SHA-256, DER signatures. Verified with a public key (SPKI), signed with PKCS #8."""

    encoding: Encoding = "base64"

    def __post_init__(self) -> None:
        _check_encoding(self.encoding)

    def sign(self, key: bytes, message: bytes) -> bytes:
        """Sign with a private key in DER."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

        try:
            private = load_der_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise SetupError("the key to sign with is no private key in DER") from error
        if not isinstance(private, EllipticCurvePrivateKey):
            raise SetupError("the key to sign with is no elliptic curve key")
        return ENCODE[self.encoding](private.sign(message, ECDSA(SHA256())))

    def matches(self, given: Sequence[bytes], key: bytes, message: bytes) -> bool:
        """Check each signature with the public key."""
        public = _p256_key(key)
        raws = [undone(text, self.encoding) for text in given]
        return public is not None and any(
            raw is not None and _ecdsa_holds(raw, public, message) for raw in raws
        )

    def complaint(self, signature: bytes) -> str:
        """Tell a wrong signature from what can't be one: DER starts as a sequence."""
        raw = undone(signature, self.encoding)
        return "bad-signature" if raw is not None and raw[:1] == b"\x30" else "malformed-signature"

    def __str__(self) -> str:
        return "ECDSA P-256"


def _ecdsa_holds(signature: bytes, public: EllipticCurvePublicKey, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        public.verify(signature, message, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True
