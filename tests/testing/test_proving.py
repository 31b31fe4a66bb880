"""What `Conformance` proves an integration with: forged requests, and handlers that reach out."""

import socket
from collections.abc import Sequence

import attrs
import pytest

from trigflow import (
    BODY,
    ExternalSource,
    Headers,
    Request,
    VerificationError,
    Verifier,
    header,
    hmac_sha256,
    token,
)
from trigflow.core.events import Outcome
from trigflow.sources.keys import Key
from trigflow.testing.proving import altered, forgeries, touched

NOW = 1_700_000_000.0
KEYS = [Key(b"0123456789abcdef0123456789abcdef")]
STAMPED = hmac_sha256("X-Sig", over=(header("X-Time"), ".", BODY), timestamp=header("X-Time"))


@attrs.frozen
class Place:
    room: str


def refused(verify: Verifier) -> dict[str, bool]:
    source = ExternalSource("rooms.hook", params=Place, client=object, data=int, verify=verify)
    bare = Headers.of([("content-type", "application/json")])
    request = Request("POST", "https://h.example/e", bare, b'{"a":1}')
    found: dict[str, bool] = {}
    for problem, forged in forgeries(source, request, bare, KEYS, now=NOW):
        try:
            verify.verify(forged, KEYS, now=NOW)
        except VerificationError:
            found[problem] = True
        else:
            found[problem] = False
    return found


@pytest.mark.parametrize(
    ("verify", "others"),
    [
        (token("X-Token"), set[str]()),
        (hmac_sha256("X-Sig"), {"has another body than was signed"}),
        (STAMPED, {"has another body than was signed", "was signed a day ago"}),
    ],
)
def test_each_forgery_that_a_verifier_can_see_is_made_and_refused(verify: Verifier, others: set[str]) -> None:
    always = {"has no signature", "has another signature", "is signed with another key"}
    assert refused(verify) == dict.fromkeys(always | others, True)


def test_a_verifier_that_only_looks_for_a_signature_is_found_out() -> None:
    class Lax:
        requires_key = True

        def verify(self, request: Request, keys: Sequence[Key], *, now: float) -> int | None:
            if request.headers.get("x-token") is None:
                raise VerificationError("missing-signature", "no token")
            return 0

        def sign(self, request: Request, key: Key, *, now: float) -> Sequence[tuple[str, str]]:
            return [("X-Token", key.secret.decode())]

        def describes(self) -> str:
            return "anything"

    assert [problem for problem, was in refused(Lax()).items() if not was] == [
        "has another signature",
        "is signed with another key",
    ]


def test_an_altered_text_is_another_one_of_the_same_shape() -> None:
    for text in ("0", "A", "a", "v1,AAAA==", "t=1,v1=00"):
        assert altered(text).lower() != text.lower()
        assert len(altered(text)) == len(text)


def test_a_handler_that_asks_the_network_is_seen() -> None:
    def reaching() -> Sequence[Outcome]:
        socket.getaddrinfo("127.0.0.1", 80)
        return []

    assert touched(reaching) == ([], ["socket.getaddrinfo"])
    assert touched(list) == ([], [])
