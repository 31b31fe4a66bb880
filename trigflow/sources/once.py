"""Signed messages that are taken once, where nothing else would tell a replay.

For providers that sign a time but give no id that the signature covers: whoever overhears a delivery
could send it again while its time is near enough (Mailgun: even with another body). The mark is of
the message that was signed, not of the signature: some signatures have several spellings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from trigflow.core.errors import VerificationError
from trigflow.core.http import Request
from trigflow.sources.signed import Signed
from trigflow.sources.tokens import Alternatives, Verifier


class Mark(msgspec.Struct, frozen=True):
    """What stands for a signed message, and the Unix seconds until which its signature is accepted."""

    digest: bytes
    until: float


def takes_once(verifier: Verifier) -> bool:
    """Tell whether a verifier, or one of several, was declared with `once=True`."""
    if isinstance(verifier, Alternatives):
        return any(takes_once(one) for one in verifier.verifiers)
    return isinstance(verifier, Signed) and verifier.once


def marks_of(verifier: Verifier, request: Request) -> Sequence[Mark]:
    """Return the marks of what a verified request had signed, of every verifier that takes it once.

    A replay shares one of them at least: which of several verifiers accepted it is not asked.
    """
    if isinstance(verifier, Alternatives):
        return [mark for one in verifier.verifiers for mark in marks_of(one, request)]
    if not isinstance(verifier, Signed) or not verifier.once or verifier.stamp is None:
        return ()
    try:
        message = verifier.over.render(request, b"")
        moment = verifier.stamp.read(request)
    except VerificationError:  # another one of several accepted it
        return ()
    return [Mark(hashlib.sha256(message).digest(), moment + verifier.stamp.tolerance.total_seconds())]
