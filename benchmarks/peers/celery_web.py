"""FastAPI and Celery on Redis: check, decode, hand the event to a worker; the delivery's id is the task's."""

# Celery has no types.
# pyright: basic

import json

from fastapi import FastAPI, HTTPException, Request

from benchmarks.peers.celery_tasks import on_issue_opened
from benchmarks.peers.common import is_opened_issue, verify

app = FastAPI()


@app.post("/webhook")
async def webhook(request: Request) -> dict[str, bool]:
    body = await request.body()
    if not verify(body, request.headers.get("x-hub-signature-256")):
        raise HTTPException(401)
    event = json.loads(body)
    if is_opened_issue(request.headers, event):
        on_issue_opened.apply_async((event,), task_id=request.headers["x-github-delivery"])
    return {"ok": True}
