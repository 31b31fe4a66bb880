"""Standard Webhooks and its elder sibling Svix (github.com/standard-webhooks/standard-webhooks).

Signed are id, time and body; the header lists `v1,` HMAC and `v1a,` Ed25519 signatures. The key's
prefix says which of them it checks, so that a public key is never taken for an HMAC secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from trigflow.core.errors import SetupError, VerificationError
from trigflow.core.http import Request
from trigflow.sources.keys import Key, KeyRule
from trigflow.sources.parts import BODY, Header
from trigflow.sources.schemes import Ed25519, Mac, Scheme, is_ed25519_key
from trigflow.sources.signed import MOST_SIGNATURES, Named, Template, refusal, replacing
from trigflow.sources.timestamps import Stamp

_MAC = Mac("sha256", b"", "base64")
_ED25519 = Ed25519("base64")


class Family(msgspec.Struct, frozen=True):
    """The three headers of one spelling, such as webhook-id, webhook-timestamp, webhook-signature."""

    name: str
    id: Header
    stamp: Stamp
    signature: Header
    over: Template

    @classmethod
    def of(cls, name: str, stamp: Stamp) -> Family:
        """Name the headers of a family; `stamp` lends its tolerance."""
        identity, time = Header(f"{name}-id"), Header(f"{name}-timestamp")
        over = Template((identity, b".", time, b".", BODY))
        return cls(name, identity, msgspec.structs.replace(stamp, at=time), Header(f"{name}-signature"), over)


def _kind(secret: bytes) -> tuple[bytes, Scheme]:
    """Tell which signatures in the list a key is for, and how it checks them."""
    if secret.startswith((b"whpk_", b"whsk_")):
        return b"v1a", _ED25519
    return b"v1", _MAC


def _material(secret: bytes) -> bytes:
    prefix = next((p for p in ("whsec_", "whpk_", "whsk_") if secret.startswith(p.encode())), "")
    return KeyRule(None, "base64", prefix).material(secret)


class StandardWebhooks(msgspec.Struct, frozen=True):
    """The verifier of Standard Webhooks; the first family whose signature is there decides alone."""

    families: tuple[Family, ...]
    rule: KeyRule

    def __post_init__(self) -> None:
        if not self.families:
            raise SetupError("standard_webhooks needs a header prefix such as 'webhook'")

    @property
    def requires_key(self) -> bool:
        """Tell whether the endpoint must have a key."""
        return self.rule.fixed is None

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
        """Return the index of the key that matched, None for a fixed key."""
        family, listed = self._listed(request)
        moment = family.stamp.read(request)
        message = family.over.render(request, b"")
        index = _matching(family, listed, message, self.rule.usable(keys, now=now))
        family.stamp.check(moment, now=now)
        return index

    def _listed(self, request: Request) -> tuple[Family, list[tuple[bytes, bytes]]]:
        for family in self.families:
            given = family.signature.values(request)
            if len(given) > 1:
                raise VerificationError("malformed-signature", f"{len(given)} values in {family.signature}")
            if given and given[0].strip():
                return family, _items(family, given[0])
        names = " or ".join(str(family.signature) for family in self.families)
        raise VerificationError("missing-signature", f"no signature in {names}")

    def sign(self, request: Request, key: Key, *, now: float) -> Named:
        """Return id, time and signature; an id that the request has is kept, else made from body and time."""
        family = self.families[0]
        secret = self.rule.signing(key)
        version, scheme = _kind(secret)
        told = family.id.values(request)
        mark = hashlib.sha256(request.body + repr(now).encode()).hexdigest()[:24]
        time = family.stamp.write(now).decode()
        named = {
            family.id.name: told[0].decode("latin-1") if told else f"msg_{mark}",
            f"{family.name}-timestamp": time,
        }
        made = scheme.sign(_signing(secret), family.over.render(replacing(request, named), b""))
        return (*named.items(), (family.signature.name, f"{version.decode()},{made.decode()}"))

    def describes(self) -> str:
        """Say in one line what is checked."""
        names = " or ".join(str(family.signature) for family in self.families)
        within = self.families[0].stamp.tolerance
        return f"Standard Webhooks over id, time and the body, {names}, within {within}"


def _signing(secret: bytes) -> bytes:
    found = _material(secret)
    if not found or secret.startswith(b"whpk_"):
        raise SetupError("the key to sign with is no whsec_ or whsk_ key in base64")
    return found


def _items(family: Family, text: bytes) -> list[tuple[bytes, bytes]]:
    listed = text.split()
    if len(listed) > MOST_SIGNATURES:
        raise VerificationError("malformed-signature", f"{len(listed)} signatures in {family.signature}")
    pairs = (item.partition(b",") for item in listed)
    found = [(version, signature) for version, comma, signature in pairs if comma]
    if not found:
        raise VerificationError("malformed-signature", f"{family.signature} holds no `version,signature`")
    known = [item for item in found if item[0] in (b"v1", b"v1a")]
    if not known:
        raise VerificationError("unknown-algorithm", f"{family.signature} has neither v1 nor v1a")
    return known


def _matching(
    family: Family,
    listed: Sequence[tuple[bytes, bytes]],
    message: bytes,
    usable: Sequence[tuple[int | None, bytes]],
) -> int | None:
    complaints: list[VerificationError] = []
    for index, secret in usable:
        version, scheme = _kind(secret)
        given = [signature for named, signature in listed if named == version]
        if not given:
            continue
        if scheme.matches(given, _material(secret), message):
            return index
        complaints.append(refusal(scheme, family.signature, given))
    if complaints:
        raise complaints[0]
    raise VerificationError(
        "unknown-algorithm", f"{family.signature} has no signature of the kind of the key"
    )


def fits(secret: bytes) -> bool:
    """Tell whether a key can check signatures: an HMAC secret or a public key, in base64."""
    material = _material(secret)
    if secret.startswith(b"whpk_"):
        return is_ed25519_key(material)
    return bool(material) and not secret.startswith(b"whsk_")
