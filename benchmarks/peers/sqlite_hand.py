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

from benchmarks.peers.common import verify

app = FastAPI()
lock = threading.Lock()
db = sqlite3.connect(os.environ["DB"], check_same_thread=False, isolation_level=None)
db.executescript(
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "CREATE TABLE IF NOT EXISTS events(id TEXT PRIMARY KEY, body BLOB NOT NULL, result TEXT);"
)


def keep(delivery, body):
    with lock:
        return db.execute("INSERT OR IGNORE INTO events VALUES(?, ?, NULL)", (delivery, body)).rowcount == 1


def finish(delivery, result):
    with lock:
        db.execute("UPDATE events SET result = ? WHERE id = ?", (result, delivery))


async def on_issue_opened(event):
    return {"number": event["issue"]["number"], "title": event["issue"]["title"]}


@app.get("/count")
async def count():
    with lock:
        return db.execute("SELECT count(*) FROM events WHERE result IS NOT NULL").fetchone()[0]


@app.post("/webhook")
async def webhook(request: Request):
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if request.headers.get("x-github-event") == "issues" and event.get("action") == "opened":
        delivery = request.headers["x-github-delivery"]
        if await run_in_threadpool(keep, delivery, body):
            result = await on_issue_opened(event)
            await run_in_threadpool(finish, delivery, json.dumps(result))
    return {"ok": True}
