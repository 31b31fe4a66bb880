"""A signed message is taken once where its source says so: over the whole path of a delivery."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest

from tests.hostile.schemes import sign_mailgun
from tests.hostile.sent import Sent
from tests.hostile.zoo import KEY, Heard, zoo
from trigflow import App, Headers, Request, Response
from trigflow.core.errors import StoreUnavailable
from trigflow.testing import VirtualClock

pytestmark = pytest.mark.anyio


def mail(now: float, said: bytes = b'{"id":"1"}') -> Request:
    sent = sign_mailgun(Sent(body=said), KEY, now)
    return Request(sent.method, sent.url, Headers(sent.headers), sent.body)


async def post(app: App, request: Request) -> Response:
    endpoints = await app.opened.store.endpoints()
    (token,) = [one.token for one in endpoints if one.source == "zoo.mailgun"]
    return await app.opened.receive(token, request)


async def logged(app: App) -> Sequence[tuple[str, str]]:
    return [(row.outcome, row.cause) for row in reversed(await app.opened.store.deliveries(limit=9))]


async def test_a_replay_is_answered_2xx_logged_as_duplicate_and_not_handled_even_with_another_body() -> None:
    heard = Heard()
    async with zoo(heard) as app:
        request = mail(app.opened.clock.now())
        forged = Request(
            "POST", request.url, request.headers, request.body.replace(b'"id": "1"', b'"id": "2"')
        )
        assert forged.body != request.body
        assert [(await post(app, one)).status for one in (request, forged, request)] == [200] * 3
        assert heard.calls == ["mailgun"]
        rows = await logged(app)
        assert [outcome for outcome, _ in rows] == ["ignored", "duplicate", "duplicate"]
        assert rows[1][1] == "replayed"


async def test_the_next_second_is_another_message() -> None:
    heard, clock = Heard(), VirtualClock()
    async with zoo(heard, clock=clock) as app:
        for _ in range(2):
            assert (await post(app, mail(clock.now()))).status == 200
            clock.advance(timedelta(seconds=1))
        assert heard.calls == ["mailgun"] * 2


async def test_a_retry_after_our_503_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    async with zoo(heard) as app:
        request = mail(app.opened.clock.now())

        async def full(*_: Any) -> Any:
            raise StoreUnavailable("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(app.opened.store, "accept", full)
            assert (await post(app, request)).status == 503
        assert [(await post(app, request)).status for _ in range(2)] == [200, 200]
        assert heard.calls == ["mailgun"] * 2, "once for the 503, once for the retry"


async def test_a_twin_that_comes_before_the_commit_is_asked_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Heard()
    async with zoo(heard) as app:
        request = mail(app.opened.clock.now())
        accept, entered, go_on = app.opened.store.accept, anyio.Event(), anyio.Event()

        async def slow(*given: Any) -> Any:
            entered.set()
            await go_on.wait()
            return await accept(*given)

        monkeypatch.setattr(app.opened.store, "accept", slow)
        answers: list[int] = []

        async def first() -> None:
            answers.append((await post(app, request)).status)

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await entered.wait()
            twin = await post(app, request)
            assert (twin.status, dict(twin.headers).get("retry-after")) == (503, "5")
            go_on.set()
        assert answers == [200]
        assert heard.calls == ["mailgun"]
