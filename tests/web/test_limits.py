"""What is refused before it costs anything: too often, too much, too slow, not whole."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from starlette.middleware.base import BaseHTTPMiddleware

from trigflow import App, SettingsError, trigger
from trigflow.core.errors import StoreUnavailable
from trigflow.web.asgi import AHEAD, LARGEST_HEAD
from trigflow_github import github

pytestmark = pytest.mark.anyio
PATIENCE = 20  # seconds until something that does not happen is a failure
Receive = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def opened(**settings: Any) -> AsyncGenerator[tuple[App, str]]:
    @trigger(github.issues(repo="acme/web"), id="job")
    async def job(payload: dict[str, object]) -> None: ...

    app = App([job], store="memory:", register="off", **settings)
    async with app:
        (endpoint,) = await app.opened.store.endpoints()
        yield app, f"{app.opened.mark}{endpoint.token}"


@asynccontextmanager
async def gathered(**settings: Any) -> AsyncGenerator[tuple[App, str, TaskGroup]]:
    """Open an app, and see at the end that its room is empty again."""
    async with opened(**settings) as (app, path):
        async with anyio.create_task_group() as group:
            yield app, path, group
        assert is_empty(app)


class Sender:
    """One request whose body the test hands over piece by piece."""

    def __init__(self, app: Any, path: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.app, self.path, self.headers = app, path, headers
        self.pieces, self._pieces = anyio.create_memory_object_stream[Any](100)
        self.asked = 0  # how often the app has asked for a piece
        self.sent: list[Any] = []

    async def run(self) -> int:
        async def send(message: Any) -> None:
            self.sent.append(message)

        async def receive() -> Any:
            self.asked += 1
            return await self._pieces.receive()

        scope = {
            "type": "http", "method": "POST", "path": self.path, "root_path": "", "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in self.headers],
        }  # fmt: skip
        with self.pieces, self._pieces, anyio.fail_after(PATIENCE):
            await self.app(scope, receive, send)
        return self.status

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def told(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    def give(self, body: bytes = b"", *, more: bool = False) -> None:
        self.pieces.send_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self.pieces.send_nowait({"type": "http.disconnect"})


async def post(app: Any, path: str, body: bytes = b"{}", *headers: tuple[str, str]) -> Sender:
    sender = Sender(app, path, headers)
    sender.give(body)
    await sender.run()
    return sender


def is_empty(app: App) -> bool:
    return (app.opened.room.requests, app.opened.room.bytes) == (0, 0)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0)


async def test_an_endpoint_asked_too_often_is_429_unread_and_another_one_goes_on() -> None:
    async with opened(rate_limit=1, rate_burst=3) as (app, path):
        first = [await post(app, path) for _ in range(3)]  # the very first is still a stranger
        assert [one.status for one in first] == [401] * 3
        refused = [await post(app, path) for _ in range(3)][-1]
        assert (refused.status, refused.asked) == (429, 0)
        assert int(refused.told[b"retry-after"]) >= 1
        assert (await post(app, "/healthz")).status == 200


async def test_invented_tokens_share_one_allowance_and_their_bodies_are_never_read() -> None:
    async with opened(rate_limit=1, rate_burst=5) as (app, path):
        assert (await post(app, path)).status == 401  # known from now on
        answers = [await post(app, f"{path}{number}") for number in range(20)]
        assert {one.status for one in answers} == {404, 429}
        assert [one.asked for one in answers] == [0] * 20
        assert (await post(app, path)).status == 401, "what is known has an allowance of its own"


@pytest.mark.parametrize("token", ["x" * 65, "\u00e4", "\ud800", "a/b", "", "x" * 70_000])
async def test_what_can_be_no_token_is_404_and_not_remembered(token: str) -> None:
    async with opened() as (app, _):
        before = len(app.opened.routes)
        assert (await post(app, app.opened.mark + token)).status == 404
        is_short = token.isascii() and len(token) < 65
        assert len(app.opened.routes) - before <= is_short


async def test_without_a_limit_nothing_is_too_often() -> None:
    async with opened(rate_limit=0, rate_burst=1) as (app, path):
        assert {(await post(app, path)).status for _ in range(50)} == {401}


async def test_bodies_beyond_the_room_are_503_and_room_comes_back(anyio_backend: str) -> None:
    async with (
        opened(body_limit=3 * AHEAD, bodies_limit=3 * AHEAD) as (app, path),
        anyio.create_task_group() as group,
    ):
        first = Sender(app, path)
        group.start_soon(first.run)
        first.give(b"x" * 2 * AHEAD, more=True)
        await until(lambda: app.opened.room.bytes == 2 * AHEAD)
        refused = await post(app, path, b"x" * (AHEAD + 1))
        assert (refused.status, int(refused.told[b"retry-after"])) == (503, 1)
        assert (await post(app, path, b"x" * AHEAD)).status == 401
        growing = Sender(app, path)
        group.start_soon(growing.run)
        growing.give(b"x" * AHEAD, more=True)
        growing.give(b"x", more=True)
        await until(lambda: bool(growing.sent))
        assert growing.status == 503
        assert app.opened.room.bytes == 2 * AHEAD
        first.give(b"x" * 100)
        await until(lambda: bool(first.sent))
        assert first.status == 401


async def test_a_declared_body_takes_room_before_it_comes_but_not_all_of_it() -> None:
    async with (
        opened(body_limit=8 * AHEAD, bodies_limit=8 * AHEAD) as (app, path),
        anyio.create_task_group() as group,
    ):
        await post(app, path)  # known: its bodies are read
        senders = [Sender(app, path, [("content-length", str(8 * AHEAD))]) for _ in range(9)]
        for sender in senders:
            group.start_soon(sender.run)
        await until(lambda: any(sender.sent for sender in senders))
        assert [sender.status for sender in senders if sender.sent] == [503]
        assert app.opened.room.bytes == 8 * AHEAD
        for sender in senders:
            if not sender.sent:
                sender.leave()


async def test_requests_beyond_the_limit_are_503_unread() -> None:
    async with gathered(requests_limit=2) as (app, path, group):
        waiting = [Sender(app, path) for _ in range(2)]
        for sender in waiting:
            group.start_soon(sender.run)
        await until(lambda: app.opened.room.requests == 2)
        refused = await post(app, path)
        assert (refused.status, refused.asked) == (503, 0)
        assert b"retry-after" in refused.told
        for sender in waiting:
            sender.give()
        await until(lambda: app.opened.room.requests == 0)
        assert (await post(app, path)).status == 401


async def test_a_body_that_does_not_come_in_time_is_408_and_its_room_comes_back() -> None:
    async with opened(body_timeout=1) as (app, path):
        silent, dribbling = Sender(app, path), Sender(app, path, [("content-length", "1000")])
        dribbling.give(b"x", more=True)
        async with anyio.create_task_group() as group:
            for sender in (silent, dribbling):
                group.start_soon(sender.run)
            await until(lambda: bool(silent.sent and dribbling.sent))
            assert [silent.status, dribbling.status] == [408, 408]
            assert silent.told[b"connection"] == b"close"
            assert is_empty(app)
        assert (await post(app, path)).status == 401


async def test_a_slow_body_is_408_below_a_middleware_with_scopes_of_its_own() -> None:
    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    async with opened(body_timeout=1) as (app, path):
        wrapped = BaseHTTPMiddleware(app, dispatch=through)
        sender = Sender(wrapped, path)
        async with anyio.create_task_group() as group:
            group.start_soon(sender.run)
            await until(lambda: bool(sender.sent))
            assert sender.status == 408
            group.cancel_scope.cancel()  # the middleware itself waits for a disconnect
        assert is_empty(app)


async def test_whoever_is_cancelled_from_outside_while_a_body_is_read_is_cancelled() -> None:
    async with opened(body_timeout=60) as (app, path):
        sender = Sender(app, path)
        async with anyio.create_task_group() as group:
            group.start_soon(sender.run)
            await until(lambda: app.opened.room.requests == 1)
            group.cancel_scope.cancel()
        assert sender.sent == []
        assert is_empty(app)


@pytest.mark.parametrize("before", [[], [b'{"a":'], [b'{"a":1}']])
async def test_a_client_that_leaves_is_let_go_of_and_half_a_body_is_never_handled(
    before: list[bytes],
) -> None:
    async with opened() as (app, path):
        sender = Sender(app, path)
        for piece in before:
            sender.give(piece, more=True)
        sender.leave()
        assert await sender.run() == 400
        assert is_empty(app)
        assert await app.opened.store.deliveries(limit=1) == [], "it is not even verified"


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        ("3", [b"{}"]),
        ("1", [b"{}"]),
        ("0", [b"{}"]),
        ("5", [b"{", b"}"]),
        ("1", [b"{", b"}"]),
        ("3", [b"{}", b""]),
    ],
)
async def test_a_body_of_another_length_than_declared_is_400(length: str, pieces: list[bytes]) -> None:
    async with opened() as (app, path):
        sender = Sender(app, path, [("content-length", length)])
        for number, piece in enumerate(pieces):
            sender.give(piece, more=number < len(pieces) - 1)
        assert await sender.run() == 400
        assert is_empty(app)


async def test_two_lengths_must_agree() -> None:
    async with opened() as (app, path):
        twice = [("content-length", "2"), ("content-length", "2")]
        assert (await post(app, path, b"{}", *twice)).status == 401
        assert (await post(app, path, b"{}", twice[0], ("content-length", "3"))).status == 400


async def test_too_many_too_large_header_fields_are_431_unread() -> None:
    async with opened() as (app, path):
        many = await post(app, path, b"{}", *[("a", "b")] * 257)
        large = await post(app, path, b"{}", ("a", "b" * LARGEST_HEAD))
        assert [(one.status, one.asked) for one in (many, large)] == [(431, 0)] * 2
        assert (await post(app, path, b"{}", ("a", "b" * (LARGEST_HEAD // 2)))).status == 401


async def test_an_unknown_token_is_503_while_the_store_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as (app, _):

        async def broken(token: str) -> Any:
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(app.opened.routes, "find", broken)
        answer = await post(app, f"{app.opened.mark}unknown")
        assert (answer.status, b"retry-after" in answer.told) == (503, True)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("bodies_limit", 1000, "body_limit"),
        ("requests_limit", 0, "at least 1"),
        ("rate_burst", 0, "at least 1"),
        ("rate_limit", -1, "0 for no limit"),
        ("body_timeout", -1, "0 for no limit"),
    ],
)
async def test_a_limit_that_can_not_be_meant_is_a_settings_error(setting: str, value: int, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        App(store="memory:", **{setting: value})  # type: ignore[arg-type]
    assert refused.value.name == setting
