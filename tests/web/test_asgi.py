"""The intake as an ASGI app: bodies, lengths, paths, the lifespan."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from trigflow import App, trigger
from trigflow_github import github
from trigflow_github.payloads import Issues

pytestmark = pytest.mark.anyio
BODY = github.issues.specification.examples()["opened"].read()


def make(**settings: Any) -> App:
    @trigger(github.issues(repo="acme/web"), id="job")
    async def job(payload: Issues) -> int:
        return payload.issue.number

    return App([job], store="memory:", register="off", **settings)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with make(body_limit=20_000) as opened:
        yield opened


async def call(
    app: App,
    path: str,
    *parts: bytes,
    method: str = "POST",
    headers: Sequence[tuple[str, str]] = (),
    root: str = "",
) -> tuple[int, bytes]:
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts or (b"",))
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {
        "type": "http", "method": method, "path": path, "root_path": root,
        "query_string": b"", "headers": raw,
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def endpoint(app: App) -> tuple[str, list[tuple[str, str]]]:
    (found,) = await app.opened.store.endpoints()
    key = app.opened.routes.keys_of(found)[0].secret
    signature = "sha256=" + hmac.new(key, BODY, hashlib.sha256).hexdigest()
    headers = [("X-GitHub-Event", "issues"), ("X-GitHub-Delivery", "1"), ("X-Hub-Signature-256", signature)]
    return f"{app.opened.mark}{found.token}", headers


async def test_a_signed_delivery_is_accepted_whole_or_in_pieces(app: App) -> None:
    path, headers = await endpoint(app)
    assert (await call(app, path, BODY, headers=headers))[0] == 200
    pieces = [BODY[at : at + 1000] for at in range(0, len(BODY), 1000)]
    assert (await call(app, path, *pieces, headers=headers))[0] == 200
    assert [row.outcome for row in await app.opened.store.deliveries(limit=9)] == ["duplicate", "accepted"]


@pytest.mark.parametrize("root", ["/hooks", "/hooks/"])
async def test_the_mount_prefix_may_stand_in_the_path_or_not(app: App, root: str) -> None:
    path, headers = await endpoint(app)
    assert (await call(app, f"/hooks{path}", BODY, headers=headers, root=root))[0] == 200
    assert (await call(app, path, BODY, headers=headers, root=root))[0] == 200


async def test_a_body_over_the_limit_is_413_whether_it_says_so_or_not(app: App) -> None:
    path, _ = await endpoint(app)
    assert (await call(app, path, b"x", headers=[("content-length", "20001")]))[0] == 413
    assert (await call(app, path, b"x" * 20_001))[0] == 413
    assert (await call(app, path, b"x" * 15_000, b"x" * 15_000))[0] == 413
    assert await app.opened.store.deliveries(limit=1) == []


@pytest.mark.parametrize("length", ["", "-1", "1e3", "9" * 4000, "\u00b2"])
async def test_a_content_length_that_is_no_number_is_400(app: App, length: str) -> None:
    path, _ = await endpoint(app)
    assert (await call(app, path, b"x", headers=[("content-length", length)]))[0] == 400


async def test_other_paths_are_404_and_health_is_green(app: App) -> None:
    assert (await call(app, "/", method="GET"))[0] == 404
    assert (await call(app, "/e/another/token"))[0] == 404
    assert (await call(app, f"{app.opened.mark}unknown"))[0] == 404
    assert (await call(app, "/healthz", method="GET"))[0] == 200


async def test_an_app_that_is_not_open_asks_to_try_again() -> None:
    status, _ = await call(make(), "/e/x/y")
    assert status == 503


async def test_the_lifespan_opens_and_closes_the_app() -> None:
    app = make()
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: list[str] = []

    async def receive() -> Any:
        if len(asked) == 1:
            assert app.opened.engine.alive
        return asked.pop(0)

    async def send(message: Any) -> None:
        told.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_start_that_fails_is_told_to_the_server() -> None:
    app = make(secret_key="not a key")
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message)

    with pytest.raises(Exception, match="secret_key"):
        await app({"type": "lifespan"}, receive, send)
    assert told[0]["type"] == "lifespan.startup.failed"
    assert "secret_key" in told[0]["message"]


async def test_a_websocket_is_closed(app: App) -> None:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message["type"])

    await app({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert told == ["websocket.close"]
