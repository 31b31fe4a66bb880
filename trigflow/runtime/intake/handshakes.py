"""Handshakes: what a provider asks of an endpoint before it sends anything, answered and kept.

What a handshake tells is kept before it is answered; a secret is taken once, and only while pending.
At a removed endpoint only the question is answered whether it is to end, and nothing is kept.
"""

from __future__ import annotations

from trigflow.core.errors import Rejected, VerificationError
from trigflow.core.http import Request, Response
from trigflow.runtime.intake.routes import Route, Routes
from trigflow.runtime.ports import Registry
from trigflow.runtime.sealing.vault import Vault
from trigflow.sources.handshake import Answer, Capture, answer


class Handshakes:
    """Answers handshakes at endpoints."""

    def __init__(self, routes: Routes, registry: Registry, vault: Vault) -> None:
        """Keep what they tell, sealed."""
        self._routes, self._registry, self._vault = routes, registry, vault

    async def answer(self, route: Route, request: Request, now: float) -> Response | None:
        """Return the answer to a handshake; None for what is none. Raises Rejected."""
        try:
            hello = _answer(route, request, now)
        except Rejected:
            # Another process may have asked the provider a moment ago for what this is about.
            newer = await self._routes.reread(route)
            if newer.facts == route.facts:
                raise
            route, hello = newer, _answer(newer, request, now)
        if hello is None:
            return None
        if hello.must_verify:
            route.source.verify.verify(request, route.keys, now=now)
        if hello.capture is not None:
            await self._capture(route, hello.capture, now)
        return hello.response

    def goodbye(self, route: Route, request: Request) -> Response | None:
        """Return the answer to a handshake at a removed endpoint; None for what is none.

        Raises Rejected for one that does not ask for the end, or for another one's.
        """
        ends = [one for one in route.source.handshakes if one.ends is not None]
        told = answer(ends, request, keys=(), pending=False, facts=route.facts)
        return None if told is None else told.response

    async def _capture(self, route: Route, capture: Capture, now: float) -> None:
        """Keep what a handshake told, before it is answered."""
        endpoint = route.endpoint.id
        if capture.secret is not None:
            sealed = self._vault.seal(capture.secret)
            if not await self._registry.capture_key(endpoint, sealed, at=int(now * 1000)):
                raise VerificationError("bad-handshake", "the secret of this endpoint is known already")
        if capture.lease_seconds is not None:
            until = int((now + capture.lease_seconds) * 1000)
            await self._registry.set_lease(endpoint, at=int(now * 1000), until=until)
        self._routes.forget(route.endpoint.token)


def _answer(route: Route, request: Request, now: float) -> Answer | None:
    keys = [key for key in route.keys if key.is_valid(now=now)]
    return answer(route.source.handshakes, request, keys=keys, pending=route.pending, facts=route.facts)
