"""Senders that never give up; they write down what they were answered, so that no test has to ask the store.

argv: a folder (see served.py), a port, a seed. Ends when standard input does.
`answers` gets one line for each request: its own tag, the event's id, kind and
number, and the status; null where no answer came.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(int(sys.argv[3]))
KINDS = tuple(os.environ.get("CRASH_KINDS", "chain chain flaky broken comment unwanted").split())
SENDERS = int(os.environ.get("CRASH_SENDERS", "8"))
PAUSE = float(os.environ.get("CRASH_PAUSE", "0.02"))  # seconds; the longest between two requests of a sender
BULK = int(os.environ.get("CRASH_BULK", "12000"))  # bytes of a payload, so that pages and the WAL fill
PATIENCE = 15.0  # seconds for an answer
Sent: TypeAlias = tuple[str, str, int]  # event id, kind, number

answers = os.open(FOLDER / "answers", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
over = asyncio.Event()
acknowledged: list[Sent] = []
unanswered: list[Sent] = []
numbers = count()
tags = count(int(sys.argv[3]) * 1_000_000)  # of all senders to one store


def next_event() -> Sent:
    """Choose what is sent: something new, or again what was, or was not, acknowledged."""
    die = chance.random()
    if die < 0.15 and acknowledged:
        return chance.choice(acknowledged)
    if die < 0.35 and unanswered:
        return unanswered.pop(chance.randrange(len(unanswered)))
    return str(UUID(int=chance.getrandbits(128))), chance.choice(KINDS), next(numbers)


def request_of(event: Sent, tag: int, path: str, secret: str) -> bytes:
    """Write a request as GitHub would."""
    id_, kind, number = event
    # Half of it can be compressed, as in real payloads.
    noise = random.Random(number).randbytes(BULK // 4).hex() + " " * (BULK // 2)
    issue: dict[str, Any] = {"title": kind, "number": number, "body": noise}
    body = json.dumps({"action": "opened", "issue": issue}).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-GitHub-Event: {'issue_comment' if kind == 'comment' else 'issues'}\r\n"
        f"X-GitHub-Delivery: {id_}\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        f"X-Request-Number: {tag}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def note(event: Sent, tag: int, status: int | None, asked: float, retry_after: bool) -> None:
    line = {
        "tag": tag, "id": event[0], "kind": event[1], "number": event[2], "status": status,
        "asked": asked, "at": time.monotonic(), "retry_after": retry_after,
    }  # fmt: skip
    os.write(answers, json.dumps(line).encode() + b"\n")


class Sender:
    """One connection that is opened again whenever it breaks."""

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter | None = None

    async def send(self, path: str, secret: str) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", PORT)
        event, tag = next_event(), next(tags)
        asked = time.monotonic()
        status, retry_after = None, False
        try:
            self._writer.write(request_of(event, tag, path, secret))
            async with asyncio.timeout(PATIENCE):
                status, retry_after = await self._answer()
        except (OSError, EOFError, TimeoutError):
            self._writer.close()
            self._writer = None
        note(event, tag, status, asked, retry_after)
        (acknowledged if status is not None and status // 100 == 2 else unanswered).append(event)

    async def _answer(self) -> tuple[int, bool]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        await self._reader.readexactly(length)
        return int(head.split()[1]), "retry-after:" in head


async def endpoint() -> tuple[str, str]:
    while not (FOLDER / "endpoint.json").exists():
        await asyncio.sleep(0.005)
    told = json.loads((FOLDER / "endpoint.json").read_text())
    return told["path"], told["secret"]


async def keep_sending() -> None:
    path, secret = await endpoint()
    sender = Sender()
    while not over.is_set():
        try:
            await sender.send(path, secret)
        except OSError:  # nobody is there; what was not sent is not noted
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.random() * PAUSE)


async def main() -> None:
    senders = [asyncio.create_task(keep_sending()) for _ in range(SENDERS)]
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    await asyncio.wait(senders, timeout=PATIENCE * 2)


asyncio.run(main())
