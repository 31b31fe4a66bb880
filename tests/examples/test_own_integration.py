"""The example of an integration, against a tiny Parcels that signs as its documentation says."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import attrs
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.examples.served import Served, ended, listening, load, serving

EVENT = {"id": "ev_9", "type": "parcel.delivered", "parcel": {"number": "P-9", "recipient": "Grace"}}


@attrs.define
class FakeParcels:
    """Keeps webhooks and delivers to them."""

    webhooks: dict[str, dict[str, Any]] = attrs.Factory(dict[str, dict[str, Any]])
    made: int = 0

    @property
    def site(self) -> Starlette:
        """Its API."""
        return Starlette(
            routes=[
                Route("/webhooks", self._create, methods=["POST"]),
                Route("/webhooks/{id}", self._delete, methods=["DELETE"]),
            ]
        )

    async def _create(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer secret-token"
        self.made += 1
        self.webhooks[str(self.made)] = await request.json()
        return JSONResponse({"id": str(self.made)}, 201)

    async def _delete(self, request: Request) -> Response:
        known = self.webhooks.pop(request.path_params["id"], None)
        return Response(status_code=204 if known else 404)

    def deliver(self, event: object, *, at: float | None = None) -> list[httpx.Response]:
        """Send an event to every webhook."""
        body, moment = json.dumps(event).encode(), str(int(at or time.time()))
        sent = []
        for hook in self.webhooks.values():
            mac = hmac.new(hook["secret"].encode(), moment.encode() + b"." + body, hashlib.sha256)
            headers = {"X-Parcels-Time": moment, "X-Parcels-Signature": mac.hexdigest()}
            sent.append(httpx.post(hook["url"], content=body, headers=headers))
        return sent


@contextmanager
def running(patch: pytest.MonkeyPatch) -> Iterator[tuple[FakeParcels, ModuleType, Served]]:
    fake = FakeParcels()
    with listening() as (theirs, api), listening() as (ours, url), serving(fake.site, theirs, api):
        patch.setenv("TRIGFLOW_URL", url)
        patch.setenv("TRIGFLOW_STORE", "memory:")
        patch.setenv("TRIGFLOW_REGISTER", "off")
        patch.setenv("PARCELS_TOKEN", "secret-token")
        patch.setenv("PARCELS_API_URL", api)
        module = load("own_integration")
        with serving(module.app, ours, url) as served:
            yield fake, module, served


def test_it_registers_and_a_delivery_starts_the_job_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch) as (fake, module, served):
        served.call(module.app.apply)
        assert [hook["events"] for hook in fake.webhooks.values()] == [["parcel.delivered"]]

        assert [answer.status_code for answer in fake.deliver(EVENT) + fake.deliver(EVENT)] == [200, 200]
        assert served.call(lambda: ended(module.app, next(iter(module.app.jobs)))) == ["succeeded"]


def test_registering_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch) as (fake, module, served):
        served.call(module.app.apply)
        assert served.call(module.app.apply) == []
        assert fake.made == 1


def test_an_old_delivery_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch) as (fake, module, served):
        served.call(module.app.apply)
        assert [answer.status_code for answer in fake.deliver(EVENT, at=time.time() - 3600)] == [401]


def test_what_is_no_event_is_acknowledged_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch) as (fake, module, served):
        served.call(module.app.apply)
        assert [answer.status_code for answer in fake.deliver({"hello": 1})] == [200]
        assert served.call(lambda: module.app.opened.store.runs(limit=1)) == []
