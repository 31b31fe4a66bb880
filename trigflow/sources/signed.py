"""Verify and make signatures over parts of a request: one pipeline for every scheme.

    signature there? -> message built -> time readable? -> a key matches? -> time near enough? -> its index

The time is judged last, so that "stale-timestamp" is only ever said about a genuine request.
"missing-signature" is only said where no signature is there: `first_of` relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import msgspec

from trigflow.core.errors import SetupError, VerificationError
from trigflow.core.http import Headers, Request
from trigflow.sources.keys import Key, KeyRule
from trigflow.sources.parts import BODY, Header, Json, KeyValue, Part
from trigflow.sources.schemes import Scheme
from trigflow.sources.timestamps import Stamp

MOST_SIGNATURES = 32  # in one list; each may cost a public-key check
Named = tuple[tuple[str, str], ...]  # headers to send: name, value


class SecretPart(msgspec.Struct, frozen=True):
    """Where the key itself stands among the hashed bytes; nothing outside `hashed` reads it."""

    def values(self, request: Request) -> Sequence[bytes]:
        """Return nothing: the key is no part of a request."""
        return ()

    def __str__(self) -> str:
        return "the secret"


SECRET = SecretPart()


def candidates(at: Part, request: Request) -> Sequence[bytes]:
    """Return the signatures at a place; VerificationError if there is none, or several where one belongs."""
    given = at.values(request)
    if not given or not any(given):
        raise VerificationError("missing-signature", f"no signature in {at}")
    if len(given) > 1 and (len(given) > MOST_SIGNATURES or not isinstance(at, KeyValue)):
        raise VerificationError("malformed-signature", f"{len(given)} values in {at}")
    return given


def _pieces(over: Sequence[Part | bytes | str]) -> tuple[Part | bytes, ...]:
    if not over:
        raise SetupError("over=() signs nothing; name what the signature covers, as in over=(BODY,)")
    return tuple(piece.encode() if isinstance(piece, str) else piece for piece in over)


def _is_body(template: Template) -> bool:
    return template.pieces == (BODY,)


@attrs.frozen
class Template:
    """The bytes that a signature covers: parts and constants, one after the other."""

    pieces: tuple[Part | bytes, ...] = attrs.field(converter=_pieces)
    is_body: bool = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(_is_body, takes_self=True)
    )

    def render(self, request: Request, key: bytes) -> bytes:
        """Return the bytes; VerificationError unless each part has exactly one value."""
        if self.is_body:
            return request.body
        return b"".join(self._piece(piece, request, key) for piece in self.pieces)

    def _piece(self, piece: Part | bytes, request: Request, key: bytes) -> bytes:
        if isinstance(piece, bytes):
            return piece
        if isinstance(piece, SecretPart):
            return key
        found = piece.values(request)
        if len(found) != 1:
            count = "is missing" if not found else f"has {len(found)} values"
            raise VerificationError("malformed-signature", f"{piece}, which is signed, {count}")
        return found[0]

    def __str__(self) -> str:
        return " + ".join(
            f'"{piece.decode("utf-8", "replace")}"' if isinstance(piece, bytes) else str(piece)
            for piece in self.pieces
        )


class Signed(msgspec.Struct, frozen=True):
    """A signature at one place over parts of the request.

    once: what was signed is taken once while its time is near enough (trigflow.sources.once).
    """

    scheme: Scheme
    at: Part
    over: Template
    rule: KeyRule
    stamp: Stamp | None = None
    once: bool = False

    def __post_init__(self) -> None:
        if self.once and self.stamp is None:
            raise SetupError("once=True needs timestamp=: without a time it would have to be kept for ever")

    @property
    def requires_key(self) -> bool:
        """Tell whether the endpoint must have a key."""
        return self.rule.fixed is None

    def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
        """Return the index of the key that matched, None for a fixed key."""
        given = candidates(self.at, request)
        moment = None if self.stamp is None else self.stamp.read(request)
        index = self._matching(given, request, self.rule.usable(keys, now=now))
        if self.stamp is not None and moment is not None:
            self.stamp.check(moment, now=now)
        return index

    def _matching(
        self, given: Sequence[bytes], request: Request, usable: Sequence[tuple[int | None, bytes]]
    ) -> int | None:
        for index, key in usable:
            if self.scheme.matches(given, key, self.over.render(request, key)):
                return index
        raise refusal(self.scheme, self.at, given)

    def sign(self, request: Request, key: Key, *, now: float) -> Named:
        """Return the headers that make the request verify; they replace those of the same name."""
        secret = self.rule.signing(key)
        stamped = self._stamped(now)
        message = self.over.render(replacing(request, stamped), secret)
        return tuple(placed(self.at, self.scheme.sign(secret, message), stamped).items())

    def _stamped(self, now: float) -> dict[str, str]:
        if self.stamp is None or isinstance(self.stamp.at, Json):
            return {}  # a time in the body is the payload's own, and signed with it
        return placed(self.stamp.at, self.stamp.write(now), {})

    def describes(self) -> str:
        """Say in one line what is checked."""
        within = f", {self.stamp.at} within {self.stamp.tolerance}" if self.stamp else ""
        return f"{self.scheme} over {self.over}, {self.at}{within}{', once' if self.once else ''}"


def refusal(scheme: Scheme, at: Part, given: Sequence[bytes]) -> VerificationError:
    """Say why no key matched: of several signatures, one that looks right decides."""
    causes = [scheme.complaint(signature) for signature in given]
    cause = "bad-signature" if "bad-signature" in causes else causes[0]
    details = {
        "bad-signature": f"{at} does not match: wrong key, or the request was changed on its way",
        "unknown-algorithm": f"{at} names an algorithm that is not accepted",
    }
    return VerificationError(cause, details.get(cause, f"{at} is not a signature of this kind"))


def placed(at: Part, value: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """Add a value to headers where a part would read it; SetupError if it is not read from a header."""
    text = value.decode("latin-1")
    if isinstance(at, Header):
        return {**headers, at.name: text}
    if isinstance(at, KeyValue):
        item = f"{at.key}={text}"
        before = headers.get(at.header.name)
        return {**headers, at.header.name: item if before is None else f"{before}{at.separator}{item}"}
    raise SetupError(f"can't sign a request here: {at} is no header; build the signed request yourself")


def replacing(request: Request, headers: Mapping[str, str]) -> Request:
    """Return the request with these headers in place of those of the same name."""
    added = Headers.of(dict(headers))
    names = {name for name, _ in added.raw}
    kept = [(name, value) for name, value in request.headers.raw if name not in names]
    return attrs.evolve(request, headers=Headers([*kept, *added.raw]))
