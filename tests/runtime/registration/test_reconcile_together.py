"""Two processes that plan the same step: it is done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Integration,
    Registered,
    Registration,
    event,
    hmac_sha256,
    trigger,
)

pytestmark = pytest.mark.anyio
MADE: list[str] = []


class Client:
    """An API that can't list what it has."""


source: ExternalSource[str, Client, int] = ExternalSource(
    "together.webhook", params=str, client=Client, data=int, verify=hmac_sha256("X-Sig")
)


@source.register
async def register(reg: Registration[str, int], client: Client) -> Registered[int] | None:
    MADE.append("made" if reg.data is None else "changed")
    return Registered(len(MADE))


@source.handler
def handle(delivery: Delivery[str, int]) -> list[Event]:
    return []


class Together(Integration, id="together"):
    def client(self, credentials: object) -> Client:
        return Client()

    def credentials(self, environ: object) -> object:  # type: ignore[override]
        return {"token": "x"}

    @event("thing", dict[str, object], source=source)
    def thing(self) -> str:
        """A thing."""
        return "params"


@trigger(Together().thing(), id="job")
async def job(payload: dict[str, object]) -> None: ...


async def test_a_webhook_that_two_processes_planned_to_create_is_created_once(tmp_path: Path) -> None:
    MADE.clear()

    def app() -> App:
        return App([job], url="https://hooks.example.com", store=str(tmp_path / "t.db"), register="off")

    async with app().inspect() as one, app().inspect() as two:
        for opened in (one, two):
            await opened.opened.rows.ensure()
        plans = [await opened.plan() for opened in (one, two)]
        assert [[step.action for step in steps] for steps in plans] == [["create"], ["create"]]
        for opened in (one, two):
            assert [one.error for one in await opened.opened.reconciler.apply() if one.error] == []
    assert MADE == ["made"]
