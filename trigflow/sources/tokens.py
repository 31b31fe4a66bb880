"""Verifiers without a signature over the request, and combinations of verifiers."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Protocol

import attrs
import msgspec

from trigflow.core.errors import SetupError, VerificationError
from trigflow.core.http import Request
from trigflow.sources.keys import Key, KeyRule
from trigflow.sources.parts import Json, Part
from trigflow.sources.signed import Named, placed


class Verifier(Protocol):
    """What decides whether a request is the provider's. Pure: no I/O, no clock."""

    @property
    def requires_key(self) -> bool:
        """Tell whether the endpoint must have a key."""
        ...

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
        """Return the index of the key that matched; None for a fixed key or `Unsigned`.

        now: Unix seconds.
        Raises VerificationError with cause missing-signature, bad-signature, malformed-signature,
        missing-timestamp, malformed-timestamp, stale-timestamp, no-key or unknown-algorithm.
        """
        ...

    def sign(self, request: Request, key: Key, *, now: float) -> Sequence[tuple[str, str]]:
        """Return the headers a sender would add; SetupError if the signature is in no header."""
        ...

    def describes(self) -> str:
        """Say in one line what is checked."""
        ...


class Token(msgspec.Struct, frozen=True):
    """A secret that is sent along as it is. Every value at every place must be the same key."""

    places: tuple[Part, ...]
    rule: KeyRule
    prefix: bytes = b""

    def __post_init__(self) -> None:
        if not self.places:
            raise SetupError("token() needs a place to read the token from")

    @property
    def requires_key(self) -> bool:
        """Tell whether the endpoint must have a key."""
        return self.rule.fixed is None

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
        """Return the index of the key that every value equals."""
        given = [value for place in self.places for value in self._given(place, request)]
        for index, key in self.rule.usable(keys, now=now):
            expected = self.prefix + key
            equal = True
            for value in given:
                equal &= hmac.compare_digest(value, expected)
            if equal:
                return index
        raise VerificationError("bad-signature", f"the token in {self._where()} is not this endpoint's")

    def _given(self, place: Part, request: Request) -> Sequence[bytes]:
        found = place.values(request)
        if not found or not all(found):
            raise VerificationError("missing-signature", f"no token in {place}")
        if len(found) > 1 and not isinstance(place, Json):
            raise VerificationError("malformed-signature", f"{len(found)} values in {place}")
        return found

    def sign(self, request: Request, key: Key, *, now: float) -> Named:
        """Return the token in each header."""
        value = self.prefix + self.rule.signing(key)
        headers: dict[str, str] = {}
        for place in self.places:
            headers = placed(place, value, headers)
        return tuple(headers.items())

    def describes(self) -> str:
        """Say in one line what is checked."""
        return f"secret token in {self._where()}"

    def _where(self) -> str:
        return " and ".join(str(place) for place in self.places)


def _reason(because: str) -> str:
    if not because.strip():
        raise SetupError('Unsigned needs a reason: Unsigned(because="the provider signs nothing")')
    return because


@attrs.frozen
class Unsigned:
    """Accept everything: for providers that sign nothing. Plan, doctor and dashboard show the reason."""

    because: str = attrs.field(kw_only=True, converter=_reason)
    requires_key: bool = attrs.field(init=False, default=False)

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> None:
        """Accept."""

    def sign(self, request: Request, key: Key, *, now: float) -> Named:
        """Add nothing."""
        return ()

    def describes(self) -> str:
        """Say that nothing is checked, and why."""
        return f"unsigned: {self.because}"


class Alternatives(msgspec.Struct, frozen=True):
    """Several verifiers of one endpoint.

    strongest_first: the first verifier whose signature the request carries decides alone, so that
        a genuine weaker signature can't stand in for a wrong stronger one. Else any may accept.
    """

    verifiers: tuple[Verifier, ...]
    strongest_first: bool

    def __post_init__(self) -> None:
        if not self.verifiers:
            raise SetupError("a choice of verifiers needs at least one")
        if any(isinstance(verifier, Unsigned) for verifier in self.verifiers):
            raise SetupError("Unsigned among other verifiers would make them all worthless; use it alone")

    @property
    def requires_key(self) -> bool:
        """Tell whether one of the verifiers needs the endpoint to have a key."""
        return any(verifier.requires_key for verifier in self.verifiers)

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
        """Return what the deciding verifier returns; of several refusals, one that saw a signature."""
        refused: list[VerificationError] = []
        for verifier in self.verifiers:
            try:
                return verifier.verify(request, keys, now=now)
            except VerificationError as error:
                if self.strongest_first and error.cause != "missing-signature":
                    raise
                refused.append(error)
        raise next((error for error in refused if error.cause != "missing-signature"), refused[0])

    def sign(self, request: Request, key: Key, *, now: float) -> Sequence[tuple[str, str]]:
        """Sign as the first verifier wants it."""
        return self.verifiers[0].sign(request, key, now=now)

    def describes(self) -> str:
        """Say in one line what is checked."""
        between = "; only without it: " if self.strongest_first else "; or "
        return between.join(verifier.describes() for verifier in self.verifiers)
