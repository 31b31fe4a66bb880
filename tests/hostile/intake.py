"""The whole intake at ASGI level: one input is one request, and everything that must hold after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from tests.hostile.broken import Broken
from tests.hostile.choices import Choices
from tests.hostile.sent import Sent
from tests.hostile.tampering import sent_by
from tests.hostile.zoo import KEY, KINDS, Heard, endpoints, zoo
from trigflow import App
from trigflow.sources.once import takes_once
from trigflow.web.answers import Message

NAMES = tuple(KINDS)
FRESH_AFTER = 20_000  # inputs until the app is opened anew: its store keeps what arrived
ELSEWHERE = (
    "/", "", "/healthz", "/healthz/", "/readyz", "/probe/", "/probe/abc", "/probe/\udc80\ud800", "/e/",
    "/e//", "/probe/" + "n" * 70_000, "/e/other/token", "//", "/\x00", "/../../etc/passwd", "/%2e%2e",
    "/\u00e4",
)  # fmt: skip


class Ears(logging.Handler):
    """Keeps what is logged since the last look."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))


@attrs.frozen
class Asked:
    """One request as the server hands it over: the scope, and the messages of its body."""

    scope: Message
    messages: list[Message]
    whole: bool  # the body comes whole, and is as long as it says


class Intake:
    """An open zoo on an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._heard, self._ears = Heard(), Ears()
        self._fed = 0
        self.closed = True
        logger = logging.getLogger("trigflow")
        logger.addHandler(self._ears)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False

    # --- opening and closing: in one task, as the app wants it

    def open(self) -> None:
        self._stop = asyncio.Event()
        opened = self._loop.create_future()
        self._task = self._loop.create_task(self._hold(opened))
        self._loop.run_until_complete(asyncio.wait({opened, self._task}, return_when=asyncio.FIRST_COMPLETED))
        if self._task.done():
            self._task.result()  # raises what went wrong
        self.closed = False

    async def _hold(self, opened: asyncio.Future[None]) -> None:
        self.app: App = zoo(self._heard)
        async with self.app:
            self.paths = await endpoints(self.app)
            self.now = self.app.opened.clock.now()
            for name, kind in KINDS.items():
                if kind.learns:
                    await self._teach(self.paths[name])
            opened.set_result(None)
            await self._stop.wait()

    async def _teach(self, path: str) -> None:
        """Shake hands as Asana and Notion do."""
        sent = Sent(path=path, body=b'{"verification_token":"%s"}' % KEY).with_headers(x_hook_secret=KEY)
        status, _, _ = await self._call(Asked(_scope(sent, path), [_part(sent.body)], True))
        assert status == 200

    def rest(self) -> None:
        """Close the app; the next input opens another."""
        self.close()

    def close(self) -> None:
        if not self.closed:
            self._stop.set()
            self._loop.run_until_complete(self._task)
            self.closed = True

    def end(self) -> None:
        """Close for good."""
        self.close()
        self._loop.close()
        logger = logging.getLogger("trigflow")
        logger.removeHandler(self._ears)
        logger.propagate = True

    # --- one input

    def feed(self, given: bytes) -> str:
        """Do what the bytes say and tell the status; raises Broken where something does not hold."""
        if self.closed or self._fed >= FRESH_AFTER:
            self.close()
            self.open()
            self._fed = 0
        self._fed += 1
        choices = Choices(given)
        name = choices.pick(NAMES)
        sent, pristine = sent_by(name, choices, self.paths[name], self.now)
        asked = _asked(sent, choices)
        self._heard.calls.clear()
        self._ears.heard.clear()
        status, headers, body = self._loop.run_until_complete(self._call(asked))
        self._check_answer(status, headers)
        self._check_handled(name, sent, asked)
        self._check_secrets(sent, headers, body)
        if pristine and asked.whole and asked.scope["path"] == self.paths[name]:
            self._check_pristine(name, sent, status, body)
        room = self.app.opened.room
        if room.requests or room.bytes:
            raise Broken(f"room is not given back: {room.requests} requests, {room.bytes} bytes")
        if self._heard.calls and status == 200 and choices.chance(4):
            self._replay(name, asked)
            return "replayed"
        return f"{status} handled" if self._heard.calls else str(status)

    def _replay(self, name: str, asked: Asked) -> None:
        """Send what was taken once more: it is taken again without a complaint, or not handled at all."""
        self._heard.calls.clear()
        status, _, _ = self._loop.run_until_complete(self._call(asked))
        if status != 200:
            raise Broken(f"{name}: a redelivery is answered {status}")
        if self._heard.calls and takes_once(KINDS[name].verify):
            raise Broken(f"{name}: a replay was handled")

    async def _call(self, asked: Asked) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        messages, sent = list(asked.messages), list[Message]()

        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(asked.scope, receive, send)
        if [message["type"] for message in sent] != ["http.response.start", "http.response.body"]:
            raise Broken(f"not one answer: {[message['type'] for message in sent]}")
        return sent[0]["status"], sent[0]["headers"], sent[1]["body"]

    # --- what must hold

    def _check_answer(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        told = dict(headers)
        if not 200 <= status < 500 and not (status == 503 and b"retry-after" in told):
            raise Broken(f"answered {status}")
        if status == 429 and not told.get(b"retry-after", b"").isdigit():
            raise Broken("429 without Retry-After")
        if any(b"\r" in part or b"\n" in part for field in headers for part in field):
            raise Broken("a line break in an answered header")

    def _check_handled(self, name: str, sent: Sent, asked: Asked) -> None:
        calls = self._heard.calls
        if not calls:
            return
        if calls != [name]:
            raise Broken(f"handlers {calls} were called for {name}")
        if not asked.whole:
            raise Broken(f"{name} handled a body that did not come whole")
        if not KINDS[name].genuine(sent, KEY, self.now):
            raise Broken(f"{name} handled what is not genuine")

    def _check_secrets(self, sent: Sent, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        told = b"".join(name + value for name, value in headers) + body
        if KEY in told and not any(value == KEY for _, value in sent.headers):
            raise Broken("the secret is in the answer")
        if any(KEY.decode() in line for line in self._ears.heard):
            raise Broken("the secret is in the log")

    def _check_pristine(self, name: str, sent: Sent, status: int, body: bytes) -> None:
        """What the provider sends is taken, unless it is beyond what is read at all."""
        if status == 200 or not KINDS[name].genuine(sent, KEY, self.now):
            return
        if status == 431 and len(sent.query) > 16 * 1024:
            return
        if status == 403 and body == b"bad-handshake":  # a token or a challenge that is not answered
            return
        if status in (400, 401) and not _is_readable(sent.body):
            return
        raise Broken(f"{name} refused what is genuine: {status} {body[:60]!r}")


def _is_readable(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return False
    return True


def _part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def _scope(sent: Sent, path: str) -> Message:
    return {
        "type": "http", "method": sent.method, "path": path, "root_path": "", "query_string": sent.query,
        "headers": list(sent.headers), "raw_path": path.encode("utf-8", "replace"),
    }  # fmt: skip


def _asked(sent: Sent, choices: Choices) -> Asked:
    scope = _scope(sent, sent.path)
    if choices.chance(8):
        _lead_astray(scope, choices)
    messages, whole = _messages(sent.body, choices)
    lengths = {value for name, value in sent.headers if name == b"content-length"}
    if choices.chance(2):
        length = str(len(sent.body) if not choices.chance(6) else choices.number(3000)).encode()
        scope["headers"].insert(choices.number(len(scope["headers"])), (b"content-length", length))
        lengths.add(length)
    fits = all(value.isdigit() and len(value) < 16 and int(value) == len(sent.body) for value in lengths)
    return Asked(scope, messages, whole and fits)


def _lead_astray(scope: Message, choices: Choices) -> None:
    """Ask for another path, or under a prefix."""
    path: str = scope["path"]
    ways: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: {"path": choices.pick(ELSEWHERE)},
        lambda: {"path": path + "/"},
        lambda: {"path": path + choices.pick(("x", "/x", "\u00e4", "x" * 70_000, "\ud800", "%", "\x00"))},
        lambda: {"path": path[:-1]},
        lambda: {"path": "/hooks" + path, "root_path": "/hooks"},
        lambda: {"root_path": choices.pick(("/hooks", "/", path, "/e", "\u00e4"))},
        lambda: {"raw_path": None},
        lambda: {"path": path.upper()},
    )
    scope.update(choices.pick(ways)())


def _messages(body: bytes, choices: Choices) -> tuple[list[Message], bool]:
    how = choices.number(7)
    if how <= 3:
        return [_part(body)], True
    size = 1 + choices.number(64)
    pieces = [body[at : at + size] for at in range(0, min(len(body), 64 * size), size)] or [b""]
    pieces.append(body[64 * size :])
    parts = [_part(piece, more=True) for piece in pieces]
    if how == 4:
        return [*parts, _part(b"")], True
    if how == 5:
        return [*parts[: choices.number(len(parts))], {"type": "http.disconnect"}], False
    if how == 6:
        return [*parts, {"type": "http.request"}], True  # both fields may be left out
    return [{"type": "http.request", "more_body": True}] * choices.number(3) + [_part(body)], True
