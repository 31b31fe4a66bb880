"""How an endpoint knows that a request is its provider's: verifiers, made by plain calls.

    hmac_sha256("X-Hub-Signature-256", prefix="sha256=")
    hmac_sha256(kv("Stripe-Signature", "v1"), over=(kv("Stripe-Signature", "t"), ".", BODY),
                timestamp=kv("Stripe-Signature", "t"))
    first_of(hmac_sha256("X-New"), hmac_sha1("X-Old"))

Everything fails closed: what is missing, empty, doubled, malformed or too old is a VerificationError.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from trigflow.core.errors import SetupError
from trigflow.sources.keys import FixedKey, Key, KeyEncoding, KeyRule
from trigflow.sources.parts import BODY, Header, Part
from trigflow.sources.schemes import (
    EcdsaP256,
    Ed25519,
    Encoding,
    Mac,
    NamedMac,
    PlainHash,
    is_ed25519_key,
    is_p256_key,
)
from trigflow.sources.signed import SECRET, SecretPart, Signed, Template
from trigflow.sources.standard import Family, StandardWebhooks, fits
from trigflow.sources.timestamps import TOLERANCE, Stamp, Unit
from trigflow.sources.tokens import Alternatives, Token, Unsigned, Verifier

__all__ = [
    "SECRET",
    "Key",
    "Unsigned",
    "Verifier",
    "any_of",
    "ecdsa_p256",
    "ed25519",
    "first_of",
    "hashed",
    "hmac_any",
    "hmac_sha1",
    "hmac_sha256",
    "hmac_sha512",
    "standard_webhooks",
    "token",
]

Over = Sequence[Part | bytes | str]


def _place(at: str | Part) -> Part:
    return Header(at) if isinstance(at, str) else at


def _stamp(at: Part | None, tolerance: timedelta, unit: Unit) -> Stamp | None:
    return None if at is None else Stamp(at, tolerance, unit)


def _keyed(over: Over) -> Template:
    template = Template(over)
    if any(isinstance(piece, SecretPart) for piece in template.pieces):
        raise SetupError("SECRET belongs into hashed(): a keyed signature takes the key by itself")
    return template


class HmacOf(msgspec.Struct, frozen=True):
    """Makes verifiers of HMAC signatures with one hash algorithm."""

    algorithm: str

    def __call__(
        self,
        at: str | Part,
        *,
        key: FixedKey | None = None,
        over: Over = (BODY,),
        prefix: str = "",
        encoding: Encoding = "hex",
        key_encoding: KeyEncoding = "utf-8",
        key_prefix: str = "",
        timestamp: Part | None = None,
        tolerance: timedelta = TOLERANCE,
        unit: Unit = "s",
        once: bool = False,
    ) -> Signed:
        """Verify an HMAC.

        at: the header, or the part, where the signature stands; only `kv` may hold several.
        key: a fixed key, or a call that gives it; None: the keys of the endpoint.
        over: what is signed, one after the other; the body by default.
        prefix: stands before the signature, such as "sha256=".
        key_prefix: stripped from the secret before it is decoded, such as "whsec_".
        timestamp: where the time stands; it must be among what is signed to be worth anything.
        once: take what was signed only once within the tolerance: for providers that give no id
            of an event, or none that the signature covers (Mailgun).
        """
        return Signed(
            Mac(self.algorithm, prefix.encode(), encoding),
            _place(at),
            _keyed(over),
            KeyRule(key, key_encoding, key_prefix),
            _stamp(timestamp, tolerance, unit),
            once,
        )


hmac_sha1: HmacOf = HmacOf("sha1")
hmac_sha256: HmacOf = HmacOf("sha256")
hmac_sha512: HmacOf = HmacOf("sha512")


def hmac_any(
    at: str | Part,
    *,
    algorithms: Sequence[str] = ("sha1", "sha256", "sha384", "sha512"),
    key: FixedKey | None = None,
    over: Over = (BODY,),
    encoding: Encoding = "hex",
) -> Signed:
    """Verify an HMAC that names its algorithm, as in `sha256=…` (WebSub).

    algorithms: the accepted ones; requests are signed with the last.
    """
    return Signed(NamedMac.of(algorithms, encoding), _place(at), _keyed(over), KeyRule(key))


def hashed(at: str | Part, *, over: Over, key: FixedKey | None = None, algorithm: str = "sha256") -> Signed:
    """Verify a plain hash over bytes among which the key stands as SECRET (HubSpot v1, v2)."""
    template = Template(over)
    if not any(isinstance(piece, SecretPart) for piece in template.pieces):
        raise SetupError("hashed() needs SECRET in over=, else anyone can compute the hash")
    return Signed(PlainHash(algorithm), _place(at), template, KeyRule(key))


def ed25519(
    at: str | Part,
    *,
    key: FixedKey | None = None,
    over: Over = (BODY,),
    encoding: Encoding = "hex",
    key_encoding: KeyEncoding = "hex",
    timestamp: Part | None = None,
    tolerance: timedelta = TOLERANCE,
    unit: Unit = "s",
    once: bool = False,
) -> Signed:
    """Verify an Ed25519 signature (Discord); keys are public keys, signing takes the private seed."""
    rule = KeyRule(key, key_encoding, fits=is_ed25519_key)
    return Signed(Ed25519(encoding), _place(at), _keyed(over), rule, _stamp(timestamp, tolerance, unit), once)


def ecdsa_p256(
    at: str | Part,
    *,
    key: FixedKey | None = None,
    over: Over = (BODY,),
    encoding: Encoding = "base64",
    timestamp: Part | None = None,
    tolerance: timedelta = TOLERANCE,
    unit: Unit = "s",
    once: bool = False,
) -> Signed:
    """Verify a DER signature on P-256 with SHA-256 (SendGrid).

    Keys are public keys, SPKI in base64; signing takes a private key, PKCS #8 in base64.
    """
    rule = KeyRule(key, "base64", fits=is_p256_key)
    return Signed(
        EcdsaP256(encoding), _place(at), _keyed(over), rule, _stamp(timestamp, tolerance, unit), once
    )


def standard_webhooks(
    *,
    prefixes: Sequence[str] = ("webhook", "svix"),
    key: FixedKey | None = None,
    tolerance: timedelta = TOLERANCE,
) -> StandardWebhooks:
    """Verify Standard Webhooks: keys are `whsec_…` secrets or `whpk_…` public keys.

    prefixes: of the header names; the first whose signature is there decides.
    """
    families = tuple(
        Family.of(prefix, Stamp(Header(f"{prefix}-timestamp"), tolerance)) for prefix in prefixes
    )
    return StandardWebhooks(families, KeyRule(key, fits=fits))


def token(at: str | Part, *more: str | Part, key: FixedKey | None = None, prefix: str = "") -> Token:
    """Verify a secret that is sent along; every value at every place must match.

    prefix: stands before the token, such as "Bearer ".
    """
    return Token(tuple(_place(place) for place in (at, *more)), KeyRule(key), prefix.encode())


def any_of(*verifiers: Verifier) -> Alternatives:
    """Accept what any of these accepts."""
    return Alternatives(verifiers, strongest_first=False)


def first_of(*verifiers: Verifier) -> Alternatives:
    """Let the first verifier decide whose signature is there; name the strongest first."""
    return Alternatives(verifiers, strongest_first=True)
