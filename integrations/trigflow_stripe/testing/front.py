"""What stands before the routes: who asks, for which account, and whether it was asked before."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlsplit

import attrs

from trigflow.testing.fake_server import Received, Reply
from trigflow_stripe.testing.answers import Asked, refused
from trigflow_stripe.testing.forms import decoded
from trigflow_stripe.testing.routes import answer
from trigflow_stripe.testing.world import API_VERSION, World


class Front:
    """Admits requests with one key; the caller keeps the lock."""

    def __init__(self, world: World, key: str) -> None:
        self._world, self._key = world, key
        self._told: dict[str, tuple[str, bytes, Reply]] = {}

    def answer(self, received: Received) -> Reply:
        """Answer a request; Refused where Stripe refuses."""
        self._admit(received)
        key = received.headers.get("idempotency-key") if received.method == "POST" else None
        known = None if key is None else self._told.get(key)
        if known is not None:
            return _replayed(known, received)
        reply = self._routed(received)
        if key is not None:
            self._told[key] = (received.target, received.body, reply)
        return reply

    def standing_headers(self, received: Received) -> dict[str, str]:
        """Return what every answer has."""
        version = received.headers.get("stripe-version", API_VERSION)
        return {"Request-Id": self._world.next_id("req"), "Stripe-Version": version}

    def _admit(self, received: Received) -> None:
        given = _key_of(received.headers.get("authorization", ""))
        if given is None:
            raise refused(401, "You did not provide an API key.")
        if given != self._key:
            raise refused(401, f"Invalid API Key provided: {given[:8]}****")
        account = received.headers.get("stripe-account")
        if account is not None and account not in self._world.connected:
            message = f"The provided key does not have access to account '{account}'."
            raise refused(403, message, code="account_invalid")

    def _routed(self, received: Received) -> Reply:
        parts = urlsplit(received.target)
        text = parts.query if received.method != "POST" else received.body.decode("utf-8", "replace")
        account = received.headers.get("stripe-account")
        return answer(self._world, Asked(received.method, {}, decoded(text), account), parts.path)


def _replayed(known: tuple[str, bytes, Reply], received: Received) -> Reply:
    """Answer as before; Refused where the same key asks for something else."""
    target, body, reply = known
    if (target, body) != (received.target, received.body):
        message = "Keys for idempotent requests can only be used with the same parameters"
        raise refused(400, message, type="idempotency_error")
    return attrs.evolve(reply, headers={**reply.headers, "Idempotent-Replayed": "true"})


def _key_of(authorization: str) -> str | None:
    """Read a key that was sent as a token, or as the name of a user without a password."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() == "basic" and re.fullmatch("[A-Za-z0-9+/=]+", given):
        return base64.b64decode(given + "==").decode("latin-1").partition(":")[0]
    return None
