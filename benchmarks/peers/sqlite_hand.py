"""FastAPI and sqlite3, written by hand: one durable INSERT a request, then the function, then an UPDATE.

What a careful person writes first: WAL, synchronous=FULL, dedupe by a unique key, the
work in a thread so that the loop is not blocked.
"""

import json
import os
import sqlite3
import threading

from fastapi import FastAPI, HTTPException, Request
from starlette.concurrency import run_in_threadpool

from benchmarks.peers.common import is_opened_issue, summary, verify

app = FastAPI()
lock = threading.Lock()
db = sqlite3.connect(os.environ["DB"], check_same_thread=False, isolation_level=None)
db.executescript(
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "CREATE TABLE IF NOT EXISTS events(id TEXT PRIMARY KEY, body BLOB NOT NULL, result TEXT);"
)


def keep(delivery: str, body: bytes) -> bool:
    with lock:
        return db.execute("INSERT OR IGNORE INTO events VALUES(?, ?, NULL)", (delivery, body)).rowcount == 1


def finish(delivery: str, result: str) -> None:
    with lock:
        db.execute("UPDATE events SET result = ? WHERE id = ?", (result, delivery))


@app.post("/webhook")
async def webhook(request: Request) -> dict[str, bool]:
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if is_opened_issue(request.headers, event):
        delivery = request.headers["x-github-delivery"]
        if await run_in_threadpool(keep, delivery, body):
            await run_in_threadpool(finish, delivery, json.dumps(summary(event)))
    return {"ok": True}
